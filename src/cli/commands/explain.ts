import type { Command } from 'commander';
import { redact } from '../../config/secret.ts';
import type { Explanation, SiteExplanation, VersionInfo } from '../api.ts';
import { checkedKey, datasetNamed } from '../arguments.ts';
import { CliFailure } from '../failure.ts';
import type { Act } from '../program.ts';
import { bytesText, printable, timeText } from '../text.ts';
import { absent } from './get.ts';

export function explain(program: Command, act: Act): void {
  program
    .command('explain')
    .summary("every site's version of a key, and why")
    .description('Shows what every site holds of a key, what is pending or parked, and why.')
    .argument('<dataset>')
    .argument('<key>')
    .addHelpText('after', '\nExample:\n  isobar explain photos 2026/cat.png')
    .action(
      act(async (context, name: string, key: string) => {
        checkedKey(key);
        const dataset = await datasetNamed(context, name);
        const explanation = await dataset.explain(key, context.signal);
        if (explanation === undefined) throw absent(key, name, undefined);
        if (!isKnown(explanation)) throw notFound(explanation);
        for (const line of linesOf(explanation)) await context.output.line(line);
        await context.output.json('explanation', explanation);
      }),
    );
}

function isKnown({ newest, sites }: Explanation): boolean {
  return newest !== undefined || sites.some(({ parkedId }) => parkedId !== undefined);
}

/** No site that answered has it, and the others may. */
function notFound({ dataset, key, sites }: Explanation): CliFailure {
  const silent = sites.filter(({ state }) => state === 'unreachable');
  const names = silent.map(({ site }) => site).join(', ');
  const reasons = silent.map(({ site, because }) => `${site}: ${printable(redact(because))}`).join('; ');
  return new CliFailure(
    `no site that answered knows ${printable(key)} in ${dataset}, and ${names} could not be asked (${reasons})`,
    {
      hint: `ask again when they answer; \`isobar doctor ${names.replaceAll(',', '')}\` shows what is wrong`,
    },
  );
}

function linesOf({ dataset, key, newest, sites, losers }: Explanation): string[] {
  return [
    `${printable(key)} in ${dataset}`,
    `  newest: ${newest === undefined ? 'not known' : versionText(newest)}`,
    ...sites.flatMap((site) => siteLines(site, dataset)),
    ...losers.map(
      (loser) =>
        `  lost a conflict: ${bytesText(loser.size)} written ${timeText(loser.sinceMs)}, kept at ${loser.site} as ${printable(loser.keptAs)}`,
    ),
  ];
}

function siteLines(site: SiteExplanation, dataset: string): string[] {
  const held = site.version === undefined ? '' : `, ${versionText(site.version)}`;
  const size = site.size === undefined ? '' : `, ${bytesText(site.size)}`;
  const lines = [`  ${site.site}: ${site.state}${held}${size}`, `    ${printable(redact(site.because))}`];
  if (site.pendingSinceMs !== undefined) {
    const tried =
      site.attempts === undefined || site.attempts === 0 ? 'not tried yet' : `tried ${site.attempts} times`;
    const next = site.dueMs === undefined ? '' : `, next ${timeText(site.dueMs)}`;
    lines.push(`    pending since ${timeText(site.pendingSinceMs)}, ${tried}${next}`);
  }
  if (site.lastError !== undefined) lines.push(`    last failure: ${printable(redact(site.lastError))}`);
  if (site.parkedId !== undefined) {
    lines.push(
      `    parked: ${printable(redact(site.parkedBecause ?? ''))}; \`isobar parked retry ${dataset} ${quoted(site.parkedId)}\` tries it again`,
    );
  }
  return lines;
}

/** For a shell. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function versionText({ deleted, atMs, site, count }: VersionInfo): string {
  return `${deleted ? 'deleted' : 'written'} ${timeText(atMs)} at ${site} (its ${count}.)`;
}
