import { type Command, InvalidArgumentError } from 'commander';
import { redact } from '../../config/secret.ts';
import type { Dataset, UndoOptions, UndoReport, UndoStep } from '../api.ts';
import { datasetNamed } from '../arguments.ts';
import type { Context } from '../context.ts';
import { exitCodes } from '../failure.ts';
import type { Output } from '../output.ts';
import type { Act } from '../program.ts';
import { Queue } from '../queue.ts';
import { bytesText, countText, printable, timeText } from '../text.ts';
import { confirm } from './parked.ts';

interface UndoFlags {
  readonly since: Since;
  readonly prefix?: string;
  readonly dryRun?: true;
  readonly yes?: true;
}

/** A time, or how long ago it was. Milliseconds. */
type Since = { readonly atMs: number } | { readonly agoMs: number };

export function undo(program: Command, act: Act): void {
  program
    .command('undo')
    .summary('bring back what stood before a time')
    .description(
      'Brings back keys that were overwritten or deleted since, as new writes on top: from a site that still holds\n' +
        'the former version, as while a guard holds changes back, and from what `guards.keep` put aside. Keys created\n' +
        'since are left. What a version in the bucket alone still holds must be brought back with the tools of its store.',
    )
    .argument('<dataset>')
    .requiredOption('--since <time>', 'ISO time (2026-11-21T09:00Z), or how long ago (90m, 2h, 3d)', since)
    .option('--prefix <prefix>', 'only keys that begin like this')
    .option('-n, --dry-run', 'list keys, bytes and what cannot be brought back; change nothing')
    .option('-y, --yes', 'do not ask')
    .addHelpText(
      'after',
      '\nExit codes: 0 done; 1 some failed, run it again; 3 --dry-run found work; 4 some cannot be brought back.\n\n' +
        'Examples:\n  isobar undo photos --since 2h --dry-run\n  isobar undo photos --since 2026-11-21T09:00Z --prefix 2026/ --yes',
    )
    .action(
      act(async (context, name: string, flags: UndoFlags) => {
        const { output, signal } = context;
        const dataset = await datasetNamed(context, name);
        const options = optionsOf(flags, context.host.nowMs());
        if (flags.yes !== true && flags.dryRun !== true)
          await confirm(context, await question(dataset, options, context));
        const steps = new Queue<UndoStep>((step) => printStep(step, output));
        const all = { ...options, dryRun: flags.dryRun === true, told: (step: UndoStep) => steps.push(step) };
        const report = await dataset.undo(all, signal);
        await steps.drained();
        await printReport(report, output);
        return exitCodeOf(report);
      }),
    );
}

function since(text: string): Since {
  const ago = /^(\d+)(m|h|d)$/.exec(text);
  if (ago)
    return { agoMs: Number(ago[1]) * { m: 60_000, h: 3_600_000, d: 86_400_000 }[ago[2] as 'm' | 'h' | 'd'] };
  // Without a zone it would be this machine's; who undoes should not have to guess.
  const isIso = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/.test(text);
  const atMs = isIso ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(atMs))
    throw new InvalidArgumentError(
      'It must be a time with its zone (2026-11-21T09:00Z) or how long ago (90m, 2h, 3d).',
    );
  return { atMs };
}

function optionsOf({ since, prefix }: UndoFlags, nowMs: number): Pick<UndoOptions, 'sinceMs' | 'prefix'> {
  const sinceMs = 'atMs' in since ? since.atMs : nowMs - since.agoMs;
  return { sinceMs, ...(prefix === undefined ? {} : { prefix }) };
}

/** What a person agrees to, counted before it is asked. */
async function question(
  dataset: Dataset,
  options: Pick<UndoOptions, 'sinceMs' | 'prefix'>,
  { signal }: Context,
): Promise<string> {
  const dry = await dataset.undo({ ...options, dryRun: true, told: () => {} }, signal);
  const lost = dry.lostKeys === 0 ? '' : `; ${countText(dry.lostKeys, 'key')} cannot be brought back`;
  const what = `${countText(dry.restoredKeys, 'key')} (${bytesText(dry.restoredBytes)})`;
  return `Bring back ${what} as of ${timeText(options.sinceMs)}${lost}?`;
}

async function printStep(step: UndoStep, output: Output): Promise<void> {
  const { key, outcome, bytes, site, keptAs, error } = step;
  const from =
    site === undefined
      ? 'nobody holds what stood there'
      : `from ${site}${keptAs ? ', kept' : ''}, ${bytesText(bytes)}`;
  const why = error === undefined ? '' : `: ${redact(error)}`;
  await output.line(`${outcome.padEnd(8)}  ${printable(key)}  (${from})${why}`);
  await output.json('undo-step', step);
}

async function printReport(report: UndoReport, output: Output): Promise<void> {
  const { dataset, dryRun, sinceMs, restoredKeys, restoredBytes, failedKeys, lostKeys } = report;
  const done = dryRun ? 'to bring back' : 'brought back';
  output.say(
    `${dataset}: ${done} ${countText(restoredKeys, 'key')} (${bytesText(restoredBytes)}) as of ${timeText(sinceMs)}`,
  );
  if (failedKeys > 0) output.warn(`${countText(failedKeys, 'key')} failed: run it again`);
  if (lostKeys > 0)
    output.warn(
      `${countText(lostKeys, 'key')} cannot be brought back from here: no site and nothing that was kept has them; look for versions in the bucket`,
    );
  await output.json('undo', report);
}

function exitCodeOf({ dryRun, restoredKeys, failedKeys, lostKeys }: UndoReport): number {
  if (failedKeys > 0) return exitCodes.failed;
  if (dryRun && restoredKeys > 0) return exitCodes.different;
  return lostKeys > 0 ? exitCodes.incomplete : exitCodes.done;
}
