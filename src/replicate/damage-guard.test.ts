import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { DamageState } from '../decide/damage.ts';
import { MemoryLedger, MemoryLedgerBacking } from '../ledgers/memory/ledger.ts';
import type { DamageRule } from '../model/damage-rule.ts';
import type { World } from '../ports/world.ts';
import { Random } from '../testing/simulation/random.ts';
import { fastWorld, Trial, type TrialOptions } from '../testing/trial.ts';
import { damageId } from './damage-guard.ts';
import { Records } from './records.ts';

const minute = 60_000;
const rule: DamageRule = { match: '**', windowMs: 10 * minute };
const id = damageId(rule);

/** The world of a trial, whose wall clock can be put forward. */
class Time {
  #aheadMs = 0;
  readonly world: World;

  constructor() {
    const world = fastWorld(20);
    this.world = { ...world, nowMs: () => world.nowMs() + this.#aheadMs };
  }

  pass(ms: number): void {
    this.#aheadMs += ms;
  }
}

interface Opened {
  readonly time: Time;
  readonly trial: Trial;
  readonly ledger: MemoryLedgerBacking;
}

function open(t: TestContext, damage: Partial<DamageRule>, options: TrialOptions = {}): Opened {
  const time = new Time();
  const ledger = new MemoryLedgerBacking();
  const guards = { maxDeletes: { keys: 1000, share: 1 }, damage: [{ ...rule, ...damage }] };
  const trial = new Trial({ world: time.world, ledger, ...options, policy: { guards, ...options.policy } });
  t.after(() => trial.close());
  return { time, trial, ledger };
}

const keys = (count: number, from = 0) =>
  Array.from({ length: count }, (_, i) => `d/k${String(from + i).padStart(3, '0')}.doc`);
const text = (key: string) => `${key} says hello; `.repeat(400);
const random = new Random(5);
const noise = () => Uint8Array.from({ length: 5000 }, () => random.between(0, 256));

/** Old documents at every site. */
async function filled(t: TestContext, count: number, damage: Partial<DamageRule>, options?: TrialOptions) {
  const opened = open(t, damage, options);
  for (const key of keys(count)) await opened.trial.nativePut('aws', key, text(key));
  await opened.trial.sync();
  opened.time.pass(60 * minute);
  return opened;
}

async function unchangedAt(trial: Trial, site: string): Promise<number> {
  return Object.entries(await trial.contents(site)).filter(([key, body]) => body === text(key)).length;
}

const tight = { keys: 5, share: 0, sigma: 0 };

test('bodies that turn into noise: held after a few, creations go on, and nothing is lost', async (t) => {
  const { trial } = await filled(
    t,
    60,
    { entropy: { keys: 5, share: 0.5 } },
    { settings: { keysInFlight: 1 } },
  );
  for (const key of keys(60)) await trial.nativePut('aws', key, noise());
  await trial.nativePut('aws', 'new', 'x');
  await trial.sync();
  const kept = await unchangedAt(trial, 'gcp');
  assert.ok(kept >= 40 && kept < 60, `${kept} of 60`);
  assert.equal(await trial.nativeRead('azure', 'new'), 'x');
  const [parked] = await trial.parked();
  assert.deepEqual([parked?.id, parked?.reason, parked?.site], [id, 'damage', 'aws']);
  assert.match(parked!.detail, /5 of 5 overwritten bodies turned into noise within 10 minutes/);
  const result = await trial.sync();
  assert.equal(await unchangedAt(trial, 'gcp'), kept, 'it stands');
  assert.equal(result.owed.gcp, kept);
  assert.deepEqual(trial.failures, [], 'what waits for a person is no failure');
  assert.equal(await trial.dataset.retryParked(id), true);
  assert.deepEqual(await trial.parked(), []);
  assert.equal((await trial.sync()).owed.gcp, 0);
  assert.equal(await unchangedAt(trial, 'gcp'), 0, 'a person said go');
});

test('noise that was noise before, and bodies too short to tell, pass', async (t) => {
  const { trial, time } = open(t, { entropy: { keys: 2, share: 0 } });
  for (const key of keys(10)) await trial.nativePut('aws', key, noise());
  for (const key of keys(10, 10)) await trial.nativePut('aws', key, 'short');
  await trial.sync();
  time.pass(60 * minute);
  for (const key of keys(20)) await trial.nativePut('aws', key, noise());
  await trial.sync();
  assert.deepEqual(await trial.parked(), []);
});

test('a key counts once, however many sites there are: the budget itself passes, one more is held', async (t) => {
  const { trial } = await filled(t, 30, { overwrites: tight });
  for (const key of keys(5)) await trial.nativePut('aws', key, 'changed');
  await trial.sync();
  assert.deepEqual(await trial.parked(), []);
  assert.equal(await unchangedAt(trial, 'azure'), 25);
  for (const key of keys(5)) await trial.nativePut('gcp', key, 'changed again');
  await trial.sync();
  assert.deepEqual(await trial.parked(), [], 'what is younger than the window is no old data');
  await trial.nativePut('gcp', keys(6)[5]!, 'one more');
  await trial.sync();
  assert.equal((await trial.parked())[0]?.keys, 6);
  assert.equal(await unchangedAt(trial, 'azure'), 25);
});

test('deletions through Isobar: held, and the key stays elsewhere until the release', async (t) => {
  const { trial } = await filled(t, 30, { deletes: tight });
  for (const key of keys(8)) await trial.dataset.remove(key, trial.signal);
  await trial.sync();
  assert.equal(Object.keys(await trial.contents('azure')).length, 30, 'none had been carried yet');
  const [parked] = await trial.parked();
  assert.match(parked!.detail, /6 of 30 keys were deleted within 10 minutes, 5 are allowed/);
  assert.equal(parked!.keys, 8);
  await trial.dataset.retryParked(id);
  await trial.sync();
  assert.equal(Object.keys(await trial.contents('azure')).length, 22);
});

test('a release covers what was held; what comes after is judged anew', async (t) => {
  const { trial } = await filled(t, 40, { deletes: tight });
  const remove = async (from: number, count: number) => {
    for (const key of keys(count, from)) await trial.nativeRemove('aws', key);
    await trial.sync();
  };
  await remove(0, 10);
  await trial.dataset.retryParked(id);
  await remove(10, 5);
  assert.deepEqual(await trial.parked(), []);
  assert.equal(Object.keys(await trial.contents('gcp')).length, 25);
  await remove(15, 3);
  assert.equal((await trial.parked())[0]?.keys, 8);
  assert.equal(Object.keys(await trial.contents('gcp')).length, 25);
});

test('a site that was away catches up without an alarm', async (t) => {
  const { trial, time } = await filled(t, 40, { overwrites: tight, deletes: tight });
  const back = trial.at('azure').break('unavailable');
  for (let window = 0; window < 5; window++) {
    for (const key of keys(4, window * 4)) await trial.nativePut('aws', key, 'changed');
    await trial.nativeRemove('gcp', keys(1, 30 + window)[0]!);
    await trial.sync();
    time.pass(10 * minute);
  }
  assert.deepEqual(await trial.parked(), []);
  back();
  await trial.syncAll();
  await trial.sync();
  assert.deepEqual(await trial.parked(), []);
  assert.deepEqual(await trial.contents('azure'), await trial.contents('aws'));
});

test('while it stands a site that was away keeps what it has', async (t) => {
  const { trial } = await filled(t, 20, { overwrites: tight });
  const back = trial.at('azure').break('unavailable');
  for (const key of keys(20)) await trial.nativePut('aws', key, 'changed');
  await trial.sync();
  assert.equal((await trial.parked())[0]?.keys, 20);
  back();
  await trial.syncAll();
  await trial.sync();
  assert.equal(await unchangedAt(trial, 'azure'), 20);
});

test('a first sync of sites that differ, and a bulk import, are no damage', async (t) => {
  const { trial } = open(t, { overwrites: tight, deletes: tight, renames: { keys: 2 } });
  for (const key of keys(20)) {
    await trial.nativePut('aws', key, text(key));
    await trial.nativePut('gcp', key, 'another');
  }
  await trial.sync();
  for (const key of keys(50, 100)) await trial.nativePut('aws', `${key}.new`, 'imported');
  await trial.sync();
  assert.deepEqual(await trial.parked(), []);
  assert.deepEqual(await trial.contents('azure'), await trial.contents('aws'));
});

for (const [how, renamed] of [
  ['beside the old extension', (key: string) => `${key}.locked`],
  ['in its place', (key: string) => key.replace('.doc', '.locked')],
] as const)
  test(`renamed to one new extension, ${how}: the deletions are held`, async (t) => {
    const { trial } = await filled(t, 20, { renames: { keys: 4 } });
    for (const key of keys(20)) {
      await trial.nativePut('aws', renamed(key), noise());
      await trial.nativeRemove('aws', key);
    }
    await trial.sync();
    const left = Object.keys(await trial.contents('gcp')).filter((key) => key.endsWith('.doc'));
    assert.ok(left.length >= 12, `${left.length} of 20 are left`);
    assert.match((await trial.parked())[0]!.detail, /were renamed to "\.locked"/);
    assert.equal(Object.keys(await trial.contents('gcp')).length - left.length, 20, 'creations went on');
  });

test('renamed by notices, the deletion heard of first', async (t) => {
  const { trial } = await filled(t, 20, { renames: { keys: 4 } });
  await trial.watching(async () => {
    await trial.busQuiet();
    for (const key of keys(20)) {
      await trial.nativeRemove('aws', key);
      await trial.notify('aws', key);
      await trial.busQuiet();
      await trial.nativePut('aws', `${key}.locked`, noise());
      await trial.notify('aws', `${key}.locked`);
      await trial.busQuiet();
    }
  });
  assert.match((await trial.parked())[0]!.detail, /4 keys were renamed to "\.locked"/);
});

test('keys that no rule matches go on', async (t) => {
  const { trial } = await filled(t, 20, { match: 'other/**', overwrites: tight });
  for (const key of keys(20)) await trial.nativePut('aws', key, 'changed');
  await trial.sync();
  assert.equal(await unchangedAt(trial, 'gcp'), 0);
});

test('a restart forgets neither what is held nor what was counted', async (t) => {
  const { trial, ledger } = await filled(t, 30, { overwrites: tight });
  for (const key of keys(4)) await trial.put(key, 'changed');
  await trial.restart(ledger);
  for (const key of keys(4, 4)) await trial.put(key, 'changed');
  await trial.sync();
  assert.equal((await trial.parked())[0]?.keys, 8, '4 before the restart, 4 after');
  await trial.restart(ledger);
  await trial.sync();
  assert.equal(await unchangedAt(trial, 'azure'), 30);
});

test('another process over the same ledger holds what this one found, and its release is heard of', async (t) => {
  const { trial, ledger, time } = await filled(t, 30, { overwrites: tight });
  const guards = { maxDeletes: { keys: 100, share: 1 }, damage: [{ ...rule, overwrites: tight }] };
  const other = new Trial({ world: time.world, ledger, buckets: trial.buckets, policy: { guards } });
  t.after(() => other.close());
  await other.sync();
  for (const key of keys(10)) await trial.nativePut('aws', key, 'changed');
  await trial.sync();
  const kept = await unchangedAt(trial, 'azure');
  assert.ok(kept >= 25);
  await other.sync();
  assert.equal(await unchangedAt(trial, 'azure'), kept);
  await other.dataset.retryParked(id);
  await trial.sync();
  assert.equal(await unchangedAt(trial, 'azure'), 20);
});

test('a crash between the hold and its parked row is mended, and a rule that is gone leaves nothing parked', async (t) => {
  const { trial, ledger } = await filled(t, 30, { overwrites: tight });
  for (const key of keys(10)) await trial.nativePut('aws', key, 'changed');
  await trial.sync();
  const kept = await unchangedAt(trial, 'azure');
  assert.ok(kept >= 25);
  const records = new Records(new MemoryLedger(ledger), 'photos');
  await records.commit([
    records.unpark(id),
    records.park({ ...(await trial.parked())[0]!, id: '//damage/old' }),
  ]);
  await trial.restart(ledger);
  await trial.sync();
  assert.deepEqual(
    (await trial.parked()).map((one) => one.id),
    [id],
  );
  assert.equal(await unchangedAt(trial, 'azure'), kept);
});

test('the same bytes written again are no damage, and are not held', async (t) => {
  const { trial } = await filled(t, 30, { overwrites: tight });
  for (const key of keys(10)) await trial.put(key, text(key));
  await trial.sync();
  assert.deepEqual(await trial.parked(), []);
});

test('what a scan finds after a gap is learned as spread over the gap, and counted whole', async (t) => {
  const { trial, ledger, time } = await filled(t, 30, { overwrites: { keys: 100, share: 0, sigma: 3 } });
  await trial.sync();
  time.pass(100 * minute);
  for (const key of keys(5)) await trial.nativePut('aws', key, 'changed');
  await trial.sync();
  const row = await new Records(new MemoryLedger(ledger), 'photos').guardState(id);
  const { window } = row!.value as unknown as DamageState;
  assert.equal(window.overwrites, 5);
  assert.ok(window.rate.overwrites < 0.6, `${window.rate.overwrites}`);
});

test('while it stands, bytes that the target has already may pass', async (t) => {
  const { trial } = await filled(t, 30, { overwrites: tight });
  for (const key of keys(10)) await trial.nativePut('aws', key, 'changed');
  await trial.sync();
  const before = await trial.sync();
  await trial.put(keys(10)[9]!, text(keys(10)[9]!));
  assert.equal((await trial.sync()).owed.gcp, before.owed.gcp! - 1);
});

test('a body counts once, however many sites it goes to', async (t) => {
  const { trial } = await filled(t, 3, { entropy: { keys: 2, share: 0 } });
  await trial.nativePut('aws', keys(1)[0]!, noise());
  await trial.sync();
  assert.deepEqual(await trial.parked(), []);
  await trial.nativePut('aws', keys(2)[1]!, noise());
  await trial.sync();
  assert.equal((await trial.parked()).length, 1);
});

test('renamed files that keep their time, from listings that tell little', async (t) => {
  const limits = { aws: { listsMetadata: false } };
  const { trial } = await filled(t, 20, { renames: { keys: 4 } }, { limits });
  for (const key of keys(20)) {
    await trial.nativePut('aws', `${key}.locked`, noise());
    (trial.bucket('aws').object(`${key}.locked`) as { lastModifiedMs: number }).lastModifiedMs -=
      600 * minute;
    await trial.nativeRemove('aws', key);
  }
  await trial.sync();
  assert.match((await trial.parked())[0]!.detail, /were renamed to "\.locked"/);
});
