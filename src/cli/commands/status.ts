import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, InvalidArgumentError } from 'commander';
import { redact } from '../../config/secret.ts';
import type { SiteStatus, StatusReport } from '../api.ts';
import { datasetNamed, datasetNames } from '../arguments.ts';
import type { Context } from '../context.ts';
import type { Act } from '../program.ts';
import { bytesText, grouped, spanText, table } from '../text.ts';

interface StatusFlags {
  readonly watch?: true;
  readonly every: number;
}

export function status(program: Command, act: Act): void {
  program
    .command('status')
    .summary('lag, backlog and health of every site')
    .description(
      'Shows per site how old the oldest write is that is not yet verified there (lag), what is still to come\n' +
        '(backlog), the last failure, and how old the knowledge is that this rests on.',
    )
    .argument('[dataset...]', 'all, when left out')
    .option('-w, --watch', 'again and again, until Ctrl-C')
    .option('--every <seconds>', 'with --watch', seconds, 2)
    .addHelpText('after', '\nExamples:\n  isobar status\n  isobar status photos --watch --json')
    .action(
      act(async (context, given: readonly string[], flags: StatusFlags) => {
        const names = await datasetNames(context, given);
        let printed = await show(context, names);
        while (flags.watch && !context.output.gone.aborted) {
          await sleep(flags.every * 1000, undefined, {
            signal: AbortSignal.any([context.signal, context.output.gone]),
          });
          if (context.output.isTerminal && !context.output.settings.json)
            await context.output.rewind(printed);
          printed = await show(context, names);
        }
      }),
    );
}

function seconds(text: string): number {
  const value = Number(text);
  if (!(value >= 0.1)) throw new InvalidArgumentError('It must be a number of seconds, at least 0.1.');
  return value;
}

/** Answers with the number of lines that it printed. */
async function show(context: Context, names: readonly string[]): Promise<number> {
  let printed = 0;
  for (const name of names) {
    const dataset = await datasetNamed(context, name);
    const report = await dataset.status(context.signal);
    for (const line of linesOf(report)) {
      await context.output.line(line);
      printed += 1;
    }
    await context.output.json('status', report);
  }
  return printed;
}

function linesOf(report: StatusReport): string[] {
  const carried = report.running
    ? 'isobar run is up'
    : 'nobody replicates now: start `isobar run`, or use `isobar sync`';
  const losers = report.losers === 0 ? '' : `; ${grouped(report.losers)} conflict losers kept`;
  const rows = report.sites.map((site) => rowOf(site, report.atMs));
  const failures = report.sites.filter(({ lastError }) => lastError !== undefined);
  return [
    `${report.dataset}: ${carried}${losers}`,
    ...table(
      [['site', 'state', 'lag', 'backlog', '', 'rate', 'parked', 'as of'], ...rows],
      [2, 3, 4, 5, 6],
    ).map((line) => `  ${line}`),
    ...failures.map(
      ({ site, lastError, lastErrorMs }) =>
        `  ${site}: ${lastErrorMs === undefined ? '' : `${ago(lastErrorMs, report.atMs)}: `}${redact(oneLine(lastError!))}`,
    ),
  ];
}

function rowOf(site: SiteStatus, atMs: number): string[] {
  return [
    site.site,
    site.state,
    // Never a zero that nobody has measured.
    site.lagMs === undefined ? 'unknown' : spanText(site.lagMs),
    `${grouped(site.backlogKeys)} keys`,
    bytesText(site.backlogBytes),
    site.bytesPerSecond === undefined ? '-' : `${bytesText(site.bytesPerSecond)}/s`,
    grouped(site.parked),
    ago(site.asOfMs, atMs),
  ];
}

function ago(ms: number | undefined, nowMs: number): string {
  return ms === undefined ? 'never' : `${spanText(Math.max(0, nowMs - ms))} ago`;
}

function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, ' ');
}
