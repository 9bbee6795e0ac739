import type { Command } from 'commander';
import { redact } from '../../config/secret.ts';
import type { RebuildReport } from '../api.ts';
import { datasetNamed } from '../arguments.ts';
import { exitCodes } from '../failure.ts';
import type { Output } from '../output.ts';
import type { Act } from '../program.ts';
import { countText, spanText } from '../text.ts';

export function ledger(program: Command, act: Act): void {
  const group = program
    .command('ledger')
    .summary('the memory of which site holds what: rebuild')
    .description(
      'What Isobar remembers of the sites. It can be made again from them; losing it loses no data.',
    );
  group
    .command('rebuild')
    .description(
      'Makes a ledger that was lost, or restored from an older backup, again from the sites: keys, versions, ' +
        'deletions, losers of conflicts. Copies and removes nothing; broken off, it goes on where it was.',
    )
    .argument('<dataset>')
    .option('-n, --dry-run', 'count what would be read; change nothing')
    .addHelpText(
      'after',
      '\nExit codes: 0 done; 4 a site could not be read: it is taken up when it is back.\n\n' +
        'Examples:\n  isobar ledger rebuild photos\n  isobar sync photos --dry-run',
    )
    .action(
      act(async (context, name: string, flags: { readonly dryRun?: true }) => {
        const { output, signal } = context;
        const dataset = await datasetNamed(context, name);
        const report = await dataset.rebuild({ dryRun: flags.dryRun === true }, signal);
        await printReport(report, output);
        return report.sites.every((site) => site.reached) ? exitCodes.done : exitCodes.incomplete;
      }),
    );
}

async function printReport(report: RebuildReport, output: Output): Promise<void> {
  const { dataset, dryRun, keys, tookMs } = report;
  output.say(`${dataset}: ${dryRun ? 'found' : 'read'} ${countText(keys, 'key')} in ${spanText(tookMs)}`);
  for (const { site, reached, error, ...counts } of report.sites) {
    if (!reached)
      output.warn(
        `${site} was away: ${redact(error ?? 'it could not be read')}; nothing is concluded from it`,
      );
    else
      output.say(
        `${site}: ${countText(counts.keys, 'key')}, ${countText(counts.tombstones, 'tombstone')}, ` +
          `${countText(counts.losers, 'loser')} of conflicts`,
      );
  }
  await output.json('rebuild', report);
}
