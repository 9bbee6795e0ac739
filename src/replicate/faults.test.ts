import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { MemoryLedgerBacking } from '../ledgers/memory/ledger.ts';
import { noMetadata } from '../model/metadata.ts';
import type { Fault, Verb } from '../testing/faulty-store.ts';
import { Trial, type TrialOptions, textBody } from '../testing/trial.ts';
import { markerKey } from './marker.ts';
import { WriteFailure } from './write.ts';

// What goes wrong between here and a store, and what must be true afterwards.

function opened(t: TestContext, options: TrialOptions = {}): Trial {
  const trial = new Trial(options);
  t.after(() => trial.close());
  return trial;
}

const isUsers = (key: string) => !key.startsWith('.isobar/');

function once(verb: Verb, effect: Fault['effect'], times = 1): Fault {
  return { verbs: [verb], key: isUsers, times, effect };
}

const lost = { kind: 'lost-reply' } as const;

async function assertEverywhere(trial: Trial, key: string, text: string | undefined): Promise<void> {
  for (const site of trial.names) assert.equal(await trial.nativeRead(site, key), text, `${site} ${key}`);
}

for (const tokenIsContentDigest of [false, true]) {
  const kind = tokenIsContentDigest ? 'S3-like' : 'generation';

  test(`a put whose answer was lost is known as our own: one version, no loser (${kind})`, async (t) => {
    const trial = opened(t, { capabilities: { tokenIsContentDigest } });
    await trial.put('k', 'one');
    trial.at('aws').inject(once('write', lost));
    const result = await trial.put('k', 'two');
    assert.deepEqual(result.sites, [{ site: 'aws', outcome: 'durable' }]);
    assert.deepEqual(result.version.dot, { site: 'aws', count: 2 });
    await trial.sync();
    await assertEverywhere(trial, 'k', 'two');
    const { record } = await trial.dataset.explain('k', trial.signal);
    for (const site of trial.names) assert.deepEqual(record.replicas[site]!.version, result.version);
    assert.deepEqual(await trial.losers(), []);
  });

  test(`a copy whose answer was lost is known as our own (${kind})`, async (t) => {
    const trial = opened(t, { capabilities: { tokenIsContentDigest } });
    const { version } = await trial.put('k', 'one');
    trial.at('gcp').inject(once('write', lost));
    await trial.sync();
    const { record } = await trial.dataset.explain('k', trial.signal);
    for (const site of trial.names) assert.deepEqual(record.replicas[site]!.version, version);
    assert.equal(trial.at('gcp').asked.filter((one) => one.verb === 'write' && one.key === 'k').length, 2);
    assert.deepEqual(await trial.losers(), []);
  });

  test(`a removal whose answer was lost deletes, and what is made anew stays (${kind})`, async (t) => {
    const trial = opened(t, { capabilities: { tokenIsContentDigest } });
    await trial.put('k', 'one');
    await trial.put('l', 'one');
    await trial.sync();
    trial.at('aws').inject(once('remove', lost));
    assert.ok(await trial.dataset.remove('k', trial.signal));
    await trial.dataset.remove('l', trial.signal);
    trial.at('gcp').inject(once('remove', lost, 2));
    await trial.sync();
    await assertEverywhere(trial, 'k', undefined);
    await assertEverywhere(trial, 'l', undefined);
    await trial.put('k', 'risen');
    await trial.sync();
    await assertEverywhere(trial, 'k', 'risen');
    assert.deepEqual(await trial.losers(), []);
  });
}

const large = { partSizeBytes: 8 * 1024 * 1024 };
const mebibyte = 1024 * 1024;

function largeBytes(seed: string): Buffer {
  return Buffer.alloc(17 * mebibyte, `${seed} `);
}

function putLarge(trial: Trial, key: string, bytes: Buffer) {
  return trial.dataset.put(key, textBody(bytes), noMetadata, trial.signal);
}

test('a completed upload whose answer was lost is known as our own', async (t) => {
  const trial = opened(t, { settings: large });
  trial.at('aws').inject(once('completeUpload', lost));
  const result = await putLarge(trial, 'big', largeBytes('one'));
  assert.deepEqual(result.sites, [{ site: 'aws', outcome: 'durable' }]);
  trial.at('gcp').inject(once('completeUpload', lost));
  await trial.sync();
  const { record } = await trial.dataset.explain('big', trial.signal);
  for (const site of trial.names) assert.deepEqual(record.replicas[site]!.version, result.version);
  assert.equal(trial.at('gcp').count('writePart'), 3, 'no part is sent twice');
  assert.deepEqual(await trial.losers(), []);
  for (const site of trial.names) assert.deepEqual(trial.bucket(site).uploads(), []);
});

test('an upload that broke off goes on where it was: no finished part is sent again', async (t) => {
  const trial = opened(t, { settings: large });
  await putLarge(trial, 'big', largeBytes('one'));
  const gcp = trial.at('gcp');
  const lift = gcp.inject({ verbs: ['completeUpload'], effect: { kind: 'fail', code: 'unavailable' } });
  await trial.sync();
  assert.equal(gcp.count('writePart'), 3);
  lift();
  const after = await trial.syncAll();
  assert.equal(after.owed['gcp'], 0);
  assert.equal(gcp.count('writePart'), 3);
  assert.equal(gcp.count('startUpload'), 1);
  assert.equal(trial.bucket('gcp').uploads().length, 0);
});

test('an upload of an older write is given up when a newer one comes', async (t) => {
  const trial = opened(t, { settings: large });
  await putLarge(trial, 'big', largeBytes('one'));
  const lift = trial
    .at('gcp')
    .inject({ verbs: ['completeUpload'], effect: { kind: 'fail', code: 'unavailable' } });
  await trial.sync();
  assert.equal(trial.bucket('gcp').uploads().length, 1);
  lift();
  await trial.put('big', 'small now');
  await trial.syncAll();
  await trial.syncAll();
  await assertEverywhere(trial, 'big', 'small now');
  assert.equal(trial.bucket('gcp').uploads().length, 0);
});

test('a source that changes between head and read, and between parts: only whole versions arrive', async (t) => {
  const trial = opened(t, { settings: large });
  await trial.nativePut('aws', 'small', 'old');
  await trial.nativePut('aws', 'big', largeBytes('old'));
  const change = (key: string, text: string | Buffer): Fault => ({
    verbs: ['read'],
    key: (one) => one === key,
    times: 1,
    effect: { kind: 'before', run: () => trial.nativePut('aws', key, text) },
  });
  trial.at('aws').inject(change('small', 'new, and longer'));
  const fresh = largeBytes('new');
  let reads = 0;
  trial.at('aws').inject({
    verbs: ['read'],
    key: (one) => one === 'big' && ++reads === 2,
    times: 1,
    effect: { kind: 'before', run: () => trial.nativePut('aws', 'big', fresh) },
  });
  await trial.sync();
  await trial.sync();
  await assertEverywhere(trial, 'small', 'new, and longer');
  await assertEverywhere(trial, 'big', fresh.toString());
  for (const site of trial.names) assert.deepEqual(trial.bucket(site).uploads(), []);
});

test('a body that comes damaged from its source never reaches a target', async (t) => {
  const ledger = new MemoryLedgerBacking();
  const trial = opened(t, { ledger });
  await trial.put('k', 'precious');
  // What was written is shared with the targets in memory; another process must read it.
  await trial.restart(ledger);
  const lift = trial.at('aws').inject({ verbs: ['read'], key: isUsers, effect: { kind: 'corrupt' } });
  const result = await trial.sync();
  assert.deepEqual([result.owed['gcp'], result.owed['azure']], [1, 1]);
  assert.equal(await trial.nativeRead('gcp', 'k'), undefined);
  assert.match(trial.failures.join('\n'), /not the one that was written there/);
  lift();
  await trial.sync();
  await assertEverywhere(trial, 'k', 'precious');
});

test('a body that has rotted at one site is copied from another that holds it', async (t) => {
  const ledger = new MemoryLedgerBacking();
  const trial = opened(t, { ledger });
  await trial.put('k', 'precious');
  const lift = trial.at('azure').break('unavailable');
  await trial.sync();
  lift();
  trial.rot('aws', 'k', 'preciouX');
  await trial.restart(ledger);
  await trial.syncAll();
  assert.equal(await trial.nativeRead('azure', 'k'), 'precious');
});

for (const size of ['small', 'large']) {
  test(`a target that answers 200 with a wrong digest does not count (${size})`, async (t) => {
    const trial = opened(t, { settings: large });
    const bytes = size === 'small' ? Buffer.from('precious') : largeBytes('one');
    await trial.dataset.put('k', textBody(bytes), noMetadata, trial.signal);
    const verb = size === 'small' ? 'write' : 'writePart';
    trial.at('gcp').inject(once(verb, { kind: 'wrong-digest' }));
    await trial.sync();
    await trial.syncAll();
    await assertEverywhere(trial, 'k', bytes.toString());
    await trial.dataset.verify({ deep: true }, (one) => assert.fail(JSON.stringify(one)), trial.signal);
  });
}

test('retries are bounded, and a sick site is left alone for a while', async (t) => {
  const trial = opened(t);
  await trial.sync();
  const aws = trial.at('aws');
  aws.break('unavailable');
  aws.asked.length = 0;
  await assert.rejects(trial.dataset.store('aws').head('k', trial.signal), /injected/);
  assert.equal(aws.count('head'), 4);
  for (let i = 0; i < 20; i++)
    await trial.dataset
      .store('aws')
      .head('k', trial.signal)
      .catch(() => {});
  assert.ok(aws.count('head') < 15, `${aws.count('head')} requests to a site that is away`);
  await assert.rejects(trial.dataset.store('aws').head('k', trial.signal), /away .*tried again by itself/);
  aws.heal();
  await trial.until(async () =>
    trial.dataset
      .store('aws')
      .head('k', trial.signal)
      .then(
        () => true,
        () => false,
      ),
  );
});

test('throttling is waited out as long as the store says', async (t) => {
  const trial = opened(t);
  await trial.sync();
  trial.at('aws').inject(once('head', { kind: 'fail', code: 'throttled', retryAfterMs: 2_000 }));
  const begunMs = trial.world.monotonicMs();
  await trial.dataset.store('aws').head('k', trial.signal);
  assert.ok(trial.world.monotonicMs() - begunMs >= 1_950);
});

test('a site that hangs delays nobody, and gets everything when it answers again', async (t) => {
  const trial = opened(t);
  await trial.sync();
  const lift = trial.at('azure').inject({ verbs: ['write', 'head', 'read'], effect: { kind: 'hang' } });
  await trial.watching(async () => {
    for (let i = 0; i < 20; i++) await trial.put(`k${i}`, `body ${i}`);
    await trial.until(async () => Object.keys(await trial.contents('gcp')).length === 20);
    await trial.until(async () => (await trial.bus.backlog('photos')).changes === 0);
    const azure = (await trial.dataset.status()).find(({ site }) => site === 'azure')!;
    assert.equal(azure.backlogKeys, 20, 'handed over to its debts');
    assert.ok(azure.lagMs! > 0);
    assert.deepEqual(await trial.contents('azure'), {});
    lift();
    await trial.until(async () => Object.keys(await trial.contents('azure')).length === 20);
    await trial.until(async () =>
      (await trial.dataset.status()).every(({ backlogKeys }) => backlogKeys === 0),
    );
  });
});

test('one write that hangs at a site that answers otherwise is handed over after a while', async (t) => {
  const trial = opened(t);
  await trial.sync();
  const isSlow = (key: string) => key === 'slow';
  const lift = trial.at('azure').inject({ verbs: ['write'], key: isSlow, effect: { kind: 'hang' } });
  await trial.watching(async () => {
    await trial.put('slow', 'x');
    // Looking at the key asks the site, which answers: its breaker stays closed.
    await trial.until(async () => (await trial.dataset.explain('slow', trial.signal)).debts.length === 1);
    await trial.until(async () => (await trial.bus.backlog('photos')).changes === 0);
    assert.equal(await trial.nativeRead('azure', 'slow'), undefined);
    lift();
    await trial.until(async () => (await trial.nativeRead('azure', 'slow')) === 'x');
  });
});

test('a sync write that misses its quorum is not acknowledged, says what happened where, and is carried later', async (t) => {
  const trial = opened(t, { policy: { write: { kind: 'sync', acks: 'majority' } } });
  await trial.sync();
  trial.at('gcp').break('unavailable');
  trial.at('azure').break('denied');
  const failure = await trial.put('k', 'body').then(
    () => assert.fail('it was acknowledged'),
    (error: unknown) => error,
  );
  assert.ok(failure instanceof WriteFailure);
  const outcomes = Object.fromEntries(failure.sites.map(({ site, outcome }) => [site, outcome]));
  assert.equal(outcomes['aws'], 'durable');
  assert.notEqual(outcomes['gcp'], 'durable');
  assert.notEqual(outcomes['azure'], 'durable');
  assert.match(failure.message, /1 of the 2 sites.*not undone.*Write it again/s);
  assert.match(failure.message, /gcp: unknown \(.*unavailable/);
  assert.match(failure.message, /azure: failed \(.*denied/);
  for (const site of trial.names) trial.at(site).heal();
  await trial.syncAll();
  await trial.syncAll();
  await assertEverywhere(trial, 'k', 'body');
});

test('no site takes the write: said for each, and nothing is acknowledged', async (t) => {
  const trial = opened(t);
  await trial.sync();
  for (const site of trial.names) trial.at(site).break('denied');
  await assert.rejects(
    trial.put('k', 'x'),
    /no site took the write of k: aws: failed .*gcp: failed .*azure: failed/,
  );
  for (const site of trial.names) trial.at(site).heal();
});

test('what one target cannot hold is parked with the reason; the others have it; a new version is tried', async (t) => {
  const trial = opened(t, { limits: { gcp: { maxMetadataBytes: 400 }, azure: { maxKeyBytes: 20 } } });
  const wide = { ...noMetadata, user: { note: 'x'.repeat(500) } };
  await trial.nativePut('aws', 'wide', 'body', wide);
  await trial.nativePut('aws', 'a-key-that-is-too-long-for-azure', 'body');
  const result = await trial.sync();
  assert.deepEqual([result.parked, result.owed], [2, { aws: 0, gcp: 0, azure: 0 }]);
  const parked = await trial.parked();
  const [wideOne, longOne] = [
    parked.find(({ site }) => site === 'gcp')!,
    parked.find(({ site }) => site === 'azure')!,
  ];
  assert.deepEqual([wideOne.reason, longOne.reason], ['invalid', 'invalid']);
  assert.match(wideOne.detail, /bytes of user metadata.*400/);
  assert.match(longOne.detail, /32 bytes.*20/);
  assert.equal(await trial.nativeRead('azure', 'wide'), 'body');
  trial.at('gcp').asked.length = 0;
  await trial.sync();
  assert.equal(trial.at('gcp').count('write', 'wide'), 0, 'not tried again by itself');
  await trial.dataset.retryParked(wideOne.id);
  await trial.dataset.quiet();
  assert.equal((await trial.parked()).length, 2, 'a person may try, and it is still impossible');
  assert.equal(await trial.dataset.dropParked(longOne.id), true);
  assert.equal((await trial.sync()).parked, 1, 'what a person gave up does not come back by itself');
  await trial.nativePut('aws', 'wide', 'narrower', { ...noMetadata, user: { note: 'x' } });
  assert.equal((await trial.sync()).parked, 0);
  await assertEverywhere(trial, 'wide', 'narrower');
});

test('a native overwrite that preserves our metadata is a new write', async (t) => {
  const trial = opened(t);
  await trial.put('k', 'aaaa');
  await trial.sync();
  const head = await trial.at('gcp').store.head('k', trial.signal);
  await trial.nativePut('gcp', 'k', 'bbbb', head!.metadata);
  await trial.sync();
  await assertEverywhere(trial, 'k', 'bbbb');
});

test('an old version that is restored at one site is brought to all', async (t) => {
  const trial = opened(t);
  await trial.put('k', 'first');
  const old = await trial.at('aws').store.head('k', trial.signal);
  await trial.put('k', 'second');
  await trial.sync();
  await trial.nativePut('gcp', 'k', 'first', old!.metadata);
  await trial.nativePut('aws', 'copy', 'first', old!.metadata);
  await trial.sync();
  await assertEverywhere(trial, 'k', 'first');
  await assertEverywhere(trial, 'copy', 'first');
});

test('verify finds a rotten body, repair writes it anew and keeps the damaged one', async (t) => {
  const trial = opened(t);
  await trial.put('k', 'precious');
  await trial.sync();
  trial.rot('gcp', 'k', 'preciouX');
  const found: Parameters<Parameters<typeof trial.dataset.verify>[1]>[0][] = [];
  const look = () => trial.dataset.verify({ deep: true }, (one) => void found.push(one), trial.signal);
  assert.equal((await look()).counts.differs, 1);
  assert.deepEqual([found[0]!.site, found[0]!.rotten?.good.toSorted()], ['gcp', ['aws', 'azure']]);
  assert.equal(await trial.dataset.repair(found[0]!, trial.signal), true);
  await assertEverywhere(trial, 'k', 'precious');
  const losers = await trial.losers();
  assert.equal(losers.length, 1);
  assert.equal(await trial.nativeRead('gcp', losers[0]!.keptAs), 'preciouX');
  assert.deepEqual((await look()).counts, { missing: 0, extra: 0, differs: 0, unreadable: 0 });
  assert.equal(await trial.dataset.repair(found[0]!, trial.signal), false, 'it is no longer the damaged one');
});

test('without a ledger: nothing is deleted, nothing that is in place is copied', async (t) => {
  const trial = opened(t);
  for (let i = 0; i < 10; i++) await trial.nativePut('aws', `native${i}`, `body ${i}`);
  for (let i = 0; i < 10; i++) await trial.put(`put${i}`, `body ${i}`);
  await trial.nativePut('gcp', 'at-gcp', 'x');
  await trial.sync();
  await trial.nativePut('azure', 'native3', 'changed later');
  await trial.nativePut('aws', 'native5', 'changed later');
  await trial.sync();
  const before = await trial.contents('aws');
  const versionsOf = async (key: string) => {
    const { replicas } = (await trial.dataset.explain(key, trial.signal)).record;
    return trial.names.map((site) => replicas[site]!.version);
  };
  const known = [
    await versionsOf('native1'),
    await versionsOf('native3'),
    await versionsOf('native5'),
    await versionsOf('put1'),
  ];
  await trial.restart();
  const result = await trial.sync();
  assert.deepEqual([result.away, result.owed, result.guarded], [{}, { aws: 0, gcp: 0, azure: 0 }, 0]);
  for (const site of trial.names) {
    assert.deepEqual(await trial.contents(site), before, site);
    const wrote = trial.at(site).asked.filter(({ verb, key }) => verb === 'write' && key !== markerKey);
    assert.deepEqual(wrote, [], `${site} was written to`);
  }
  assert.deepEqual(await trial.losers(), []);
  assert.deepEqual(trial.removed, []);
  const found = [
    await versionsOf('native1'),
    await versionsOf('native3'),
    await versionsOf('native5'),
    await versionsOf('put1'),
  ];
  assert.deepEqual(found, known, 'originals, too, have their old version again');
  await trial.nativeRemove('gcp', 'native1');
  await trial.sync();
  await assertEverywhere(trial, 'native1', undefined);
});

test('without a ledger and with a site that changed meanwhile, the later write wins', async (t) => {
  const trial = opened(t);
  await trial.put('k', 'old');
  await trial.put('gone', 'x');
  await trial.sync();
  await trial.nativePut('gcp', 'k', 'newer');
  await trial.nativeRemove('gcp', 'gone');
  await trial.restart();
  await trial.sync();
  await assertEverywhere(trial, 'k', 'newer');
  await assertEverywhere(trial, 'gone', 'x');
});

test('a key that cannot be looked at is said: the pass is not complete', async (t) => {
  const trial = opened(t);
  await trial.nativePut('aws', 'k', 'one');
  await trial.sync();
  await trial.nativePut('gcp', 'k', 'two');
  const lift = trial
    .at('gcp')
    .inject({ verbs: ['head', 'read'], key: isUsers, effect: { kind: 'fail', code: 'unavailable' } });
  const result = await trial.sync();
  assert.match(result.away['gcp'] ?? '', /injected|away/);
  lift();
  await trial.syncAll();
  await assertEverywhere(trial, 'k', 'two');
});
