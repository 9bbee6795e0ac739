import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { Trial } from '../../testing/trial.ts';
import { cli, fakeIsobar, type Ran } from '../kit.test.ts';
import { LiveDataset } from '../live-dataset.ts';
import { Tally } from '../tally.ts';

// The commands over the real engine, on memory stores.

const folder = mkdtempSync(join(tmpdir(), 'isobar-conflicts-'));
after(() => rmSync(folder, { recursive: true }));
const file = join(folder, 'isobar.yaml');
const names = ['aws', 'gcp', 'azure'];
const sites = names.map((name) => `  ${name}: { kind: filesystem, path: ${name} }`);
writeFileSync(
  file,
  ['sites:', ...sites, `datasets: { photos: { sites: [${names.join(', ')}] } }`, ''].join('\n'),
);

async function decided(t: TestContext, ...keys: readonly string[]): Promise<Trial> {
  const trial = new Trial();
  t.after(() => trial.close());
  for (const key of keys) {
    await trial.nativePut('aws', key, 'first');
    await trial.nativePut('gcp', key, 'second');
  }
  await trial.syncAll();
  return trial;
}

function run(trial: Trial, ...argv: string[]): Promise<Ran> {
  const dataset = async () => new LiveDataset(trial.dataset, 'photos', new Tally());
  return cli(['--config', file, 'conflicts', ...argv], { isobar: { ...fakeIsobar(), dataset } });
}

async function ids(trial: Trial): Promise<string[]> {
  return (await run(trial, 'ls', 'photos', '--json')).json.map(({ id }) => id as string);
}

test('ls: one line per loser, of one key or all', async (t) => {
  const trial = await decided(t, 'a\nb', 'c');
  const { stdout, code } = await run(trial, 'ls');
  assert.equal(code, 0);
  assert.match(stdout, /^photos {2}[0-9a-f]{12} {2}a\\nb {2}\(5 B, written .*, kept at aws\)$/m);
  assert.equal(stdout.trimEnd().split('\n').length, 2);
  assert.equal((await run(trial, 'ls', 'photos', '--key', 'c', '--json')).json.length, 1);
  assert.equal((await run(trial, 'ls', 'photos', '--key', 'd')).stderr, 'nothing is kept\n');
});

test('show: both sides, and their bodies on stdout or in a file', async (t) => {
  const trial = await decided(t, 'k');
  const [id] = await ids(trial);
  const { stdout } = await run(trial, 'show', 'photos', 'k');
  assert.match(stdout, /now: 6 B, written .* at gcp \(its 1\.\), read from aws/);
  assert.ok(
    stdout.includes(`lost: 5 B`) && stdout.includes(`id ${id}`) && stdout.includes('.isobar/losers/'),
  );
  const { json } = await run(trial, 'show', 'photos', 'k', '--json');
  const [{ losers, winner } = {}] = json as [{ losers: { id: string }[]; winner: { size: number } }];
  assert.deepEqual([losers?.map((one) => one.id), winner?.size], [[id], 6]);
  assert.equal((await run(trial, 'show', 'photos', 'k', '--body', 'winner')).stdout, 'second');
  assert.equal((await run(trial, 'show', 'photos', 'k', '--body', 'loser')).stdout, 'first');
  const out = join(folder, 'out');
  const written = await run(trial, 'show', 'photos', 'k', '--body', id!, '-o', out, '--json');
  assert.deepEqual([readFileSync(out, 'utf8'), written.json[0]?.type], ['first', 'get']);
});

test('show: what there is none of ends with 1, what cannot be with 2', async (t) => {
  const trial = await decided(t, 'k');
  const codes = async (...argv: string[]) => (await run(trial, 'show', 'photos', ...argv)).code;
  assert.equal(await codes('absent'), 1);
  assert.equal(await codes('k', '--body', '000000000000'), 1);
  assert.equal(await codes('k', '--body', 'loser', '--json'), 2);
  assert.equal(await codes('k', '-o', 'x'), 2);
  assert.equal(await codes('.isobar/x'), 2);
  await trial.nativePut('aws', 'k', 'third');
  await trial.nativePut('gcp', 'k', 'fourth');
  await trial.syncAll();
  const which = await run(trial, 'show', 'photos', 'k', '--body', 'loser');
  assert.equal(which.code, 2);
  for (const id of await ids(trial)) assert.ok(which.stderr.includes(id));
});

test('pick: the loser is current again, and the other is kept', async (t) => {
  const trial = await decided(t, 'k');
  const [id] = await ids(trial);
  const picked = await run(trial, 'pick', 'photos', id!);
  assert.deepEqual([picked.code, picked.stderr], [0, 'k: 5 B written at aws\n']);
  await trial.syncAll();
  for (const name of names) assert.equal(await trial.nativeRead(name, 'k'), 'first');
  assert.match((await run(trial, 'ls')).stdout, /6 B.*: another was picked$/m);
  const again = await run(trial, 'pick', 'photos', id!);
  assert.equal(again.code, 1);
  assert.match(again.stderr, /nothing is kept as/);
});

test('release: by id or all, once asked; what is unknown is said', async (t) => {
  const trial = await decided(t, 'a', 'b', 'c');
  const [id] = await ids(trial);
  assert.equal((await run(trial, 'release', 'photos', id!)).code, 2, 'without a terminal it asks for --yes');
  assert.equal((await run(trial, 'release', 'photos')).code, 2);
  assert.equal((await run(trial, 'release', 'photos', id!, '--all', '--yes')).code, 2);
  assert.equal((await run(trial, 'release', 'photos', id!, '--yes')).code, 0);
  const again = await run(trial, 'release', 'photos', id!, '--yes');
  assert.deepEqual([again.code, (await ids(trial)).length], [1, 2]);
  // The clock of the command line stands at 0 here: nothing is older.
  assert.equal((await run(trial, 'release', 'photos', '--all', '--older-than', '1d', '--yes')).code, 0);
  assert.equal((await ids(trial)).length, 2);
  assert.equal((await run(trial, 'release', 'photos', '--all', '--yes')).code, 0);
  assert.deepEqual(await ids(trial), []);
  for (const name of names) assert.deepEqual(await trial.contents(name, '.isobar/losers/'), {});
});

test('release: a site that refuses is named, and ends with 1', async (t) => {
  const trial = await decided(t, 'k');
  const [id] = await ids(trial);
  const lift = trial.at('aws').inject({ verbs: ['remove'], effect: { kind: 'fail', code: 'denied' } });
  const refused = await run(trial, 'release', 'photos', id!, '--yes');
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /is still kept at aws/);
  lift();
  assert.equal((await run(trial, 'release', 'photos', id!, '--yes')).code, 0);
});
