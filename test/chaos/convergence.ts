import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemWorld } from '../../src/system-world.ts';
import { type Accounts, accountFor } from './accounts.ts';
import { bodyOf, keyFor } from './bodies.ts';
import { endingOf, told } from './convergence-check.ts';
import { type Faults, makeTrouble, noFaults } from './convergence-faults.ts';
import { Stage, type StagedSite } from './convergence-stage.ts';

export interface Convergence {
  readonly seconds: number;
  /** Acts that took effect at a server. */
  readonly nativeWrites: number;
  readonly nativeDeletions: number;
  readonly copies: number;
  readonly removals: number;
  /** Of users of Isobar. */
  readonly tried: number;
  readonly acknowledged: number;
  readonly failed: number;
  readonly faults: Faults;
  /** Not absent at the end. */
  readonly keys: number;
  /** Bodies that lost a conflict, kept and listed at the end. */
  readonly losers: number;
  readonly accounts: Omit<Accounts, 'lost' | 'overtaken'> & { readonly overtaken: number };
  /** Parked changes and held deletions that a person released at the end. */
  readonly released: number;
  /** From the end of the faults until status said that nothing is missing. */
  readonly restSeconds: number;
  readonly violations: readonly string[];
}

/**
 * Native writers and users of Isobar at three real servers that are cut off, paused and healed at random, with three
 * workers that are killed; then rest, and what every site holds. Journals are kept in a folder that is named where
 * something is violated.
 */
export async function converge(
  durationMs: number,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<Convergence> {
  const journal = mkdtempSync(join(tmpdir(), 'isobar-convergence-'));
  const begunMs = Date.now();
  let isWell = false;
  const stage = await Stage.open(journal, signal);
  try {
    const faults = noFaults();
    const stop = AbortSignal.any([AbortSignal.timeout(durationMs), signal]);
    const writing = stage.sites.flatMap((site) =>
      [0, 1].map((number) => writeNatively(stage, site, number, stop)),
    );
    const telling = tell(stage, faults, say, stop);
    await makeTrouble(stage, faults, stop, signal);
    await Promise.all([...writing, telling]);
    say('all is healed');
    const healedMs = Date.now();
    await stage.endUsers();
    for (const { recorder } of stage.sites) await recorder.quiet();
    const released = await untilRest(stage, Date.now(), say, signal);
    const restSeconds = (Date.now() - healedMs) / 1000;
    const result = await judge(stage, signal);
    const figures = { ...result, faults, released, restSeconds, seconds: (Date.now() - begunMs) / 1000 };
    isWell = result.violations.length === 0;
    return figures;
  } finally {
    await stage.close();
    if (isWell) rmSync(journal, { recursive: true });
    else say(`journals: ${journal}`);
  }
}

/** One native client of a site. */
async function writeNatively(
  stage: Stage,
  site: StagedSite,
  number: number,
  stop: AbortSignal,
): Promise<void> {
  for (let count = 0; !stop.aborted; count++) {
    await systemWorld.sleep(200 + Math.random() * 1_000, stop).catch(() => {});
    if (stop.aborted) return;
    const key = keyFor();
    const id = `n-${site.name}-${number}-${count}`;
    const isRemoval = Math.random() < 0.25;
    const about = { site: site.name, key, id, verb: isRemoval ? 'remove' : 'put' };
    stage.journal({ native: 'try', ...about });
    try {
      if (isRemoval) await site.client.remove(key);
      else await site.client.put(key, bodyOf(id, 100 + Math.random() * 4_000), { id });
      stage.journal({ native: 'done', ...about });
    } catch (error) {
      stage.journal({ native: 'failed', ...about, error: (error as Error).message });
    }
  }
}

async function tell(
  stage: Stage,
  faults: Faults,
  say: (line: string) => void,
  stop: AbortSignal,
): Promise<void> {
  while (!stop.aborted) {
    await systemWorld.sleep(30_000, stop).catch(() => {});
    say(`${stage.acts.length} acts, ${stage.users.done} acknowledged; ${JSON.stringify(faults)}`);
  }
}

interface SiteStatus {
  readonly site: string;
  readonly state: string;
  readonly lagMs?: number;
  readonly backlogKeys: number;
  readonly parked: number;
  readonly asOfMs?: number;
}

/** Waits as a person would who looks at `status`, and releases what waits for one. Returns how many changes that were. */
async function untilRest(
  stage: Stage,
  sinceMs: number,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<number> {
  let released = 0;
  for (;;) {
    signal.throwIfAborted();
    const [status] = await told(stage, 'status', 'photos');
    const sites = status!['sites'] as SiteStatus[];
    if (sites.every((site) => isAtRest(site, sinceMs))) return released;
    say(
      sites
        .map(({ site, state, lagMs, backlogKeys }) => `${site} ${state} ${backlogKeys} keys, ${lagMs} ms`)
        .join('; '),
    );
    const parked = await told(stage, 'parked', 'ls', 'photos');
    for (const { id, reason, detail } of parked) say(`parked: ${id} ${reason}: ${detail}`);
    if (parked.length > 0) await told(stage, 'parked', 'retry', 'photos', '--all');
    released += parked.length;
    await systemWorld.sleep(1_000, signal);
  }
}

function isAtRest({ state, lagMs, backlogKeys, parked, asOfMs = 0 }: SiteStatus, sinceMs: number): boolean {
  return state === 'healthy' && lagMs === 0 && backlogKeys === 0 && parked === 0 && asOfMs > sinceMs;
}

async function judge(stage: Stage, signal: AbortSignal) {
  const { acts, users } = stage;
  const count = (of: (act: (typeof acts)[number]) => boolean) => acts.filter(of).length;
  const ending = await endingOf(stage, signal);
  await stage.endWorkers();
  const { lost, overtaken, ...counts } = accountFor({ acts, asked: users.asked, ...ending });
  const there = new Set(acts.map(({ body }) => body));
  const violations = [
    ...ending.violations,
    ...stage.ended.map((ended) => `ended by itself: ${ended}`),
    ...lost.map((body) => `${body} is nowhere: ${historyOf(stage, body)}`),
    ...[...users.acknowledged]
      .filter((id) => !there.has(id))
      .map((id) => `${id} was acknowledged and is at no site`),
    ...stage.sites.flatMap(({ name, recorder }) =>
      recorder.broken ? [`${name}: ${recorder.broken.message}`] : [],
    ),
  ];
  return {
    nativeWrites: count(({ actor, body }) => actor === 'native' && body !== undefined),
    nativeDeletions: count(({ actor, body }) => actor === 'native' && body === undefined),
    copies: count(({ actor, body }) => actor === 'worker' && body !== undefined),
    removals: count(({ actor, body }) => actor === 'worker' && body === undefined),
    tried: users.tried,
    acknowledged: users.done,
    failed: users.failed,
    keys: ending.current.size,
    losers: ending.kept.size,
    accounts: { ...counts, overtaken: overtaken.length },
    violations,
  };
}

/** What happened to the key of a body, at every site. */
function historyOf({ acts }: Stage, id: string): string {
  const key = acts.find(({ body }) => body === id)?.key;
  const line = ({ site, actor, replaced, body }: (typeof acts)[number]) =>
    `${site} ${actor} ${replaced ?? '-'}>${body ?? '-'}`;
  return `${key}: ${acts
    .filter((act) => act.key === key)
    .map(line)
    .join(', ')}`;
}

/** `node test/chaos/convergence.ts [MINUTES]`. */
async function main(minutes: number): Promise<void> {
  const say = (line: string) => process.stdout.write(`${line}\n`);
  const result = await converge(minutes * 60_000, say, AbortSignal.timeout((minutes + 15) * 60_000));
  say(JSON.stringify(result, null, 2));
  const idle = Object.entries(result.faults).filter(([, times]) => times === 0);
  for (const [fault] of idle) say(`never took effect: ${fault}`);
  if (result.violations.length > 0 || idle.length > 0 || result.losers === 0) process.exitCode = 1;
}

if (import.meta.main) await main(Number(process.argv[2] ?? 10));
