import type { Command } from 'commander';
import type { ObjectMetadata } from '../../model/metadata.ts';
import { checkedKey, collectPair, datasetNamed } from '../arguments.ts';
import { bodyOfFile, bodyOfStream } from '../body.ts';
import type { Act } from '../program.ts';
import { bytesText, printable } from '../text.ts';

interface PutOptions {
  readonly contentType?: string;
  readonly cacheControl?: string;
  readonly contentEncoding?: string;
  readonly contentDisposition?: string;
  readonly contentLanguage?: string;
  readonly meta?: Readonly<Record<string, string>>;
  readonly tag?: Readonly<Record<string, string>>;
}

export function put(program: Command, act: Act): void {
  program
    .command('put')
    .summary('write an object by the policy of its dataset')
    .description(
      'Writes an object. With `write: async` it returns once one site has it durably, and the next sync or run\n' +
        'carries it on; with `write: sync` once enough sites have it.',
    )
    .argument('<dataset>')
    .argument('<key>')
    .argument('[file]', 'the file to read; - is stdin', '-')
    .option('--content-type <type>', 'such as image/png')
    .option('--cache-control <text>')
    .option('--content-encoding <text>')
    .option('--content-disposition <text>')
    .option('--content-language <text>')
    .option('--meta <name=value>', 'an entry of user metadata; may be repeated', collectPair)
    .option('--tag <name=value>', 'a tag; may be repeated', collectPair)
    .addHelpText(
      'after',
      '\nExamples:\n  isobar put photos 2026/cat.png cat.png --content-type image/png\n  date | isobar put photos now.txt',
    )
    .action(
      act(async (context, name: string, key: string, file: string, options: PutOptions) => {
        const { output, signal, host } = context;
        checkedKey(key);
        const dataset = await datasetNamed(context, name);
        const body = file === '-' ? await bodyOfStream(host.stdin, signal) : await bodyOfFile(file);
        try {
          const result = await dataset.put(key, body, metadataOf(options), signal);
          const durable = result.sites.filter(({ outcome }) => outcome === 'durable').map(({ site }) => site);
          output.say(`${printable(key)} is durable at ${durable.join(', ')} (${bytesText(result.size)})`);
          await output.json('put', result);
        } finally {
          await body.close();
        }
      }),
    );
}

function metadataOf({ meta, tag, ...given }: PutOptions): ObjectMetadata {
  const user = Object.entries(meta ?? {}).map(([name, value]) => [name.toLowerCase(), value] as const);
  return {
    ...(given.contentType === undefined ? {} : { contentType: given.contentType }),
    ...(given.cacheControl === undefined ? {} : { cacheControl: given.cacheControl }),
    ...(given.contentEncoding === undefined ? {} : { contentEncoding: given.contentEncoding }),
    ...(given.contentDisposition === undefined ? {} : { contentDisposition: given.contentDisposition }),
    ...(given.contentLanguage === undefined ? {} : { contentLanguage: given.contentLanguage }),
    user: Object.fromEntries(user),
    tags: tag ?? {},
  };
}
