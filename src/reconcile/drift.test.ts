import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { encodeEntry, entryName } from '../model/entry.ts';
import { keyHash } from '../model/key.ts';
import { noMetadata } from '../model/metadata.ts';
import { stampOf } from '../model/stamp.ts';
import type { World } from '../ports/world.ts';
import { MemoryBucket } from '../stores/memory/memory-bucket.ts';
import { fastWorld, Trial, type TrialOptions } from '../testing/trial.ts';

// Clocks that are ahead: nothing of theirs wins because of it.

const yearMs = 365 * 24 * 3_600_000;

function opened(t: TestContext, options: TrialOptions = {}): Trial {
  const trial = new Trial(options);
  t.after(() => trial.close());
  return trial;
}

function ahead(world: World, ms: () => number): World {
  return { ...world, nowMs: () => world.nowMs() + ms() };
}

/** As a worker with another ledger leaves it at a site. */
function entryOf(key: string, text: string, stampMs: number) {
  const version = {
    stamp: stampOf(stampMs),
    dot: { site: 'gcp', count: 7 },
    past: {},
    operation: 'of another worker',
    deleted: false,
  };
  const entry = encodeEntry({ version, size: Buffer.byteLength(text), keyHash: keyHash(key) });
  return { ...noMetadata, user: { [entryName]: entry } };
}

async function contents(trial: Trial, key: string): Promise<Record<string, string | undefined>> {
  const found: Record<string, string | undefined> = {};
  for (const site of trial.names) found[site] = await trial.nativeRead(site, key);
  return found;
}

test('a native write at a site whose clock is a year ahead is beaten by a later one elsewhere', async (t) => {
  const world = fastWorld(20);
  const bucket = (site: string) =>
    new MemoryBucket({ world: site === 'gcp' ? ahead(world, () => yearMs) : world });
  const buckets = new Map(['aws', 'gcp', 'azure'].map((site) => [site, bucket(site)]));
  const trial = opened(t, { world, buckets });
  await trial.nativePut('gcp', 'k', 'first');
  const learned = trial.at('azure').break('unavailable', 'write');
  await trial.sync();
  learned();
  await trial.nativePut('azure', 'k', 'second');
  await trial.syncAll();
  assert.deepEqual(await contents(trial, 'k'), { aws: 'second', gcp: 'second', azure: 'second' });
});

/** Where it was found, and where it could not be brought; what the listing tells differs between stores. */
async function assertWaiting(trial: Trial, ...sites: readonly string[]): Promise<void> {
  const parked = await trial.parked();
  assert.deepEqual(parked.map(({ site, key, reason }) => `${site} ${key} ${reason}`).sort(), sites);
  for (const { detail } of parked) assert.match(detail, /^k at gcp carries a version stamped 2027-/);
}

const whens = ['at the first contact', 'at the first contact, listed with its metadata', 'later'];

for (const when of whens) {
  const firstContact = when !== 'later';
  const listsMetadata = when === whens[1];
  const unread = firstContact && !listsMetadata;
  const waiting = unread ? ['aws k invalid', 'azure k invalid'] : ['gcp k invalid'];
  const opening = async (t: TestContext, world: World): Promise<Trial> => {
    const trial = opened(t, { world, limits: { gcp: { listsMetadata } } });
    if (!firstContact) await trial.put('k', 'old');
    if (!firstContact) await trial.sync();
    await trial.nativePut('gcp', 'k', 'ahead', entryOf('k', 'ahead', world.nowMs() + yearMs));
    return trial;
  };
  const before = firstContact ? undefined : 'old';

  test(`a version from a clock that is ahead waits, is neither spread nor overwritten, and comes in its time (${when})`, async (t) => {
    const world = fastWorld(20);
    let passedMs = 0;
    const trial = await opening(
      t,
      ahead(world, () => passedMs),
    );
    for (let pass = 0; pass < 2; pass++) {
      const { away, sites } = await trial.sync();
      assert.deepEqual(away, {});
      assert.equal(sites.gcp?.listed, 1);
      await assertWaiting(trial, ...waiting);
      assert.deepEqual(await contents(trial, 'k'), { aws: before, gcp: 'ahead', azure: before });
    }
    passedMs = yearMs;
    await trial.sync();
    assert.deepEqual(await trial.parked(), []);
    assert.deepEqual(await contents(trial, 'k'), { aws: 'ahead', gcp: 'ahead', azure: 'ahead' });
  });

  test(`a person who retries it takes it for a write made now (${when})`, async (t) => {
    const trial = await opening(t, fastWorld(20));
    await trial.sync();
    await assertWaiting(trial, ...waiting);
    const [first] = await trial.parked();
    assert.ok(await trial.dataset.retryParked(first!.id));
    await trial.sync();
    assert.deepEqual(await trial.parked(), []);
    assert.deepEqual(await contents(trial, 'k'), { aws: 'ahead', gcp: 'ahead', azure: 'ahead' });
    const { record } = await trial.dataset.explain('k', trial.signal);
    for (const site of trial.names)
      assert.ok(record.replicas[site]!.version.stamp <= stampOf(trial.world.nowMs()));
    await trial.put('k', 'next');
    await trial.sync();
    assert.deepEqual(await contents(trial, 'k'), { aws: 'next', gcp: 'next', azure: 'next' });
  });

  test(`retried when it is gone, it is parked no more (${when})`, async (t) => {
    const trial = await opening(t, fastWorld(20));
    await trial.put('other', 'so that the site is not empty');
    await trial.sync();
    await trial.nativeRemove('gcp', 'k');
    await trial.sync();
    for (const { id } of await trial.parked()) await trial.dataset.retryParked(id);
    await trial.sync();
    assert.deepEqual(await trial.parked(), []);
  });

  test(`written there anew without that version, it is a write like any other (${when})`, async (t) => {
    const trial = await opening(t, fastWorld(20));
    await trial.sync();
    await trial.nativePut('gcp', 'k', 'anew');
    await trial.sync();
    assert.deepEqual(await trial.parked(), []);
    assert.deepEqual(await contents(trial, 'k'), { aws: 'anew', gcp: 'anew', azure: 'anew' });
  });
}

test('the others go on with their own version meanwhile', async (t) => {
  const trial = opened(t);
  await trial.put('k', 'one');
  await trial.sync();
  await trial.nativePut('gcp', 'k', 'ahead', entryOf('k', 'ahead', trial.world.nowMs() + yearMs));
  await trial.put('k', 'two');
  const steps: string[] = [];
  await trial.dataset.plan(({ site, action }) => void steps.push(`${action} ${site}`), {}, trial.signal);
  assert.deepEqual(steps, ['overwrite azure']);
  await trial.sync();
  assert.deepEqual(await contents(trial, 'k'), { aws: 'two', gcp: 'ahead', azure: 'two' });
  const [parked] = await trial.parked();
  assert.deepEqual([parked?.site, parked?.key], ['gcp', 'k']);
  const gcp = (await trial.dataset.status()).find(({ site }) => site === 'gcp');
  assert.equal(gcp?.parked, 1);
  assert.ok(gcp?.lagMs);
});

test('a clock that is a little ahead is trusted', async (t) => {
  const trial = opened(t);
  await trial.nativePut('gcp', 'k', 'soon', entryOf('k', 'soon', trial.world.nowMs() + 400));
  await trial.sync();
  assert.deepEqual(await contents(trial, 'k'), { aws: 'soon', gcp: 'soon', azure: 'soon' });
});
