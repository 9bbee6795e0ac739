import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { quarantineId } from '../replicate/records.ts';
import { fastWorld, Trial } from '../testing/trial.ts';

const retentionMs = 3_600_000;
const away = 'azure';

interface Aged {
  readonly trial: Trial;
  /** Passes without the site, until it was away for longer than the retention. */
  stayAway(ms?: number): Promise<void>;
}

async function aged(t: TestContext): Promise<Aged> {
  const world = fastWorld(20);
  let aheadMs = 0;
  const trial = new Trial({
    world: { ...world, nowMs: () => world.nowMs() + aheadMs },
    policy: { deletions: { retentionMs } },
  });
  t.after(() => trial.close());
  for (const key of ['deleted', 'kept', 'lost', 'overwritten', 'restored']) await trial.put(key, 'old');
  await trial.sync();
  return {
    trial,
    async stayAway(ms = 2 * retentionMs) {
      const lift = trial.at(away).break('misplaced');
      await trial.sync();
      await trial.dataset.remove('deleted', trial.signal);
      await trial.put('overwritten', 'new');
      await trial.put('made', 'new');
      aheadMs += ms;
      await trial.sync();
      await trial.sync();
      lift();
    },
  };
}

test('a site that was away for too long: what it lacks is copied back, what nobody knows is parked', async (t) => {
  const { trial, stayAway } = await aged(t);
  await stayAway();
  for (const key of ['lost', 'kept']) await trial.nativeRemove(away, key);
  await trial.nativePut(away, 'risen', 'from somewhere');
  await trial.nativePut(away, 'restored', 'from somewhere');
  await trial.syncAll();
  await trial.syncAll();
  const others = { kept: 'old', lost: 'old', made: 'new', overwritten: 'new', restored: 'old' };
  for (const site of ['aws', 'gcp']) assert.deepEqual(await trial.contents(site), others);
  assert.deepEqual(await trial.contents(away), {
    ...others,
    restored: 'from somewhere',
    risen: 'from somewhere',
  });
  const parked = await trial.parked();
  assert.deepEqual(
    parked.map(({ id, reason, keys }) => [id, reason, keys]),
    [[quarantineId(away), 'quarantined', 2]],
  );

  assert.equal(await trial.dataset.retryParked(quarantineId(away)), true);
  await trial.nativeRemove(away, 'kept');
  await trial.syncAll();
  await trial.syncAll();
  for (const site of trial.names)
    assert.deepEqual(await trial.contents(site), {
      ...others,
      restored: 'from somewhere',
      risen: 'from somewhere',
    });
  assert.deepEqual(await trial.parked(), []);
  await trial.nativeRemove(away, 'kept');
  await trial.syncAll();
  assert.equal(await trial.nativeRead('aws', 'kept'), undefined, 'it is believed again');
});

test('emptied while it was away: it is filled again, and nothing waits', async (t) => {
  const { trial, stayAway } = await aged(t);
  await stayAway();
  for (const key of Object.keys(await trial.contents(away))) await trial.nativeRemove(away, key);
  await trial.syncAll();
  await trial.syncAll();
  assert.deepEqual(await trial.contents(away), await trial.contents('aws'));
  assert.equal(Object.keys(await trial.contents(away)).length, 5);
  assert.deepEqual(await trial.parked(), []);
  assert.equal((await trial.dataset.siteState(away)).quarantinedMs, undefined);
});

test('a notice from a site in quarantine spreads nothing, and no deletion', async (t) => {
  const { trial, stayAway } = await aged(t);
  await stayAway();
  await trial.nativePut(away, 'unknown', 'from somewhere');
  await trial.syncAll();
  await trial.nativePut(away, 'risen', 'from somewhere');
  await trial.nativeRemove(away, 'kept');
  trial.at(away).break('broken-listing', 'list');
  await trial.watching(async () => {
    await trial.notify(away, 'risen', 'kept');
    await trial.busQuiet();
    await trial.until(async () => (await trial.nativeRead(away, 'kept')) === 'old');
  });
  assert.equal(await trial.nativeRead('aws', 'risen'), undefined);
  assert.equal(await trial.nativeRead('aws', 'kept'), 'old');
});

test('a site that was away for less goes on as ever', async (t) => {
  const { trial, stayAway } = await aged(t);
  await stayAway(retentionMs / 2);
  await trial.nativeRemove(away, 'kept');
  await trial.nativePut(away, 'risen', 'x');
  await trial.syncAll();
  await trial.syncAll();
  for (const site of trial.names)
    assert.deepEqual(Object.keys(await trial.contents(site)), [
      'lost',
      'made',
      'overwritten',
      'restored',
      'risen',
    ]);
});

test('where Isobar itself was away no site is doubted', async (t) => {
  const world = fastWorld(20);
  let aheadMs = 0;
  const trial = new Trial({
    world: { ...world, nowMs: () => world.nowMs() + aheadMs },
    policy: { deletions: { retentionMs } },
  });
  t.after(() => trial.close());
  await trial.put('k', 'x');
  await trial.sync();
  aheadMs = 10 * retentionMs;
  await trial.nativePut('azure', 'new', 'x');
  await trial.sync();
  assert.equal(await trial.nativeRead('aws', 'new'), 'x');
  assert.deepEqual(await trial.parked(), []);
});
