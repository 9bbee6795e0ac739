import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Trial } from '../../testing/trial.ts';
import type * as api from '../api.ts';
import { cli, fakeIsobar, type Ran } from '../kit.test.ts';
import { LiveDataset } from '../live-dataset.ts';
import { Tally } from '../tally.ts';

const folder = mkdtempSync(join(tmpdir(), 'isobar-undo-'));
after(() => rmSync(folder, { recursive: true }));
const file = join(folder, 'isobar.yaml');
writeFileSync(
  file,
  'sites: { a: { kind: filesystem, path: a }, b: { kind: filesystem, path: b } }\ndatasets: { d: { sites: [a, b] } }\n',
);

const run = (changes: Partial<api.Dataset>, ...argv: string[]): Promise<Ran> =>
  cli(['--config', file, 'undo', 'd', ...argv], { isobar: fakeIsobar(changes) });

test('a time with its zone, or how long ago; anything else is refused', async () => {
  const asked: number[] = [];
  const undo: api.Dataset['undo'] = async ({ sinceMs, dryRun }) => {
    asked.push(sinceMs);
    return { dataset: 'd', dryRun, sinceMs, restoredKeys: 0, restoredBytes: 0, failedKeys: 0, lostKeys: 0 };
  };
  for (const time of ['2h', '90m', '3d', '2026-11-21T09:00Z', '2026-11-21T10:00:30.5+01:00'])
    assert.equal((await run({ undo }, '--since', time, '--yes')).code, 0, time);
  // The clock of the tests stands at 0.
  const nine = Date.UTC(2026, 10, 21, 9);
  assert.deepEqual(asked, [-7_200_000, -5_400_000, -259_200_000, nine, nine + 30_500]);
  for (const time of ['yesterday', '2h30m', '2026-11-21T09:00', '2026-11-21', '2026-13-41T09:00Z', '']) {
    const ran = await run({ undo }, '--since', time, '--yes');
    assert.equal(ran.code, 2, time);
    assert.match(ran.stderr, /a time with its zone/);
  }
  assert.equal((await run({ undo }, '--yes')).code, 2, '--since is needed');
  assert.equal(asked.length, 5);
});

test('every key is told, what cannot come back is named, and the exit code says it', async () => {
  const dry = await run({}, '--since', '2h', '--dry-run');
  assert.equal(dry.code, 3);
  assert.match(
    dry.stdout,
    /^restore {3}k {2}\(from b, kept, 5 B\)\nlost {6}l {2}\(nobody holds what stood there\)\n$/,
  );
  assert.match(dry.stderr, /d: to bring back 1 key \(5 B\) as of /);
  assert.match(dry.stderr, /1 key cannot be brought back from here/);
  const done = await run({}, '--since', '2h', '--yes');
  assert.equal(done.code, 1);
  assert.match(done.stdout, /failed {4}f {2}\(from b, kept, 5 B\): away/);
  const undo: api.Dataset['undo'] = async ({ sinceMs, dryRun }) => ({
    ...{ dataset: 'd', dryRun, sinceMs, restoredKeys: 1, restoredBytes: 5, failedKeys: 0, lostKeys: 1 },
  });
  assert.equal((await run({ undo }, '--since', '2h', '--yes')).code, 4);
});

test('without a terminal it wants --yes, and has written nothing by then', async () => {
  const dryRuns: boolean[] = [];
  const undo: api.Dataset['undo'] = async ({ sinceMs, dryRun }) => {
    dryRuns.push(dryRun);
    return { dataset: 'd', dryRun, sinceMs, restoredKeys: 1, restoredBytes: 5, failedKeys: 0, lostKeys: 0 };
  };
  const ran = await run({ undo }, '--since', '2h');
  assert.equal(ran.code, 2);
  assert.match(ran.stderr, /add --yes/);
  assert.ok(dryRuns.every(Boolean));
});

test('over the real engine: held, listed, brought back, released', async (t) => {
  const damage = [{ match: '**', windowMs: 60_000, overwrites: { keys: 2, share: 0, sigma: 0 } }];
  const trial = new Trial({ policy: { guards: { maxDeletes: { keys: 9, share: 1 }, damage } } });
  t.after(() => trial.close());
  const live = (...argv: string[]): Promise<Ran> => {
    const dataset = async () => new LiveDataset(trial.dataset, 'd', new Tally());
    return cli(['--config', file, ...argv], { isobar: { ...fakeIsobar(), dataset } });
  };
  for (const key of ['k1', 'k2', 'k3', 'k4']) await trial.nativePut('aws', key, 'old');
  await trial.sync();
  await trial.world.sleep(61_000, trial.signal);
  const since = new Date(trial.world.nowMs()).toISOString();
  for (const key of ['k1', 'k2', 'k3', 'k4']) await trial.nativePut('aws', key, 'bad');
  const plan = await live('sync', 'd');
  assert.equal(plan.code, 4);
  assert.match(plan.stderr, /4 changes parked; see `isobar parked ls d`/);
  const listed = await live('parked', 'ls', 'd');
  const id = /(\/\/damage\/\S+) {2}damage: 3 of 4 keys were overwritten within 1 minute/.exec(
    listed.stdout,
  )?.[1];
  assert.ok(id, listed.stdout);
  assert.match((await live('status', 'd')).stdout, /gcp: .*is held back: 3 of 4 keys were overwritten/);
  assert.match((await live('sync', 'd', '--dry-run')).stdout, /copy {4}gcp {2}k[1-4] .*\[held: 3 of 4 keys/);
  const undone = await live('undo', 'd', '--since', since, '--yes');
  assert.match(undone.stdout, /restored {2}k1 {2}\(from (gcp|azure), 3 B\)/);
  assert.equal((await live('parked', 'retry', 'd', id)).code, 0);
  assert.equal((await live('sync', 'd')).code, 0);
  for (const site of trial.names)
    assert.deepEqual(await trial.contents(site), { k1: 'old', k2: 'old', k3: 'old', k4: 'old' });
});
