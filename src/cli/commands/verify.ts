import type { Command } from 'commander';
import { redact } from '../../config/secret.ts';
import type { Difference, VerifyReport } from '../api.ts';
import { datasetNamed } from '../arguments.ts';
import { exitCodes } from '../failure.ts';
import type { Output } from '../output.ts';
import type { Act } from '../program.ts';
import { Queue } from '../queue.ts';
import { bytesText, countText, grouped, printable, spanText } from '../text.ts';

interface VerifyFlags {
  readonly deep?: true;
  readonly repair?: true;
}

export function verify(program: Command, act: Act): void {
  program
    .command('verify')
    .summary('compare all sites and name every difference')
    .description(
      'Compares what the sites list: keys, sizes, digests that the stores report. With --deep every body is read.',
    )
    .argument('<dataset>')
    .option('--deep', 'read and compare every body and its metadata')
    .option('--repair', 'bring what differs to the newest version; nothing is lost')
    .addHelpText(
      'after',
      '\nExit codes: 0 all is equal, or was repaired; 5 content differs; 3 keys are missing or should be deleted;\n' +
        '4 a site or a body could not be read. The first that applies, in this order: 5, 3, 4.\n\n' +
        'Examples:\n  isobar verify photos\n  isobar verify photos --deep --json > report.jsonl',
    )
    .action(
      act(async (context, name: string, flags: VerifyFlags) => {
        const { output, signal } = context;
        const dataset = await datasetNamed(context, name);
        const open = { missing: 0, extra: 0, differs: 0, unreadable: 0 };
        const differences = new Queue<Difference>((difference) => printDifference(difference, output));
        const report = await dataset.verify(
          {
            deep: flags.deep === true,
            repair: flags.repair === true,
            progress: (progress) => output.progress(progress),
            difference: (difference) => {
              if (!difference.repaired) open[difference.kind] += 1;
              differences.push(difference);
            },
          },
          signal,
        );
        await differences.drained();
        output.endProgress();
        await printReport(report, output);
        return exitCodeOf(open, report);
      }),
    );
}

async function printDifference(difference: Difference, output: Output): Promise<void> {
  const { kind, site, key, detail, repaired } = difference;
  const mark = output.paint(repaired ? 'green' : 'red', (repaired ? 'repaired' : kind).padEnd(10));
  await output.line(`${mark}  ${site}  ${printable(key)}  (${redact(detail)})`);
  await output.json('difference', difference);
}

async function printReport(report: VerifyReport, output: Output): Promise<void> {
  const { dataset, deep, comparedKeys, missing, extra, differing, unreadable, repaired } = report;
  for (const site of report.sites) {
    if (!site.reached) output.warn(`${site.site} could not be read: ${site.error ?? 'no reason is known'}`);
    else output.say(`${site.site}: ${countText(site.keys, 'key')}, ${bytesText(site.bytes)}`);
  }
  const found = missing + extra + differing + unreadable;
  const depth = deep ? 'by content' : 'by listing';
  await output.line(
    `${dataset}: ${countText(comparedKeys, 'key')} compared ${depth} in ${spanText(report.tookMs)}: ` +
      (found === 0
        ? 'no difference'
        : `${grouped(missing)} missing, ${grouped(extra)} extra, ${grouped(differing)} differing, ` +
          `${grouped(unreadable)} unreadable; ${grouped(repaired)} repaired`),
  );
  await output.json('verify', report);
}

/** Counts of what was found and not repaired. */
export interface Open {
  readonly missing: number;
  readonly extra: number;
  readonly differs: number;
  readonly unreadable: number;
}

export function exitCodeOf(open: Open, { sites }: Pick<VerifyReport, 'sites'>): number {
  if (open.differs > 0) return exitCodes.differing;
  if (open.missing + open.extra > 0) return exitCodes.different;
  return open.unreadable > 0 || sites.some((site) => !site.reached) ? exitCodes.incomplete : exitCodes.done;
}
