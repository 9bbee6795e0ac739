import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { encodeEntry, entryName } from '../model/entry.ts';
import { keyHash } from '../model/key.ts';
import { noMetadata } from '../model/metadata.ts';
import { stampOf } from '../model/stamp.ts';
import { Trial, type TrialOptions } from '../testing/trial.ts';
import { cli, fakeIsobar, type Ran } from './kit.test.ts';
import { LiveDataset } from './live-dataset.ts';
import { Tally } from './tally.ts';

// The commands over the real engine, on memory stores.

const folder = mkdtempSync(join(tmpdir(), 'isobar-live-'));
after(() => rmSync(folder, { recursive: true }));
const file = join(folder, 'isobar.yaml');
const names = ['aws', 'gcp', 'azure'];
writeFileSync(
  file,
  [
    'sites:',
    ...names.map((name) => `  ${name}: { kind: filesystem, path: ${name} }`),
    `datasets: { photos: { sites: [${names.join(', ')}] } }`,
    '',
  ].join('\n'),
);

function opened(t: TestContext, options: TrialOptions = {}): Trial {
  const trial = new Trial(options);
  t.after(() => trial.close());
  return trial;
}

function run(trial: Trial, ...argv: string[]): Promise<Ran> {
  const dataset = async () => new LiveDataset(trial.dataset, 'photos', new Tally());
  return cli(['--config', file, ...argv], { isobar: { ...fakeIsobar(), dataset } });
}

const odd = "a\nb\\n it's";
const printed = "gcp/a\\nb\\\\n it's";

/** `odd`, and the key that its printed form would be if it were taken as it is, are parked at gcp. */
async function withOddParked(t: TestContext): Promise<Trial> {
  const trial = opened(t, { limits: { gcp: { maxMetadataBytes: 400 } } });
  const wide = { ...noMetadata, user: { note: 'x'.repeat(500) } };
  for (const key of [odd, printed.slice(4)]) await trial.nativePut('aws', key, 'body', wide);
  await trial.sync();
  assert.equal((await trial.parked()).length, 2);
  return trial;
}

async function parkedKeys(trial: Trial): Promise<(string | undefined)[]> {
  return (await trial.parked()).map(({ key }) => key);
}

test('parked ls prints each change on one line, with an id that drop and retry take', async (t) => {
  const trial = await withOddParked(t);
  const { stdout } = await run(trial, 'parked', 'ls', 'photos');
  const lines = stdout.trimEnd().split('\n');
  assert.equal(lines.length, 2);
  const { json } = await run(trial, 'parked', 'ls', 'photos', '--json');
  const ids = json.map(({ id }) => id);
  assert.deepEqual(json.map(({ key }) => key).sort(), [odd, printed.slice(4)].sort());
  assert.ok(ids.includes(printed));
  assert.ok(lines.some((line) => line.startsWith(`photos  ${printed}  invalid: `)));

  const retried = await run(trial, 'parked', 'retry', 'photos', printed, '--json');
  assert.deepEqual([retried.code, retried.json[0]?.done], [0, [printed]]);
  const dropped = await run(trial, 'parked', 'drop', 'photos', printed, '--yes');
  assert.equal(dropped.code, 0);
  await trial.dataset.quiet();
  assert.deepEqual(await parkedKeys(trial), [printed.slice(4)]);
  const again = await run(trial, 'parked', 'drop', 'photos', printed, '--yes');
  assert.equal(again.code, 1);
  assert.ok(again.stderr.includes(`nothing is parked as ${printed};`));
});

test('parked retry --all: what one of them settles for another is done', async (t) => {
  const trial = opened(t);
  const stamp = stampOf(trial.world.nowMs() + 24 * 3_600_000);
  const version = { stamp, dot: { site: 'gcp', count: 1 }, past: {}, operation: 'other', deleted: false };
  const entry = encodeEntry({ version, size: 4, keyHash: keyHash('k') });
  await trial.nativePut('gcp', 'k', 'body', { ...noMetadata, user: { [entryName]: entry } });
  await trial.sync();
  assert.equal((await trial.parked()).length, 2);
  const { code, json } = await run(trial, 'parked', 'retry', 'photos', '--all', '--json');
  assert.equal(code, 0);
  assert.deepEqual((json[0]!.done as string[]).sort(), ['aws/k', 'azure/k']);
  assert.deepEqual(await trial.parked(), []);
});

test('explain shows how to retry a parked key, quoted for a shell, and stays on its lines', async (t) => {
  const trial = await withOddParked(t);
  const { code, stdout } = await run(trial, 'explain', 'photos', odd);
  assert.equal(code, 0);
  const quoted = printed.replace("'", "'\\''");
  assert.ok(stdout.includes(`\`isobar parked retry photos '${quoted}'\` tries it again`), stdout);
  const starts = /^(\S| {2}(newest|aws|gcp|azure): | {4}\S)/;
  for (const line of stdout.trimEnd().split('\n')) assert.match(line, starts);
});

test('explain of a key that nobody knows ends with 1, and says which site could not be asked', async (t) => {
  const trial = opened(t);
  await trial.put('known', 'x');
  await trial.sync();
  const well = await run(trial, 'explain', 'photos', 'none');
  assert.deepEqual([well.code, well.stdout], [1, '']);
  assert.match(well.stderr, /there is no none in photos/);
  trial.at('gcp').break('denied');
  const sick = await run(trial, 'explain', 'photos', 'none', '--json');
  assert.deepEqual([sick.code, sick.stdout], [1, '']);
  assert.match(sick.stderr, /no site that answered knows none in photos, and gcp could not be asked \(gcp: /);
  assert.doesNotMatch(sick.stderr, /aws/);
  const known = await run(trial, 'explain', 'photos', 'known');
  assert.equal(known.code, 0);
  assert.match(known.stdout, /gcp: unreachable/);
});
