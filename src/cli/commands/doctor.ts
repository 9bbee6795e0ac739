import type { Command } from 'commander';
import { redact } from '../../config/secret.ts';
import type { Check } from '../api.ts';
import { siteNamed } from '../arguments.ts';
import { exitCodes } from '../failure.ts';
import type { Output } from '../output.ts';
import type { Act } from '../program.ts';
import { Queue } from '../queue.ts';
import { countText } from '../text.ts';

export function doctor(program: Command, act: Act): void {
  program
    .command('doctor')
    .summary('probe every site and say how to mend what fails')
    .description(
      'Probes each site: reachable, credentials, every permission that is needed, conditional writes honoured,\n' +
        'metadata kept, clock. Writes only below `.isobar/`, and removes what it wrote.',
    )
    .argument('[site...]', 'all, when left out')
    .addHelpText(
      'after',
      '\nExit codes: 0 nothing failed (there may be warnings); 1 something did.\n\nExample:\n  isobar doctor azure',
    )
    .action(
      act(async (context, sites: readonly string[]) => {
        for (const site of sites) await siteNamed(context, site);
        const { output, signal } = context;
        const isobar = await context.isobar();
        const counts = { ok: 0, warning: 0, failed: 0, skipped: 0 };
        const checks = new Queue<Check>((check) => print(check, output));
        const report = (check: Check): void => {
          counts[check.status] += 1;
          checks.push(check);
        };
        await isobar.doctor(sites.length === 0 ? {} : { sites }, report, signal);
        await checks.drained();
        output.say(
          `${countText(counts.ok, 'check')} ok, ${countText(counts.warning, 'warning')}, ${counts.failed} failed`,
        );
        await output.json('doctor', counts);
        return counts.failed > 0 ? exitCodes.failed : exitCodes.done;
      }),
    );
}

const colors = { ok: 'green', warning: 'yellow', failed: 'red', skipped: 'dim' } as const;

async function print(check: Check, output: Output): Promise<void> {
  const mark = output.paint(colors[check.status], check.status.padEnd(7));
  await output.line(`${mark}  ${check.site}  ${check.check}: ${redact(check.detail)}`);
  if (check.remedy !== undefined) await output.line(`         ${redact(check.remedy)}`);
  await output.json('check', check);
}
