import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryBusBacking } from '../buses/memory/bus.ts';
import { MemoryLedgerBacking } from '../ledgers/memory/ledger.ts';
import { markerKey } from '../replicate/marker.ts';
import { Trial } from '../testing/trial.ts';

test('a pass that begins meanwhile at another worker takes no deletion away from this one', async (t) => {
  const [ledger, bus] = [new MemoryLedgerBacking(), new MemoryBusBacking()];
  const one = new Trial({ ledger, bus });
  const other = new Trial({ ledger, bus, buckets: one.buckets, world: one.world });
  t.after(() => Promise.all([one.close(), other.close()]));
  for (const key of ['a', 'b', 'c']) await one.nativePut('aws', key, 'body');
  await one.sync();
  await one.nativeRemove('aws', 'b');
  for (const site of other.names)
    other.at(site).inject({ verbs: ['list'], effect: { kind: 'fail', code: 'unavailable' } });
  let reads = 0;
  const run = async () => {
    // The second look at the marker: the absence is suspected, and not believed yet.
    if (++reads === 2) await other.sync();
  };
  one.at('aws').inject({ verbs: ['read'], key: (key) => key === markerKey, effect: { kind: 'before', run } });
  await one.sync();
  assert.ok(reads >= 2);
  for (const site of one.names) assert.deepEqual(Object.keys(await one.contents(site)), ['a', 'c'], site);
});
