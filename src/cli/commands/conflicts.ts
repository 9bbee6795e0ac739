import { type Command, InvalidArgumentError } from 'commander';
import { redact } from '../../config/secret.ts';
import type { Dataset, ObjectInfo } from '../api.ts';
import type { KeptWrite, ReleaseReport } from '../api-conflicts.ts';
import { checkedKey, datasetNamed, datasetNames } from '../arguments.ts';
import type { Context } from '../context.ts';
import { CliFailure, exitCodes, UsageFailure } from '../failure.ts';
import type { Act } from '../program.ts';
import { bytesText, countText, printable, timeText } from '../text.ts';
import { absent, deliver, demandPlace } from './get.ts';
import { confirm } from './parked.ts';

export function conflicts(program: Command, act: Act): void {
  const group = program
    .command('conflicts')
    .summary('writes that lost against others: ls, show, pick, release')
    .description(
      'Writes that lost against others made at the same time. Each is kept, with its body, until you release it.',
    );
  addLs(group, act);
  addShow(group, act);
  addPick(group, act);
  addRelease(group, act);
}

function addLs(group: Command, act: Act): void {
  group
    .command('ls')
    .description('Lists what is kept, with its id.')
    .argument('[dataset...]', 'all, when left out')
    .option('--key <key>', 'of this key alone')
    .action(
      act(async (context, given: readonly string[], { key }: { readonly key?: string }) => {
        if (key !== undefined) checkedKey(key);
        const { output, signal } = context;
        let count = 0;
        for (const name of await datasetNames(context, given)) {
          const dataset = await datasetNamed(context, name);
          for await (const kept of dataset.kept.list(key, AbortSignal.any([signal, output.gone]))) {
            count += 1;
            await output.line(lineOf(kept));
            await output.json('kept', kept);
          }
        }
        if (count === 0) output.say('nothing is kept');
      }),
    );
}

function lineOf({ dataset, id, key, size, atMs, sites, because }: KeptWrite): string {
  const why = because === undefined ? '' : `: ${printable(redact(because))}`;
  return `${dataset}  ${id}  ${printable(key)}  (${bytesText(size)}, written ${timeText(atMs)}, kept at ${sites.join(', ')})${why}`;
}

interface ShowFlags {
  readonly body?: string;
  readonly output?: string;
}

function addShow(group: Command, act: Act): void {
  group
    .command('show')
    .description(
      'Shows the current version of a key and all that lost against it, or the body of one of them.',
    )
    .argument('<dataset>')
    .argument('<key>')
    .option('--body <which>', 'write a body to stdout: `winner`, `loser` (where there is one) or an id')
    .option('-o, --output <file>', 'write it to a file, which appears only when it is complete')
    .addHelpText(
      'after',
      '\nExamples:\n  isobar conflicts show photos cat.png\n  isobar conflicts show photos cat.png --body loser -o lost.png',
    )
    .action(
      act(async (context, name: string, key: string, flags: ShowFlags) => {
        checkedKey(key);
        if (flags.body !== undefined) demandPlace(flags.output, context);
        else if (flags.output !== undefined)
          throw new UsageFailure('--output needs --body', 'add --body loser');
        const dataset = await datasetNamed(context, name);
        const losers = await collected(dataset, key, context.signal);
        if (flags.body === undefined) await showAll(dataset, key, losers, context, name);
        else await showBody(dataset, key, losers, { ...flags, body: flags.body }, context, name);
      }),
    );
}

async function collected(
  dataset: Dataset,
  key: string | undefined,
  signal: AbortSignal,
): Promise<readonly KeptWrite[]> {
  const all: KeptWrite[] = [];
  for await (const kept of dataset.kept.list(key, signal)) all.push(kept);
  return all;
}

async function showAll(
  dataset: Dataset,
  key: string,
  losers: readonly KeptWrite[],
  { output, signal }: Context,
  name: string,
): Promise<void> {
  const winner = await dataset.stat(key, {}, signal);
  if (winner === undefined && losers.length === 0) throw absent(key, name, undefined);
  const shown: { kept: KeptWrite; info: ObjectInfo }[] = [];
  for (const kept of losers) {
    const opened = await dataset.kept.open(kept.id, signal);
    await opened?.body[Symbol.asyncIterator]().return?.();
    if (opened) shown.push({ kept, info: opened.info });
  }
  await output.line(`${printable(key)} in ${name}`);
  await output.line(
    winner === undefined ? '  now: deleted' : `  now: ${infoText(winner)}, read from ${winner.site}`,
  );
  for (const { kept, info } of shown) {
    await output.line(`  lost: ${infoText(info)}, id ${kept.id}`);
    await output.line(`    kept at ${kept.sites.join(', ')} as ${printable(kept.keptAs)}`);
    if (kept.because !== undefined) await output.line(`    because ${printable(redact(kept.because))}`);
  }
  const both = shown.map(({ kept, info }) => ({ ...kept, version: info.version, metadata: info.metadata }));
  await output.json('conflict', {
    dataset: name,
    key,
    ...(winner === undefined ? {} : { winner: brief(winner) }),
    losers: both,
  });
}

function brief({ site, size, sha256, version, metadata }: ObjectInfo): object {
  return { site, size, ...(sha256 === undefined ? {} : { sha256 }), version, metadata };
}

function infoText({ size, version, metadata }: ObjectInfo): string {
  const { user, tags, contentType } = metadata;
  const written =
    version === undefined
      ? 'not known to Isobar yet'
      : `written ${timeText(version.atMs)} at ${version.site} (its ${version.count}.)`;
  const type = contentType === undefined ? '' : `, ${printable(contentType)}`;
  const entries = [...Object.entries(user), ...Object.entries(tags)];
  const more = entries.map(([name, value]) => `, ${printable(name)}=${printable(value)}`).join('');
  return `${bytesText(size)}, ${written}${type}${more}`;
}

async function showBody(
  dataset: Dataset,
  key: string,
  losers: readonly KeptWrite[],
  { body, output }: ShowFlags & { readonly body: string },
  context: Context,
  name: string,
): Promise<void> {
  const signal = AbortSignal.any([context.signal, context.output.gone]);
  if (body === 'winner') {
    const found = await dataset.get(key, {}, signal);
    if (found === undefined) throw absent(key, name, undefined);
    return deliver(found, output, context);
  }
  const ids = losers.map(({ id }) => id);
  const wanted = body === 'loser' && ids.length === 1 ? ids[0]! : body;
  if (wanted === 'loser' && ids.length > 1)
    throw new UsageFailure(`${printable(key)} has ${ids.length} losers`, `say which: ${ids.join(', ')}`);
  const found = ids.includes(wanted) ? await dataset.kept.open(wanted, signal) : undefined;
  if (found === undefined) {
    const hint =
      ids.length > 0 ? `its losers are ${ids.join(', ')}` : `\`isobar conflicts ls ${name}\` lists all`;
    throw new CliFailure(`nothing that lost is kept of ${printable(key)} as ${wanted}`, { hint });
  }
  return deliver(found, output, context);
}

function addPick(group: Command, act: Act): void {
  group
    .command('pick')
    .description(
      'Makes a loser the current version again, as a new write on top of everything. What it replaces is kept.',
    )
    .argument('<dataset>')
    .argument('<id>', 'as `conflicts ls` prints it')
    .action(
      act(async (context, name: string, id: string) => {
        const { output, signal } = context;
        const result = await (await datasetNamed(context, name)).kept.pick(id, signal);
        if (result === undefined) throw unknown(id, name);
        output.say(
          `${printable(result.key)}: ${bytesText(result.size)} written at ${sitesText(result.sites)}`,
        );
        await output.json('put', result);
      }),
    );
}

function sitesText(sites: readonly { readonly site: string; readonly outcome: string }[]): string {
  return sites
    .filter(({ outcome }) => outcome === 'durable')
    .map(({ site }) => site)
    .join(', ');
}

function unknown(id: string, dataset: string): CliFailure {
  return new CliFailure(`nothing is kept as ${printable(id)}`, {
    hint: `\`isobar conflicts ls ${dataset}\` prints the ids`,
  });
}

interface ReleaseFlags {
  readonly all?: true;
  readonly olderThan?: number;
  readonly yes?: true;
}

function addRelease(group: Command, act: Act): void {
  group
    .command('release')
    .description('Removes losers for good, from every site that keeps them.')
    .argument('<dataset>')
    .argument('[id...]', 'as `conflicts ls` prints them')
    .option('--all', 'everything that is kept in the dataset')
    .option('--older-than <age>', 'with --all: what has been kept for longer (12h, 30d)', age)
    .option('-y, --yes', 'do not ask')
    .action(
      act(async (context, name: string, given: readonly string[], flags: ReleaseFlags) => {
        const { signal } = context;
        if (
          (given.length === 0) === (flags.all !== true) ||
          (given.length > 0 && flags.olderThan !== undefined)
        )
          throw new UsageFailure('give either ids or --all', '`isobar conflicts ls` prints the ids');
        const dataset = await datasetNamed(context, name);
        const ids = given.length > 0 ? given : await oldEnough(dataset, flags.olderThan, context);
        if (ids.length > 0 && flags.yes !== true)
          await confirm(context, `Remove ${countText(ids.length, 'loser')} for good?`);
        return answer(await dataset.kept.release(ids, signal), context);
      }),
    );
}

async function oldEnough(
  dataset: Dataset,
  olderThanMs: number | undefined,
  { host, signal }: Context,
): Promise<readonly string[]> {
  const latestMs = olderThanMs === undefined ? Number.POSITIVE_INFINITY : host.nowMs() - olderThanMs;
  const all = await collected(dataset, undefined, signal);
  return all.filter(({ sinceMs }) => sinceMs < latestMs).map(({ id }) => id);
}

function age(text: string): number {
  const match = /^(\d+)(m|h|d)$/.exec(text);
  if (!match) throw new InvalidArgumentError('It must be how long ago: 90m, 12h or 30d.');
  return Number(match[1]) * { m: 60_000, h: 3_600_000, d: 86_400_000 }[match[2] as 'm' | 'h' | 'd'];
}

async function answer(report: ReleaseReport, { output }: Context): Promise<number> {
  const { released, unknown: strange, left } = report;
  output.say(`${countText(released.length, 'loser')} released`);
  for (const id of strange)
    output.warn(`nothing is kept as ${printable(id)}; \`isobar conflicts ls\` prints the ids`);
  for (const { id, site, error } of left)
    output.warn(
      `${id} is still kept at ${site} (${printable(redact(error))}); release it again when that is mended`,
    );
  await output.json('released', report);
  return strange.length + left.length > 0 ? exitCodes.failed : exitCodes.done;
}
