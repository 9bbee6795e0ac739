import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { MemoryLedger, MemoryLedgerBacking } from '../ledgers/memory/ledger.ts';
import { StoreFailure } from '../model/failure.ts';
import { tombstonePrefix } from '../model/tombstone.ts';
import { Records } from '../replicate/records.ts';
import { fastWorld, Trial } from '../testing/trial.ts';

const retentionMs = 3_600_000;

interface Aged {
  readonly trial: Trial;
  readonly backing: MemoryLedgerBacking;
  /** Lets time pass. */
  later(ms: number): void;
  tombstones(): Promise<Record<string, number>>;
  /** Keys that the ledger knows. */
  known(): Promise<number>;
  restart(): Promise<void>;
}

async function aged(t: TestContext): Promise<Aged> {
  const world = fastWorld(20);
  let aheadMs = 0;
  const backing = new MemoryLedgerBacking();
  const trial = new Trial({
    world: { ...world, nowMs: () => world.nowMs() + aheadMs },
    policy: { deletions: { retentionMs } },
    ledger: backing,
  });
  t.after(() => trial.close());
  return {
    trial,
    backing,
    later: (ms) => {
      aheadMs += ms;
    },
    async tombstones() {
      const counts: Record<string, number> = {};
      for (const site of trial.names) {
        counts[site] = 0;
        for await (const page of trial.at(site).store.list({ prefix: tombstonePrefix }, trial.signal))
          counts[site] += page.length;
      }
      return counts;
    },
    known: () => new Records(new MemoryLedger(backing), 'photos').countKeys(),
    restart: () => trial.restart(backing),
  };
}

/** Three sites that held `k` and hold `kept`; `k` is deleted everywhere, and no pass has seen that yet. */
async function deleted(t: TestContext): Promise<Aged> {
  const all = await aged(t);
  await all.trial.put('k', 'x');
  await all.trial.put('kept', 'x');
  await all.trial.sync();
  await all.trial.dataset.remove('k', all.trial.signal);
  const lift = all.trial.at('azure').break('broken-listing', 'list');
  await all.trial.sync();
  lift();
  assert.deepEqual(await all.tombstones(), { aws: 1, gcp: 1, azure: 1 });
  return all;
}

const none = { aws: 0, gcp: 0, azure: 0 };
const one = { aws: 1, gcp: 1, azure: 1 };

test('a deletion that every site held for the whole retention is forgotten, and not before', async (t) => {
  const { trial, later, tombstones, known } = await deleted(t);
  await trial.sync();
  later(retentionMs - 60_000);
  await trial.sync();
  assert.deepEqual([await tombstones(), await known()], [one, 2]);
  later(120_000);
  await trial.sync();
  assert.deepEqual([await tombstones(), await known()], [none, 1]);
  assert.deepEqual(await trial.contents('azure'), { kept: 'x' });
});

test('the retention counts from when every site was seen to hold it, not from when it was deleted', async (t) => {
  const { trial, later, tombstones } = await deleted(t);
  later(10 * retentionMs);
  await trial.sync();
  assert.deepEqual(await tombstones(), one, 'this pass is the first that sees it everywhere');
});

test('nor from when the others were seen to hold it', async (t) => {
  const { trial, later, tombstones } = await deleted(t);
  const lift = trial.at('gcp').break('broken-listing', 'list');
  await trial.sync();
  lift();
  later(2 * retentionMs);
  await trial.sync();
  assert.deepEqual(await tombstones(), one);
});

test('while a site is away nothing is collected, whatever it holds', async (t) => {
  const { trial, later, tombstones, known } = await deleted(t);
  await trial.sync();
  later(2 * retentionMs);
  const lift = trial.at('gcp').break('misplaced');
  await trial.sync();
  lift();
  assert.deepEqual([await tombstones(), await known()], [one, 2]);
});

test('nor where a site turns out to hold the key although it was not listed', async (t) => {
  const { trial, later, tombstones, known } = await deleted(t);
  await trial.sync();
  later(2 * retentionMs);
  const run = () => trial.nativePut('azure', 'k', 'risen');
  const isKey = (key: string) => key === 'k';
  trial.at('azure').inject({ verbs: ['head'], key: isKey, times: 1, effect: { kind: 'before', run } });
  await trial.sync();
  assert.deepEqual([await tombstones(), await known()], [one, 2]);
  await trial.sync();
  for (const site of trial.names) assert.equal(await trial.nativeRead(site, 'k'), 'risen');
});

test('a key that is written again starts over', async (t) => {
  const { trial, later, known } = await deleted(t);
  await trial.sync();
  await trial.nativePut('aws', 'k', 'again');
  await trial.sync();
  await trial.nativeRemove('aws', 'k');
  later(retentionMs / 2);
  await trial.sync();
  await trial.sync();
  later(retentionMs - 60_000);
  await trial.sync();
  assert.equal(await known(), 2);
  later(120_000);
  await trial.sync();
  assert.equal(await known(), 1);
});

for (const failing of ['first removal', 'later removal', 'ledger'] as const) {
  test(`a crash at the ${failing} loses nothing, and the next pass goes on`, async (t) => {
    const { trial, later, tombstones, known, restart } = await deleted(t);
    await trial.sync();
    later(2 * retentionMs);
    const site = failing === 'first removal' ? 'aws' : 'azure';
    const isTombstone = (key: string) => key.startsWith(tombstonePrefix);
    const lost = { kind: failing === 'ledger' ? 'lost-reply' : 'fail', code: 'denied' } as const;
    trial.at(site).inject({ verbs: ['remove'], key: isTombstone, effect: lost });
    await trial.sync();
    assert.equal(await known(), 2, 'the ledger forgets last');
    await restart();
    await trial.sync();
    assert.deepEqual([await tombstones(), await known()], [none, 1]);
  });

  test(`a ledger that is lost after a crash at the ${failing}: deleted stays deleted`, async (t) => {
    const { trial, later } = await deleted(t);
    await trial.sync();
    later(2 * retentionMs);
    const site = failing === 'first removal' ? 'aws' : 'azure';
    trial.at(site).break('denied', 'remove');
    await trial.sync();
    await trial.restart();
    await trial.syncAll();
    for (const one of trial.names) assert.deepEqual(await trial.contents(one), { kept: 'x' });
  });
}

test('after the deletion was forgotten no dot is used again: an old copy does not beat a new write', async (t) => {
  const { trial, later, known } = await aged(t).then(async (all) => {
    for (let i = 0; i < 5; i++) await all.trial.put('k', `old ${i}`);
    await all.trial.sync();
    return all;
  });
  const old = trial.bucket('gcp').object('k')!;
  await trial.dataset.remove('k', trial.signal);
  await trial.sync();
  await trial.sync();
  later(2 * retentionMs);
  await trial.sync();
  assert.equal(await known(), 0);
  await trial.put('k', 'new');
  // Somebody restores what once stood at another site, its entry and all.
  await trial.nativePut('gcp', 'k', old.body, old.metadata);
  await trial.syncAll();
  await trial.syncAll();
  for (const site of trial.names) assert.equal(await trial.nativeRead(site, 'k'), 'new');
  const kept = await Promise.all(
    (await trial.losers()).map(({ site, keptAs }) => trial.nativeRead(site, keptAs)),
  );
  assert.deepEqual(kept, ['old 4']);
});

test('a worker that slept with a copy in hand does not bring back what was deleted and forgotten', async (t) => {
  const { trial, backing, later, known } = await aged(t);
  const { world, buckets } = trial;
  const other = new Trial({ world, buckets, ledger: backing, policy: { deletions: { retentionMs } } });
  t.after(() => other.close());
  await trial.nativePut('aws', 'k', 'x');
  const asleep = Promise.withResolvers<void>();
  const awake = Promise.withResolvers<void>();
  const run = async () => {
    asleep.resolve();
    await awake.promise;
    throw new StoreFailure('unavailable', 'nobody answered');
  };
  const isKey = (key: string) => key === 'k';
  trial.at('gcp').inject({ verbs: ['write'], key: isKey, times: 1, effect: { kind: 'before', run } });
  const slow = trial.sync();
  await asleep.promise;
  await trial.until(async () => (await trial.nativeRead('azure', 'k')) === 'x');
  await other.dataset.remove('k', other.signal);
  await other.sync();
  await other.sync();
  later(2 * retentionMs);
  await other.sync();
  assert.equal(await known(), 0);
  awake.resolve();
  await slow;
  await other.sync();
  await other.sync();
  for (const site of trial.names) assert.deepEqual(await trial.contents(site), {});
});
