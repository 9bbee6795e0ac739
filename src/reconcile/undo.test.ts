import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { noMetadata } from '../model/metadata.ts';
import type { Guards } from '../model/policy.ts';
import { damageId } from '../replicate/damage-guard.ts';
import { fastWorld, Trial } from '../testing/trial.ts';
import type { UndoStep } from './undo.ts';

const minute = 60_000;
const rule = { match: '**', windowMs: 10 * minute, overwrites: { keys: 5, share: 0, sigma: 0 } };
const maxDeletes = { keys: 1000, share: 1 };
const keys = (count: number) => Array.from({ length: count }, (_, i) => `d/k${String(i).padStart(3, '0')}`);
const note = { ...noMetadata, contentType: 'text/x-note', user: { owner: 'ann' } };

interface Opened {
  readonly trial: Trial;
  readonly pass: (ms: number) => void;
  readonly nowMs: () => number;
}

async function filled(t: TestContext, guards: Partial<Guards>, count = 20): Promise<Opened> {
  let aheadMs = 0;
  const fast = fastWorld(20);
  const world = { ...fast, nowMs: () => fast.nowMs() + aheadMs };
  const trial = new Trial({ world, policy: { guards: { maxDeletes, ...guards } } });
  t.after(() => trial.close());
  for (const key of keys(count)) await trial.nativePut('aws', key, `old ${key}`, note);
  await trial.sync();
  const pass = (ms: number) => {
    aheadMs += ms;
  };
  pass(60 * minute);
  return { trial, pass, nowMs: world.nowMs };
}

async function undone(trial: Trial, sinceMs: number, options: { prefix?: string; dryRun?: boolean } = {}) {
  const steps: UndoStep[] = [];
  const all = { dryRun: false, ...options, sinceMs };
  await trial.dataset.undo(all, (step) => void steps.push(step), trial.signal);
  return steps;
}

const outcomes = (steps: readonly UndoStep[]) =>
  Object.fromEntries(
    ['restore', 'restored', 'failed', 'lost'].map((what) => [
      what,
      steps.filter(({ outcome }) => outcome === what).length,
    ]),
  );

test('what a hold kept from the other sites comes back everywhere, before anybody releases it', async (t) => {
  const { trial, nowMs } = await filled(t, { damage: [rule] });
  const sinceMs = nowMs();
  for (const key of keys(20)) await trial.nativePut('aws', key, 'encrypted');
  await trial.nativePut('aws', 'ransom', 'pay');
  await trial.sync();
  const before = await trial.contents('aws');
  const dry = await undone(trial, sinceMs, { dryRun: true });
  const held = outcomes(dry).restore!;
  assert.ok(held >= 15, `${held}`);
  assert.equal(held + outcomes(dry).lost!, 20);
  assert.deepEqual(await trial.contents('aws'), before, 'a dry run writes nothing');
  assert.equal(outcomes(await undone(trial, sinceMs)).restored, held);
  await trial.sync();
  const back = await trial.contents('aws');
  assert.equal(Object.values(back).filter((text) => text.startsWith('old ')).length, held);
  assert.equal(back.ransom, 'pay', 'creations are left');
  await trial.dataset.retryParked(damageId(rule));
  await trial.sync();
  assert.deepEqual(await trial.contents('gcp'), back);
  assert.deepEqual(await trial.contents('azure'), back);
  const head = await trial.at('gcp').store.head(keys(20)[19]!, trial.signal);
  assert.deepEqual([head?.metadata.contentType, head?.metadata.user.owner], ['text/x-note', 'ann']);
});

test('nothing held and nothing kept: what cannot come back is named', async (t) => {
  const { trial, nowMs } = await filled(t, {});
  const sinceMs = nowMs();
  for (const key of keys(3)) await trial.nativePut('aws', key, 'changed');
  await trial.nativeRemove('aws', keys(4)[3]!);
  await trial.sync();
  assert.deepEqual(outcomes(await undone(trial, sinceMs)), { restore: 0, restored: 0, failed: 0, lost: 4 });
});

test('with guards.keep everything comes back, deletions too; twice is once', async (t) => {
  const { trial, nowMs, pass } = await filled(t, { keep: { forMs: 60 * minute, bytes: 2 ** 30 } });
  const sinceMs = nowMs();
  pass(minute);
  for (const key of keys(10)) await trial.nativePut('gcp', key, 'changed');
  for (const key of keys(15).slice(10)) await trial.nativeRemove('gcp', key);
  await trial.dataset.remove(keys(16)[15]!, trial.signal);
  await trial.nativePut('aws', 'new', 'x');
  await trial.sync();
  assert.equal(await trial.nativeRead('aws', keys(1)[0]!), 'changed');
  assert.deepEqual(outcomes(await undone(trial, sinceMs, { prefix: 'd/k00' })), {
    restore: 0,
    restored: 10,
    failed: 0,
    lost: 0,
  });
  assert.equal(outcomes(await undone(trial, sinceMs)).restored, 16, 'the others; the first ten once more');
  await trial.sync();
  for (const site of trial.names) {
    const { new: created, ...old } = await trial.contents(site);
    assert.deepEqual(old, Object.fromEntries(keys(20).map((key) => [key, `old ${key}`])), site);
    assert.equal(created, 'x');
  }
  assert.deepEqual(await trial.parked(), []);
});

test('only what was changed since: an earlier change and an earlier deletion stay', async (t) => {
  const { trial, nowMs, pass } = await filled(t, { keep: { forMs: 600 * minute, bytes: 2 ** 30 } });
  await trial.nativePut('aws', keys(1)[0]!, 'meant');
  await trial.nativeRemove('aws', keys(2)[1]!);
  await trial.sync();
  pass(60 * minute);
  const sinceMs = nowMs();
  await trial.nativePut('aws', keys(3)[2]!, 'a mistake');
  await trial.sync();
  const steps = await undone(trial, sinceMs);
  assert.deepEqual(
    steps.map(({ key }) => key),
    [keys(3)[2]],
  );
  await trial.sync();
  const now = await trial.contents('azure');
  assert.deepEqual(
    keys(3).map((key) => now[key]),
    ['meant', undefined, `old ${keys(3)[2]}`],
  );
});

test('of several changes since, the state before the first comes back', async (t) => {
  const { trial, nowMs } = await filled(t, { keep: { forMs: 600 * minute, bytes: 2 ** 30 } }, 1);
  const sinceMs = nowMs();
  for (const text of ['first', 'second', 'third']) {
    await trial.nativePut('aws', keys(1)[0]!, text);
    await trial.sync();
  }
  await undone(trial, sinceMs);
  await trial.sync();
  assert.equal(await trial.nativeRead('gcp', keys(1)[0]!), `old ${keys(1)[0]}`);
});

test('what is kept goes when its time is over, and the oldest when there is too much', async (t) => {
  const { trial, pass } = await filled(t, { keep: { forMs: 60 * minute, bytes: 60 } });
  const kept = async () => Object.keys(await trial.contents('gcp', '.isobar/losers/')).length;
  for (const key of keys(10)) {
    await trial.nativePut('aws', key, 'changed');
    await trial.sync();
  }
  const rows = (await trial.losers()).filter(({ site }) => site === 'gcp');
  assert.deepEqual(
    rows.map(({ key }) => key),
    keys(10).slice(4),
    '60 bytes are six bodies of ten',
  );
  assert.equal(await kept(), 12, 'each with its note');
  pass(61 * minute);
  await trial.sync();
  assert.deepEqual(await trial.losers(), []);
  assert.equal(await kept(), 0);
});

test('a body that is no longer there fails alone, and the source is never written', async (t) => {
  const { trial, nowMs } = await filled(t, { keep: { forMs: 60 * minute, bytes: 2 ** 30 } }, 2);
  const sinceMs = nowMs();
  for (const key of keys(2)) await trial.nativePut('aws', key, 'changed');
  await trial.sync();
  for (const { site, keptAs, key } of await trial.losers())
    if (key === keys(1)[0]) await trial.nativeRemove(site, keptAs);
  const steps = await undone(trial, sinceMs);
  assert.deepEqual(outcomes(steps), { restore: 0, restored: 1, failed: 1, lost: 0 });
  assert.match(steps.find(({ outcome }) => outcome === 'failed')!.error!, /no longer what it was/);
});

test('what a person takes back is no damage', async (t) => {
  const { trial, nowMs, pass } = await filled(t, {
    damage: [rule],
    keep: { forMs: 600 * minute, bytes: 2 ** 30 },
  });
  const sinceMs = nowMs();
  for (let window = 0; window < 4; window++) {
    for (const key of keys(20).slice(window * 4, window * 4 + 4))
      await trial.nativePut('aws', key, 'changed');
    await trial.sync();
    pass(10 * minute);
  }
  assert.deepEqual(await trial.parked(), []);
  assert.equal(outcomes(await undone(trial, sinceMs)).restored, 16);
  await trial.sync();
  assert.deepEqual(await trial.parked(), []);
  assert.equal(await trial.nativeRead('azure', keys(1)[0]!), `old ${keys(1)[0]}`);
});
