import type { Command } from 'commander';
import type { ObjectInfo } from '../api.ts';
import { checkedKey, datasetNamed, siteNamed } from '../arguments.ts';
import type { Act } from '../program.ts';
import { bytesText, grouped, printable, table, timeText } from '../text.ts';
import { absent } from './get.ts';

export function stat(program: Command, act: Act): void {
  program
    .command('stat')
    .summary('show size, version and metadata of an object')
    .description('Shows an object without its body. An absent key ends with 1.')
    .argument('<dataset>')
    .argument('<key>')
    .option('--site <site>', 'what this site holds, newest or not')
    .addHelpText('after', '\nExample:\n  isobar stat photos 2026/cat.png')
    .action(
      act(async (context, name: string, key: string, options: { readonly site?: string }) => {
        checkedKey(key);
        const site = await siteNamed(context, options.site, name);
        const dataset = await datasetNamed(context, name);
        const info = await dataset.stat(key, site === undefined ? {} : { site }, context.signal);
        if (info === undefined) throw absent(key, name, site);
        for (const line of table(rowsOf(info))) await context.output.line(line);
        await context.output.json('object', info);
      }),
    );
}

function rowsOf({ key, site, size, modifiedMs, sha256, version, metadata }: ObjectInfo): string[][] {
  const { user, tags, ...plain } = metadata;
  const rows = [
    ['key', printable(key)],
    ['site', site],
    ['size', `${grouped(size)} bytes (${bytesText(size)})`],
    ['modified', timeText(modifiedMs)],
    ['sha256', sha256 ?? 'not known'],
    [
      'version',
      version === undefined
        ? 'none yet: a native write'
        : `${version.stamp} (${version.site} ${version.count})`,
    ],
  ];
  for (const [name, value] of Object.entries(plain)) rows.push([hyphenated(name), printable(value)]);
  for (const [name, value] of Object.entries(user)) rows.push([`meta ${name}`, printable(value)]);
  for (const [name, value] of Object.entries(tags)) rows.push([`tag ${printable(name)}`, printable(value)]);
  return rows;
}

/** `contentType` as the header and the flag have it: `content-type`. */
function hyphenated(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
