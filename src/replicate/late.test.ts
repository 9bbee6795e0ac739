import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { encodeEntry, entryName, entryOn, longestInFlightMs, sendingTo } from '../model/entry.ts';
import type { ObjectMetadata } from '../model/metadata.ts';
import { Trial, type TrialOptions } from '../testing/trial.ts';

// Requests that take effect late, or twice.

function opened(t: TestContext, options: TrialOptions = {}): Trial {
  const trial = new Trial(options);
  t.after(() => trial.close());
  return trial;
}

async function assertEverywhere(trial: Trial, text: string | undefined): Promise<void> {
  for (const site of trial.names) assert.equal(await trial.nativeRead(site, 'k'), text, site);
}

async function metadataAt(trial: Trial, site: string): Promise<ObjectMetadata> {
  return (await trial.at(site).store.head('k', trial.signal))!.metadata;
}

/** The copy at gcp, sent once more `agoMs` before now. */
async function sentAgain(trial: Trial, agoMs: number): Promise<ObjectMetadata> {
  const metadata = await metadataAt(trial, 'gcp');
  const entry = entryOn('k', metadata)!;
  const sending = sendingTo('gcp', trial.world.nowMs() - agoMs, 'later1');
  return { ...metadata, user: { ...metadata.user, [entryName]: encodeEntry({ ...entry, sending }) } };
}

test('a copy that lands after the key was deleted is cleared away, and kept', async (t) => {
  const trial = opened(t);
  await trial.put('k', 'one');
  await trial.sync();
  const late = await sentAgain(trial, 60_000);
  await trial.dataset.remove('k', trial.signal);
  await trial.sync();
  await trial.nativePut('gcp', 'k', 'one', late);
  await trial.sync();
  await assertEverywhere(trial, undefined);
  const [loser, ...others] = await trial.losers();
  assert.deepEqual(others, []);
  assert.equal(await trial.nativeRead('gcp', loser!.keptAs), 'one');
});

test('nor does it bring a native deletion back that nobody else has heard of', async (t) => {
  const trial = opened(t);
  await trial.put('other', 'so that the site is not empty');
  await trial.put('k', 'one');
  await trial.sync();
  const late = await sentAgain(trial, 60_000);
  await trial.nativeRemove('gcp', 'k');
  const lift = trial.at('aws').break('unavailable');
  const liftToo = trial.at('azure').break('unavailable');
  await trial.sync();
  await trial.nativePut('gcp', 'k', 'one', late);
  await trial.sync();
  lift();
  liftToo();
  await trial.syncAll();
  await assertEverywhere(trial, undefined);
});

test('a late copy beneath a newer write is replaced by it', async (t) => {
  const trial = opened(t);
  await trial.put('k', 'one');
  await trial.sync();
  const late = await sentAgain(trial, 60_000);
  await trial.dataset.remove('k', trial.signal);
  await trial.sync();
  await trial.nativePut('gcp', 'k', 'one', late);
  const lift = trial.at('gcp').break('unavailable');
  await trial.put('k', 'two');
  await trial.sync();
  lift();
  await trial.syncAll();
  await assertEverywhere(trial, 'two');
});

test('what somebody brings back is his write: the very object, or one that was sent long ago', async (t) => {
  for (const agoMs of [undefined, 2 * longestInFlightMs]) {
    const trial = opened(t);
    await trial.put('k', 'one');
    await trial.sync();
    const old = agoMs === undefined ? await metadataAt(trial, 'gcp') : await sentAgain(trial, agoMs);
    await trial.dataset.remove('k', trial.signal);
    await trial.sync();
    await trial.nativePut('gcp', 'k', 'one', old);
    await trial.sync();
    await assertEverywhere(trial, 'one');
    assert.deepEqual(await trial.losers(), []);
  }
});

test('and so is a version before the last one, brought back within minutes', async (t) => {
  const trial = opened(t);
  await trial.put('k', 'one');
  await trial.sync();
  const old = await metadataAt(trial, 'gcp');
  await trial.put('k', 'two');
  await trial.sync();
  await trial.nativePut('gcp', 'k', 'one', old);
  await trial.sync();
  await assertEverywhere(trial, 'one');
});

test('a write that took effect and was written over is not done once more on top of that', async (t) => {
  const trial = opened(t, { sites: ['aws', 'gcp'] });
  await trial.put('k', 'one');
  await trial.sync();
  const aws = trial.at('aws');
  const isK = (key: string) => key === 'k';
  aws.inject({ verbs: ['write'], key: isK, times: 1, effect: { kind: 'lost-reply' } });
  const between = async () => {
    await trial.nativePut('aws', 'k', 'three');
    await trial.notify('aws', 'k');
  };
  aws.inject({ verbs: ['head'], key: isK, times: 1, effect: { kind: 'before', run: between } });
  await trial.put('k', 'two').catch(() => {});
  await trial.nativePut('aws', 'k', 'four');
  await trial.syncAll();
  await assertEverywhere(trial, 'four');
});

test('a read of a damaged body says so at its end', async (t) => {
  const trial = opened(t);
  await trial.put('k', 'precious');
  await trial.sync();
  for (const site of trial.names) trial.rot(site, 'k', 'preciouX');
  const read = await trial.dataset.get('k', {}, trial.signal);
  await assert.rejects(read!.bytes(), /not what was written there/);
});

test('what was natively written is held against the MD5 of its store before it is spread', async (t) => {
  const trial = opened(t);
  await trial.nativePut('aws', 'k', 'precious');
  trial
    .at('aws')
    .inject({ verbs: ['read'], key: (key) => key === 'k', times: 3, effect: { kind: 'corrupt' } });
  await trial.syncAll();
  await trial.syncAll();
  await trial.until(async () => {
    await trial.syncAll();
    return (await trial.nativeRead('gcp', 'k')) !== undefined;
  });
  await assertEverywhere(trial, 'precious');
});
