import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { MemoryLedger, MemoryLedgerBacking } from '../ledgers/memory/ledger.ts';
import { noMetadata } from '../model/metadata.ts';
import { tombstoneKey, tombstonePrefix } from '../model/tombstone.ts';
import { idsWith } from '../ports/ledger.ts';
import { fastWorld, Trial, type TrialOptions } from '../testing/trial.ts';

function opened(t: TestContext, options: TrialOptions = {}): Trial {
  const trial = new Trial(options);
  t.after(() => trial.close());
  return trial;
}

/** Every key at every site; `undefined` where it lacks it. */
async function everywhere(trial: Trial): Promise<Record<string, Record<string, string>>> {
  const all: Record<string, Record<string, string>> = {};
  for (const site of trial.names) all[site] = await trial.contents(site);
  return all;
}

function same(trial: Trial, contents: Record<string, string>): Record<string, Record<string, string>> {
  return Object.fromEntries(trial.names.map((site) => [site, contents]));
}

function writes(trial: Trial): number {
  const verbs = ['write', 'startUpload', 'remove'] as const;
  const users = (key: string) => !key.startsWith('.isobar/');
  return trial.names.reduce(
    (sum, site) =>
      sum +
      trial.at(site).asked.filter(({ verb, key }) => verbs.includes(verb as 'write') && users(key)).length,
    0,
  );
}

function forgetRequests(trial: Trial): void {
  for (const site of trial.names) trial.at(site).asked.length = 0;
}

/** Objects written natively at each site and through Isobar, overwritten, deleted, and one conflict. */
async function lived(trial: Trial): Promise<void> {
  for (const site of trial.names) await trial.nativePut(site, `native ${site}`, `made at ${site}`);
  await trial.put('put', 'through Isobar');
  await trial.put('gone', 'will be deleted');
  await trial.nativePut('gcp', 'gone natively', 'will be deleted');
  await trial.nativePut('aws', 'conflict', 'early');
  await trial.nativePut('azure', 'conflict', 'late');
  await trial.sync();
  await trial.nativePut('azure', 'native aws', 'overwritten');
  await trial.dataset.remove('gone', trial.signal);
  await trial.nativeRemove('azure', 'gone natively');
  await trial.sync();
}

for (const how of ['rebuild', 'an ordinary pass'] as const) {
  test(`a lost ledger, made again by ${how}: nothing is copied, deleted stays deleted, losers are listed`, async (t) => {
    const trial = opened(t);
    await lived(trial);
    const before = await everywhere(trial);
    const losers = (await trial.losers()).map(({ keptAs, site, lostTo }) => ({ keptAs, site, lostTo }));
    assert.equal(losers.length, 1);
    await trial.restart();
    forgetRequests(trial);
    if (how === 'rebuild') {
      const rebuilt = await trial.dataset.rebuild({ dryRun: false }, trial.signal);
      assert.equal(rebuilt.sites['azure']?.tombstones, 2);
    }
    await trial.sync();
    await trial.sync();
    assert.equal(writes(trial), 0);
    assert.deepEqual(await everywhere(trial), before);
    const found = (await trial.losers()).map(({ keptAs, site, lostTo }) => ({ keptAs, site, lostTo }));
    assert.deepEqual(found, losers);
    assert.deepEqual(await trial.parked(), []);
    for (const key of ['gone', 'gone natively'])
      assert.equal(await trial.dataset.get(key, {}, trial.signal), undefined);
  });
}

test('dry run: counts, and writes nothing anywhere', async (t) => {
  const trial = opened(t);
  await lived(trial);
  await trial.restart();
  forgetRequests(trial);
  const { keys, sites } = await trial.dataset.rebuild({ dryRun: true }, trial.signal);
  assert.equal(keys, 5);
  assert.deepEqual(sites['azure'], { keys: 5, tombstones: 2, losers: 0 });
  assert.equal(sites['aws']?.losers, 1);
  const wrote = trial.names.flatMap((site) => trial.at(site).asked.filter(({ verb }) => verb === 'write'));
  assert.deepEqual(wrote, []);
  assert.equal((await trial.dataset.siteState('aws')).marker, undefined);
});

for (const kind of ['native original', 'copy'] as const) {
  test(`a site that was away still holds a ${kind} of what was deleted: it is removed`, async (t) => {
    const trial = opened(t);
    const away = 'azure';
    await trial.nativePut(kind === 'copy' ? 'aws' : away, 'k', 'old');
    await trial.sync();
    const lift = trial.at(away).break('misplaced');
    await trial.dataset.remove('k', trial.signal);
    await trial.sync();
    lift();
    await trial.restart();
    await trial.syncAll();
    await trial.syncAll();
    assert.deepEqual(await everywhere(trial), same(trial, {}));
  });

  test(`a crash between tombstone and removal leaves a ${kind}: it is removed`, async (t) => {
    const trial = opened(t, { sites: ['aws', 'gcp'] });
    await trial.nativePut(kind === 'copy' ? 'aws' : 'gcp', 'k', 'old');
    await trial.sync();
    const gcp = trial.at('gcp');
    gcp.inject({
      verbs: ['remove'],
      key: (key) => key === 'k',
      effect: { kind: 'fail', code: 'unavailable' },
    });
    await trial.nativeRemove('aws', 'k');
    await trial.sync({ yes: true });
    assert.ok(trial.bucket('gcp').object(tombstoneKey('k')));
    await trial.restart();
    await trial.syncAll();
    assert.deepEqual(await everywhere(trial), same(trial, {}));
    assert.deepEqual(await trial.losers(), [], 'the deletion covers it: nothing has lost');
  });
}

test('an object that was written after the deletion, natively or through Isobar, stays', async (t) => {
  const trial = opened(t);
  for (const key of ['native', 'put']) await trial.put(key, 'old');
  await trial.sync();
  for (const key of ['native', 'put']) await trial.dataset.remove(key, trial.signal);
  await trial.sync();
  await trial.restart();
  await trial.nativePut('azure', 'native', 'risen');
  await trial.put('put', 'risen');
  await trial.syncAll();
  await trial.syncAll();
  assert.deepEqual(await everywhere(trial), same(trial, { native: 'risen', put: 'risen' }));
});

test('before the first pass a notice knows of the deletion of its key', async (t) => {
  const trial = opened(t);
  await trial.nativePut('azure', 'k', 'old');
  await trial.sync();
  const lift = trial.at('azure').break('misplaced');
  await trial.dataset.remove('k', trial.signal);
  await trial.sync();
  lift();
  await trial.restart();
  (trial.removed as unknown[]).length = 0;
  for (const site of trial.names) trial.at(site).break('broken-listing', 'list');
  await trial.watching(async () => {
    await trial.notify('azure', 'k');
    await trial.busQuiet();
  });
  assert.deepEqual(trial.removed, [{ site: 'azure', key: 'k' }]);
  for (const site of trial.names) assert.equal(await trial.nativeRead(site, 'k'), undefined);
});

test('a write on top of a deletion that another clock stamped ahead is the later one', async (t) => {
  let calls = 0;
  let aheadMs = 0;
  const nowMs = () => Date.UTC(2026, 0, 1) + aheadMs + Math.floor(calls++ / 100);
  const trial = opened(t, { world: { ...fastWorld(20), nowMs } });
  await trial.put('k', 'old');
  await trial.sync();
  aheadMs = 450;
  await trial.dataset.remove('k', trial.signal);
  await trial.sync();
  aheadMs = 0;
  const backing = new MemoryLedgerBacking();
  await trial.restart(backing);
  await trial.put('k', 'new');
  // Nobody carries it before the other tombstones are read.
  await trial.restart(backing);
  await trial.sync();
  await trial.sync();
  assert.deepEqual(await everywhere(trial), same(trial, { k: 'new' }));
});

test('a write that was made beside a deletion, at a site that was away, is not lost', async (t) => {
  const trial = opened(t);
  await trial.put('k', 'old');
  await trial.sync();
  const lift = trial.at('azure').break('misplaced');
  await trial.nativeRemove('aws', 'k');
  await trial.sync({ yes: true });
  lift();
  await trial.nativePut('azure', 'k', 'beside');
  await trial.restart();
  await trial.syncAll();
  assert.deepEqual(await everywhere(trial), same(trial, { k: 'beside' }));
});

test('a tombstone of the first format, and nothing can tell: what is removed is kept', async (t) => {
  const trial = opened(t, { sites: ['aws', 'gcp'] });
  await trial.nativePut('gcp', 'k', 'original');
  await trial.sync();
  const lift = trial.at('gcp').break('misplaced');
  await trial.dataset.remove('k', trial.signal);
  lift();
  const name = tombstoneKey('k');
  const text = await trial.nativeRead('aws', name);
  const { key, version } = JSON.parse(text!) as { key: string; version: object };
  await trial.nativePut('aws', name, JSON.stringify({ key, version }));
  await trial.restart();
  await trial.syncAll();
  assert.deepEqual(await everywhere(trial), same(trial, {}));
  const [loser] = await trial.losers();
  assert.equal(await trial.nativeRead('gcp', loser!.keptAs), 'original');
});

test('a native write that nobody had seen is not taken for older than the copies of what it replaced', async (t) => {
  const trial = opened(t);
  await trial.nativePut('aws', 'k', 'one');
  await trial.sync();
  await trial.nativePut('aws', 'k', 'two');
  await trial.sync();
  const lift = trial.at('gcp').break('misplaced');
  await trial.nativePut('aws', 'k', 'three');
  await trial.restart();
  const liftAgain = trial.at('gcp').break('misplaced');
  const also = trial.at('azure').break('misplaced');
  await trial.sync();
  lift();
  liftAgain();
  also();
  await trial.syncAll();
  await trial.syncAll();
  assert.deepEqual(await everywhere(trial), same(trial, { k: 'three' }));
});

/** A ledger as it was before the sites went on, and what they went on with; `three` was never seen by anybody. */
async function withOlderLedger(t: TestContext): Promise<Trial> {
  const trial = opened(t);
  await trial.nativePut('aws', 'k', 'one');
  await trial.put('gone', 'x');
  const backup = new MemoryLedgerBacking();
  await trial.restart(backup);
  await trial.sync();
  await trial.restart(await copyOf(backup));
  for (const body of ['two', 'two and a half']) {
    await trial.nativePut('aws', 'k', body);
    await trial.sync();
  }
  await trial.dataset.remove('gone', trial.signal);
  await trial.put('new', 'n');
  await trial.put('short', 's');
  await trial.sync();
  await trial.dataset.remove('short', trial.signal);
  await trial.sync();
  await trial.nativePut('aws', 'k', 'three');
  await trial.restart(backup);
  return trial;
}

for (const how of ['a rebuild', 'passes alone'] as const)
  test(`a ledger from an older backup, and ${how}: nothing is lost, deleted stays deleted`, async (t) => {
    const trial = await withOlderLedger(t);
    if (how === 'a rebuild') await trial.dataset.rebuild({ dryRun: false }, trial.signal);
    await trial.syncAll();
    await trial.syncAll();
    assert.deepEqual(await everywhere(trial), same(trial, { k: 'three', new: 'n' }));
  });

test('a rebuild from an older backup while the copies of what was written since are away', async (t) => {
  const trial = await withOlderLedger(t);
  const lifts = ['gcp', 'azure'].map((site) => trial.at(site).break('misplaced'));
  await trial.dataset.rebuild({ dryRun: false }, trial.signal);
  for (const lift of lifts) lift();
  await trial.syncAll();
  await trial.syncAll();
  assert.equal(await trial.nativeRead('azure', 'k'), 'three');
});

test('a rebuild that is killed goes on where it was', async (t) => {
  const trial = opened(t, { sites: ['aws', 'gcp'] });
  const keys = Array.from({ length: 150 }, (_, i) => `k${i}`);
  for (const key of keys) await trial.put(key, key);
  await trial.sync();
  for (const key of keys) await trial.dataset.remove(key, trial.signal);
  await trial.sync();
  const backing = new MemoryLedgerBacking();
  await trial.restart(backing);
  const last = keys.map(tombstoneKey).sort().at(-1);
  const broken = { verbs: ['read'], key: (key: string) => key === last } as const;
  trial.at('aws').inject({ ...broken, effect: { kind: 'fail', code: 'denied' } });
  const first = await trial.dataset.rebuild({ dryRun: false }, trial.signal);
  assert.ok(first.sites['aws']?.away);
  assert.equal((await trial.dataset.siteState('aws')).recalledMs, undefined);
  await trial.restart(backing);
  const rest = await trial.dataset.rebuild({ dryRun: false }, trial.signal);
  assert.equal(rest.sites['aws']?.tombstones, 150 - 128);
  assert.equal(rest.sites['gcp']?.tombstones, 0);
  const again = await trial.dataset.rebuild({ dryRun: false }, trial.signal);
  assert.equal(again.sites['aws']?.tombstones, 150, 'a whole one begins anew');
});

test('what is no tombstone deletes nothing, and the rest is read', async (t) => {
  const trial = opened(t);
  await trial.put('kept', 'x');
  await trial.put('gone', 'x');
  await trial.sync();
  await trial.dataset.remove('gone', trial.signal);
  await trial.sync();
  const real = JSON.parse((await trial.nativeRead('aws', tombstoneKey('gone')))!) as {
    version: { stamp: string };
  };
  const ahead = { ...real, key: 'kept', version: { ...real.version, stamp: 'ffff000000000000' } };
  const later = { ...real, key: 'kept', format: 3 };
  const forged = [
    JSON.stringify(ahead),
    JSON.stringify(later),
    '{',
    JSON.stringify({ ...real, key: 'gone' }),
    '[]',
  ];
  for (const [i, site] of trial.names.entries())
    await trial.nativePut(site, tombstoneKey('kept'), forged[i]!, noMetadata);
  await trial.nativePut('aws', `${tombstonePrefix}other`, forged[3]!);
  await trial.restart();
  await trial.syncAll();
  assert.deepEqual(await everywhere(trial), same(trial, { kept: 'x' }));
  assert.equal(trial.failures.filter((text) => text.includes('is not one that Isobar wrote')).length, 4);
});

async function copyOf(backing: MemoryLedgerBacking): Promise<MemoryLedgerBacking> {
  const copy = new MemoryLedgerBacking();
  const [from, to] = [new MemoryLedger(backing), new MemoryLedger(copy)];
  for (const table of ['keys', 'debts', 'parked', 'losers', 'sites'] as const)
    for await (const rows of from.scan(table, idsWith('')))
      await to.commit(rows.map(({ id, value }) => ({ table, id, value })));
  return copy;
}
