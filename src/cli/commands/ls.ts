import type { Command } from 'commander';
import type { ListedKey } from '../api.ts';
import { datasetNamed, siteNamed } from '../arguments.ts';
import { UsageFailure } from '../failure.ts';
import type { Act } from '../program.ts';
import { printable, timeText } from '../text.ts';

interface LsOptions {
  readonly site?: string;
  readonly long?: true;
  readonly null?: true;
}

export function ls(program: Command, act: Act): void {
  program
    .command('ls')
    .summary('list keys')
    .description(
      'Lists the keys of a dataset in the order of their bytes. Control characters and backslashes are printed as\n' +
        '\\n, \\t, \\\\, \\x1b, \\u{2028}; --json and --null print keys as they are.',
    )
    .argument('<dataset>')
    .argument('[prefix]', 'only keys that begin like this', '')
    .option('--site <site>', 'what this site holds, newest or not')
    .option('-l, --long', 'size and time as well')
    .option('-0, --null', 'keys as they are, each followed by a NUL byte')
    .addHelpText('after', '\nExamples:\n  isobar ls photos 2026/ -l\n  isobar ls photos --json | jq -r .key')
    .action(
      act(async (context, name: string, prefix: string, options: LsOptions) => {
        const { output } = context;
        if (options.null && (options.long || output.settings.json))
          throw new UsageFailure('--null stands alone: leave out --long and --json');
        const site = await siteNamed(context, options.site, name);
        const dataset = await datasetNamed(context, name);
        const query = { ...(prefix === '' ? {} : { prefix }), ...(site === undefined ? {} : { site }) };
        for await (const entry of dataset.list(query, AbortSignal.any([context.signal, output.gone]))) {
          output.gone.throwIfAborted();
          if (options.null) await output.document(`${entry.key}\0`);
          else await output.line(options.long ? longLine(entry) : printable(entry.key));
          await output.json('key', entry);
        }
      }),
    );
}

function longLine({ key, size, modifiedMs }: ListedKey): string {
  return `${String(size).padStart(14)}  ${timeText(modifiedMs)}  ${printable(key)}`;
}
