import assert from 'node:assert/strict';
import { test } from 'node:test';
import { idsWith, type Ledger } from '../ports/ledger.ts';
import type { Shell } from '../replicate/shell.ts';
import { Trial } from '../testing/trial.ts';
import { BoundarySampler, shardsOf } from './shards.ts';

const keyOf = (index: number) => `k${String(index).padStart(7, '0')}`;

/** Shards as a pass over so many keys leaves them to the next one. */
async function shardsAfter(keys: number, knownKeys = keys) {
  const sampler = new BoundarySampler();
  for (let index = 0; index < keys; index++) sampler.add(keyOf(index));
  const state = { boundaries: sampler.boundaries(), knownKeys };
  const shell = { policy: { sites: ['a'] }, records: { siteState: async () => state } };
  return shardsOf(shell as unknown as Shell);
}

test('a page reaches to the end of its shard, and not far into the next one', async () => {
  for (const keys of [1_000, 1_500, 2_000, 3_999, 5_000, 7_000]) {
    const shards = await shardsAfter(keys);
    assert.ok(shards.length > 1);
    let from = 0;
    for (const { until, pageSize } of shards.slice(0, -1)) {
      const to = Number(until!.slice(1)) + 1;
      const held = to - from;
      assert.ok(pageSize! >= held, `${keys} keys: ${held} in pages of ${pageSize}`);
      assert.ok(pageSize! <= held * 1.25, `${keys} keys: ${held} in pages of ${pageSize}`);
      from = to;
    }
    assert.equal(shards.at(-1)!.pageSize, undefined, 'behind the last shard is nothing that is read twice');
  }
});

test('pages are neither tiny nor larger than a store gives unasked', async () => {
  const [few] = await shardsAfter(2_000, 3);
  assert.equal(few!.pageSize, 500);
  const [many] = await shardsAfter(100_000);
  assert.equal(many!.pageSize, 2_000);
  assert.deepEqual(await shardsAfter(0), [{}]);
});

test('a pass in shards misses nothing, whatever came since', async (t) => {
  const trial = new Trial({ sites: ['a', 'b'] });
  t.after(() => trial.close());
  for (let index = 0; index < 2_000; index += 2) await trial.nativePut('a', keyOf(index), '');
  await trial.sync();
  for (let index = 1; index < 800; index += 2) await trial.nativePut('b', keyOf(index), '');
  await trial.sync();
  for (const site of trial.names) assert.equal(Object.keys(await trial.contents(site)).length, 1_400);
});

test('a pass leaves behind where to cut, and what it scanned', async (t) => {
  const trial = new Trial({ sites: ['a', 'b'] });
  t.after(() => trial.close());
  for (let index = 0; index < 1_000; index++) await trial.nativePut('a', keyOf(index), '');
  await trial.sync();
  const { boundaries, knownKeys, scannedMs } = await trial.dataset.siteState('a');
  assert.equal(boundaries?.length, 1);
  assert.ok(knownKeys !== undefined && scannedMs !== undefined);
});

test('a site that is behind is brought up by a pass, should nobody have written down that it owes', async (t) => {
  let ledger: Ledger | undefined;
  const trial = new Trial({ sites: ['a', 'b', 'c'], ledgerAround: (own) => (ledger = own) });
  t.after(() => trial.close());
  await trial.nativePut('a', 'k', 'old');
  await trial.sync();
  const lift = trial.at('b').inject({ verbs: ['write'], effect: { kind: 'fail', code: 'unavailable' } });
  await trial.nativePut('a', 'k', 'new');
  await trial.sync();
  assert.equal(await trial.nativeRead('b', 'k'), 'old');
  lift();
  for await (const rows of ledger!.scan('debts', idsWith('')))
    await ledger!.commit(rows.map(({ id }) => ({ table: 'debts', id, value: undefined })));
  await trial.syncAll();
  assert.equal(await trial.nativeRead('b', 'k'), 'new');
});

test('a pass that finds nothing waits for the disk once', async (t) => {
  let flushes = 0;
  let underWay = 0;
  const trial = new Trial({
    ledgerAround: (ledger) =>
      new Proxy(ledger, {
        get(target, name) {
          const value: unknown = Reflect.get(target, name);
          if (name !== 'commit') return typeof value === 'function' ? value.bind(target) : value;
          return async (...writes: Parameters<typeof target.commit>) => {
            if (underWay++ === 0) flushes += 1;
            // As long as a flush takes: until whoever wants to has joined.
            await new Promise<void>((resolve) => setImmediate(resolve));
            return target.commit(...writes).finally(() => {
              underWay -= 1;
            });
          };
        },
      }),
  });
  t.after(() => trial.close());
  await trial.nativePut('aws', 'a', 'body');
  await trial.sync();
  await trial.sync();
  flushes = 0;
  await trial.sync();
  assert.equal(flushes, 1);
});
