import { randomBytes } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Command } from 'commander';
import type { GetResult } from '../api.ts';
import { checkedKey, datasetNamed, siteNamed } from '../arguments.ts';
import type { Context } from '../context.ts';
import { CliFailure, UsageFailure } from '../failure.ts';
import type { Act } from '../program.ts';
import { bytesText, printable } from '../text.ts';

interface GetOptions {
  readonly site?: string;
  readonly output?: string;
}

export function get(program: Command, act: Act): void {
  program
    .command('get')
    .summary('read an object')
    .description(
      'Writes the body of an object to stdout, from the nearest healthy site that holds the newest version;\n' +
        '-v says which. An absent key ends with 1.',
    )
    .argument('<dataset>')
    .argument('<key>')
    .option('--site <site>', 'read what this site holds, newest or not')
    .option('-o, --output <file>', 'write to a file, which appears only when it is complete')
    .addHelpText(
      'after',
      '\nExamples:\n  isobar get photos 2026/cat.png > cat.png\n  isobar get photos 2026/cat.png --site azure -o cat.png',
    )
    .action(
      act(async (context, name: string, key: string, options: GetOptions) => {
        const { output, signal } = context;
        checkedKey(key);
        demandPlace(options.output, context);
        const site = await siteNamed(context, options.site, name);
        const dataset = await datasetNamed(context, name);
        const found = await dataset.get(
          key,
          site === undefined ? {} : { site },
          AbortSignal.any([signal, output.gone]),
        );
        if (found === undefined) throw absent(key, name, site);
        output.explain(`${printable(key)} comes from ${found.info.site}: ${found.because}`);
        await deliver(found, options.output, context);
      }),
    );
}

/** The body, to stdout or to a file. */
export async function deliver(found: GetResult, file: string | undefined, context: Context): Promise<void> {
  const { output } = context;
  if (file === undefined) return toStdout(found, context);
  await toFile(found, file);
  output.say(`${file}: ${bytesText(found.info.size)} from ${found.info.site}`);
  await output.json('get', { ...found.info, file });
}

export function demandPlace(file: string | undefined, { output }: Context): void {
  if (!output.settings.json || file !== undefined) return;
  throw new UsageFailure(
    'the body goes to stdout, where JSON cannot stand beside it',
    'add --output FILE, or leave out --json',
  );
}

export function absent(key: string, dataset: string, site: string | undefined): CliFailure {
  const where = site === undefined ? '' : ` at ${site}`;
  return new CliFailure(`there is no ${printable(key)} in ${dataset}${where}`, {
    hint: `\`isobar explain ${dataset} KEY\` shows what every site knows of a key`,
  });
}

async function toStdout(found: GetResult, { output }: Context): Promise<void> {
  for await (const piece of found.body) {
    output.gone.throwIfAborted();
    await output.bytes(piece);
  }
}

/** Nobody ever sees half of it under its name. */
async function toFile(found: GetResult, path: string): Promise<void> {
  const unfinished = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.part`);
  const file = await open(unfinished, 'wx');
  try {
    for await (const piece of found.body) await file.writeFile(piece);
    await file.sync();
    await file.close();
    await rename(unfinished, path);
  } catch (failure) {
    await file.close().catch(() => {});
    await rm(unfinished, { force: true });
    throw failure;
  }
}
