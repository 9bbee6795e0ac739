import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { type Campaign, unseen } from './campaign.ts';
import { type Schedule, scheduleOf } from './schedule.ts';
import { shrink } from './shrink.ts';
import { type Outcome, simulate } from './simulate.ts';

const usage = `npm run sim -- [--seeds N] [--minutes M] [--from N] [--jobs N]   many runs
npm run sim -- --seed N [--trace] [--shrink]                     one of them, again
  --seeds N    how many (default 1000)
  --minutes M  as many as there is time for
  --from N     the first seed (default 0)
  --jobs N     side by side (default 1)
  --first      until the first violation
  --trace      every request, fault and decision
  --shrink     leaves out whatever the failure does not need`;

const options = {
  seeds: { type: 'string' },
  minutes: { type: 'string' },
  from: { type: 'string', default: '0' },
  jobs: { type: 'string', default: '1' },
  seed: { type: 'string' },
  first: { type: 'boolean', default: false },
  trace: { type: 'boolean', default: false },
  shrink: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const;

const say = (line: string) => process.stdout.write(`${line}\n`);

async function main(): Promise<number> {
  const { values } = parseArgs({ options });
  if (values.help) {
    say(usage);
    return 0;
  }
  if (values.seed !== undefined) return again(scheduleOf(values.seed), values.trace, values.shrink);
  const from = numberOf(values.from, '--from');
  const minutes = values.minutes === undefined ? undefined : numberOf(values.minutes, '--minutes');
  const seeds = values.seeds === undefined ? 1_000 : numberOf(values.seeds, '--seeds');
  const jobs = Math.max(1, numberOf(values.jobs, '--jobs'));
  return many({ from, minutes, seeds, jobs, first: values.first });
}

function numberOf(text: string, name: string): number {
  const value = Number(text);
  if (!(value >= 0)) throw new Error(`${name} wants a number, not "${text}"\n${usage}`);
  return value;
}

async function again(schedule: Schedule, traced: boolean, shrunk: boolean): Promise<number> {
  const fails = async (one: Schedule) => (await simulate(one)).violations.length > 0;
  const run = shrunk && (await fails(schedule)) ? await shrink(schedule, fails) : schedule;
  if (run !== schedule) say(JSON.stringify(run, null, 1));
  const lines: string[] | undefined = traced ? [] : undefined;
  const outcome: Outcome = await simulate(run, lines);
  for (const line of lines ?? []) say(line);
  for (const violation of outcome.violations) say(`violation: ${violation}`);
  say(`seed ${run.seed}: trace ${outcome.trace}, ${outcome.virtualMs} ms of virtual time`);
  return outcome.violations.length > 0 ? 1 : 0;
}

interface Many {
  readonly from: number;
  readonly minutes: number | undefined;
  readonly seeds: number;
  readonly jobs: number;
  readonly first: boolean;
}

async function many({ from, minutes, seeds, jobs, first }: Many): Promise<number> {
  const begunMs = performance.now();
  const endMs = begunMs + (minutes ?? 0) * 60_000;
  const results = await Promise.all(
    Array.from({ length: jobs }, (_, job) => {
      const share = Math.ceil((seeds - job) / jobs);
      return side({
        from: from + job,
        step: jobs,
        seeds: share,
        endInMs: minutes === undefined ? undefined : endMs - performance.now(),
        first,
      });
    }),
  );
  const whole = results.reduce(added);
  const seconds = (performance.now() - begunMs) / 1_000;
  for (const [kind, count] of Object.entries(whole.tally)) say(`${kind.padEnd(24)}${count}`);
  const hours = whole.virtualMs / 3_600_000;
  say(
    `${whole.seeds} histories checked, ${hours.toFixed(1)} h of virtual time, in ${seconds.toFixed(0)} s: ` +
      `${(whole.seeds / seconds).toFixed(1)} seeds/s`,
  );
  for (const { seed, violations } of whole.failures.slice(0, 20)) {
    say(`seed ${seed}: ${violations[0]}\n  npm run sim -- --seed ${seed} --shrink --trace`);
  }
  const missing = first ? [] : unseen(whole);
  if (missing.length > 0) say(`never took effect, so nothing is shown of it: ${missing.join(', ')}`);
  say(`${whole.failures.length} violations`);
  return whole.failures.length > 0 || missing.length > 0 ? 1 : 0;
}

export interface SideOptions {
  readonly from: number;
  readonly step: number;
  readonly seeds: number;
  readonly endInMs: number | undefined;
  readonly first: boolean;
}

function side(work: SideOptions): Promise<Campaign> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./side.ts', import.meta.url), { workerData: work });
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

function added(a: Campaign, b: Campaign): Campaign {
  const tally = { ...a.tally };
  for (const [kind, count] of Object.entries(b.tally)) tally[kind] = (tally[kind] ?? 0) + count;
  return {
    seeds: a.seeds + b.seeds,
    virtualMs: a.virtualMs + b.virtualMs,
    tally,
    failures: [...a.failures, ...b.failures],
  };
}

process.exitCode = await main();
