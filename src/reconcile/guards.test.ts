import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { DeleteLimit } from '../model/policy.ts';
import { guardId } from '../replicate/records.ts';
import { Trial } from '../testing/trial.ts';

const numbered = (count: number) => Array.from({ length: count }, (_, i) => `k${String(i).padStart(3, '0')}`);

async function filled(t: TestContext, count: number, maxDeletes: DeleteLimit): Promise<Trial> {
  const trial = new Trial({ policy: { guards: { maxDeletes } } });
  t.after(() => trial.close());
  for (const key of numbered(count)) await trial.nativePut('aws', key, key);
  await trial.sync();
  return trial;
}

async function left(trial: Trial, site = 'azure'): Promise<number> {
  return Object.keys(await trial.contents(site)).length;
}

test('exactly as many deletions as allowed pass; one more, and none does', async (t) => {
  const trial = await filled(t, 40, { keys: 3, share: 0 });
  for (const key of numbered(3)) await trial.nativeRemove('gcp', key);
  assert.equal((await trial.sync()).guarded, 0);
  assert.equal(await left(trial), 37);
  for (const key of numbered(7).slice(3)) await trial.nativeRemove('gcp', key);
  await trial.nativePut('gcp', 'new', 'x');
  const guarded = await trial.sync();
  assert.equal(guarded.guarded, 4);
  assert.equal(guarded.sites['gcp']?.guarded, 4);
  assert.equal(await left(trial), 38, 'none is deleted, and the creation went on');
  assert.equal(await trial.nativeRead('gcp', 'k003'), undefined, 'nor is the user contradicted');
  const [parked] = await trial.parked();
  assert.deepEqual([parked?.id, parked?.reason, parked?.keys], [guardId('gcp'), 'max-deletes', 4]);
  assert.equal((await trial.sync()).guarded, 4, 'as long as nobody agrees');
  assert.equal((await trial.sync({ yes: true })).guarded, 0);
  assert.equal(await left(trial), 34);
  assert.deepEqual(await trial.parked(), []);
});

test('the limit is the larger of a number and a share', async (t) => {
  const trial = await filled(t, 40, { keys: 1, share: 0.1 });
  for (const key of numbered(4)) await trial.nativeRemove('aws', key);
  assert.equal((await trial.sync()).guarded, 0);
  assert.equal(await left(trial), 36);
  for (const key of numbered(8).slice(4)) await trial.nativeRemove('aws', key);
  assert.equal((await trial.sync()).guarded, 4, '10% of 36 is 3');
  assert.equal(await left(trial), 36);
});

test('what a person released is deleted by the next pass, and nothing beyond it', async (t) => {
  const trial = await filled(t, 20, { keys: 1, share: 0 });
  for (const key of numbered(3)) await trial.nativeRemove('aws', key);
  await trial.sync();
  assert.equal(await trial.dataset.retryParked(guardId('aws')), true);
  await trial.nativeRemove('aws', 'k010');
  assert.equal((await trial.sync()).guarded, 4, 'more than the person saw');
  assert.equal(await left(trial), 20);
  assert.equal(await trial.dataset.retryParked(guardId('aws')), true);
  assert.equal((await trial.sync()).guarded, 0);
  assert.equal(await left(trial), 16);
  assert.equal(await trial.dataset.retryParked(guardId('aws')), false, 'nothing is parked any more');
});

test('a guard that stands is not passed by in small portions', async (t) => {
  const trial = await filled(t, 20, { keys: 2, share: 0 });
  for (const key of numbered(3)) await trial.nativeRemove('aws', key);
  assert.equal((await trial.sync()).guarded, 3);
  await trial.nativePut('aws', 'k000', 'back again');
  assert.equal((await trial.sync()).guarded, 2, 'nobody agreed to these');
  assert.equal(await left(trial), 20);
  await trial.nativePut('aws', 'k001', 'back');
  await trial.nativePut('aws', 'k002', 'back');
  assert.equal((await trial.sync()).guarded, 0);
  assert.deepEqual(await trial.parked(), [], 'nothing is missing: nothing is parked');
  await trial.nativeRemove('aws', 'k005');
  await trial.sync();
  assert.equal(await left(trial), 19, 'an ordinary deletion passes again');
});

test('a site with one key that is deleted counts as emptied', async (t) => {
  const trial = await filled(t, 1, { keys: 100, share: 0.05 });
  await trial.nativeRemove('aws', 'k000');
  assert.equal((await trial.sync()).guarded, 1);
  assert.equal((await trial.parked())[0]?.reason, 'site-emptied');
  assert.equal(await left(trial), 1);
  await trial.dataset.retryParked(guardId('aws'));
  await trial.sync();
  assert.equal(await left(trial), 0);
});

test('a deletion that turns out to be none when it is looked at again', async (t) => {
  const trial = await filled(t, 20, { keys: 100, share: 0 });
  const aws = trial.at('aws');
  aws.inject({ verbs: ['list'], times: 1, effect: { kind: 'listing', how: 'truncated' } });
  aws.asked.length = 0;
  const result = await trial.sync();
  assert.equal(result.guarded, 0);
  assert.equal(aws.count('head'), 10, 'each was looked at');
  assert.deepEqual(trial.removed, []);
  assert.equal(await left(trial), 20);
});

test('a key that came back after the listing is no deletion but a new write', async (t) => {
  const trial = await filled(t, 20, { keys: 100, share: 0 });
  await trial.nativeRemove('aws', 'k004');
  trial.at('aws').inject({
    verbs: ['head'],
    key: (key) => key === 'k004',
    times: 1,
    effect: { kind: 'before', run: () => trial.nativePut('aws', 'k004', 'risen') },
  });
  await trial.sync();
  for (const site of trial.names) assert.equal(await trial.nativeRead(site, 'k004'), 'risen');
  assert.deepEqual(trial.removed, []);
});

test('notices of deletions stop at the limit, and a scan does not let the rest through', async (t) => {
  const trial = await filled(t, 30, { keys: 2, share: 0 });
  const scannedMs = async () => (await trial.dataset.siteState('azure')).scannedMs;
  const before = await scannedMs();
  await trial.watching(async () => {
    await trial.until(async () => (await scannedMs()) !== before);
    await trial.busQuiet();
    for (const key of numbered(4)) await trial.nativeRemove('aws', key);
    await trial.notify('aws', ...numbered(4), ...numbered(4));
    await trial.busQuiet();
    assert.equal(await left(trial), 28);
    // The guard asks for a scan, which counts what is held back.
    await trial.until(async () => (await trial.parked())[0]?.keys === 2);
    await trial.busQuiet();
    assert.equal(await left(trial), 28);
  });
  assert.equal((await trial.sync()).guarded, 2);
  assert.equal(await left(trial), 28);
  await trial.dataset.retryParked(guardId('aws'));
  await trial.sync();
  assert.equal(await left(trial), 26);
});

test('deletions by notice count in the next scan', async (t) => {
  const trial = await filled(t, 30, { keys: 2, share: 0 });
  const scannedMs = async () => (await trial.dataset.siteState('azure')).scannedMs;
  const before = await scannedMs();
  await trial.watching(async () => {
    await trial.until(async () => (await scannedMs()) !== before);
    await trial.busQuiet();
    for (const key of numbered(2)) await trial.nativeRemove('aws', key);
    await trial.notify('aws', ...numbered(2));
    await trial.busQuiet();
  });
  assert.equal(await left(trial), 28);
  await trial.nativeRemove('aws', 'k002');
  assert.equal((await trial.sync()).guarded, 1, 'the third since the last scan');
  assert.equal(await left(trial), 28);
});

test('a notice of a deletion that did not happen deletes nothing', async (t) => {
  const trial = await filled(t, 5, { keys: 100, share: 0 });
  await trial.notify('aws', ...numbered(5));
  await trial.notify('gcp', 'never-heard-of');
  await trial.sync();
  assert.equal(await left(trial), 5);
});
