import type { Command } from 'commander';
import { redact } from '../../config/secret.ts';
import type { PlannedStep, SyncReport } from '../api.ts';
import { datasetNamed } from '../arguments.ts';
import { exitCodes } from '../failure.ts';
import type { Output } from '../output.ts';
import type { Act } from '../program.ts';
import { Queue } from '../queue.ts';
import { bytesText, countText, printable, spanText } from '../text.ts';

interface SyncFlags {
  readonly dryRun?: true;
  readonly yes?: true;
}

export function sync(program: Command, act: Act): void {
  program
    .command('sync')
    .summary('one pass until every site agrees')
    .description(
      'Finds what was written or deleted at any site, and brings it to all others: first copy, catch-up, deletions.',
    )
    .argument('<dataset>')
    .option('-n, --dry-run', 'print the plan and its bytes; change nothing')
    .option('-y, --yes', 'carry out deletions beyond `guards.maxDeletes`, too')
    .addHelpText(
      'after',
      '\nExit codes: 0 all sites agree; 1 something failed and is tried again by the next pass; 3 --dry-run found\n' +
        'work; 4 deletions were held back by a guard, changes are parked, or a site was away.\n\n' +
        'Examples:\n  isobar sync photos --dry-run\n  isobar sync photos',
    )
    .action(
      act(async (context, name: string, flags: SyncFlags) => {
        const { output, signal } = context;
        const dataset = await datasetNamed(context, name);
        const steps = new Queue<PlannedStep>((step) => printStep(step, output));
        const report = await dataset.sync(
          {
            dryRun: flags.dryRun === true,
            yes: flags.yes === true,
            progress: (progress) => output.progress(progress),
            planned: (step) => steps.push(step),
          },
          signal,
        );
        await steps.drained();
        output.endProgress();
        await printReport(report, output);
        return exitCodeOf(report);
      }),
    );
}

async function printStep(step: PlannedStep, output: Output): Promise<void> {
  const how = step.action === 'copy' ? `from ${step.from}, ${bytesText(step.bytes)}` : 'delete';
  const held = step.held === undefined ? '' : ` [held: ${redact(step.held)}]`;
  await output.line(
    `${step.action.padEnd(6)}  ${step.site}  ${printable(step.key)}  (${how}: ${redact(step.because)})${held}`,
  );
  await output.json('step', step);
}

async function printReport(report: SyncReport, output: Output): Promise<void> {
  const would = report.dryRun ? 'to copy' : 'copied';
  const gone = report.dryRun ? 'to delete' : 'deleted';
  output.say(
    `${report.dataset}: ${would} ${countText(report.copiedKeys, 'object')} (${bytesText(report.copiedBytes)}), ` +
      `${gone} ${report.removedKeys}, ${countText(report.conflicts, 'conflict')}, in ${spanText(report.tookMs)}`,
  );
  for (const site of report.sites) {
    if (!site.reached)
      output.warn(
        `${site.site} was away: ${site.error ?? 'it could not be read'}; it catches up by the next pass`,
      );
    if (site.guardedKeys > 0) {
      output.warn(
        `${site.site}: ${countText(site.guardedKeys, 'deletion')} held back by guards.maxDeletes; ` +
          `if they are meant: \`isobar sync ${report.dataset} --yes\``,
      );
    }
    if (site.parkedKeys > 0)
      output.warn(
        `${site.site}: ${countText(site.parkedKeys, 'change')} parked; see \`isobar parked ls ${report.dataset}\``,
      );
    if (site.reached && site.owedKeys > 0) {
      output.warn(
        `${site.site}: ${countText(site.owedKeys, 'key')} still to come: ${site.error ?? 'see `isobar status`'}`,
      );
    }
  }
  await output.json('sync', report);
}

export function exitCodeOf({ dryRun, copiedKeys, removedKeys, sites }: SyncReport): number {
  const held = sites.some((site) => !site.reached || site.guardedKeys > 0 || site.parkedKeys > 0);
  if (dryRun && copiedKeys + removedKeys > 0) return exitCodes.different;
  if (held) return exitCodes.incomplete;
  return !dryRun && sites.some((site) => site.owedKeys > 0) ? exitCodes.failed : exitCodes.done;
}
