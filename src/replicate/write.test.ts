import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { MemoryLedger, MemoryLedgerBacking } from '../ledgers/memory/ledger.ts';
import { StateFailure } from '../model/failure.ts';
import { noMetadata } from '../model/metadata.ts';
import type { Policy } from '../model/policy.ts';
import type { Ledger, LedgerWrite } from '../ports/ledger.ts';
import type { Effect, Verb } from '../testing/faulty-store.ts';
import { Trial, type TrialOptions, textBody } from '../testing/trial.ts';
import { decodeRecord } from './records.ts';
import { WriteFailure, type WriteResult } from './write.ts';

function opened(t: TestContext, options: TrialOptions = {}): Trial {
  const trial = new Trial(options);
  t.after(() => trial.close());
  return trial;
}

function sync(acks: 'majority' | 'all'): { policy: Partial<Policy> } {
  return { policy: { write: { kind: 'sync', acks } } };
}

const isK = (key: string) => key === 'k';
/** As often as one call is tried. */
const tries = 4;

function fault(verb: Verb, effect: Effect, times: number) {
  return { verbs: [verb], key: isK, times, effect };
}

const unavailable = { kind: 'fail', code: 'unavailable' } as const;
const denied = { kind: 'fail', code: 'denied' } as const;

function outcomesOf({ sites }: Pick<WriteResult, 'sites'>): string[] {
  return sites.map(({ site, outcome }) => `${site} ${outcome}`);
}

async function failureOf(write: Promise<unknown>): Promise<WriteFailure> {
  const failure = await write.then(
    () => assert.fail('it was acknowledged'),
    (error: unknown) => error,
  );
  assert.ok(failure instanceof WriteFailure, String(failure));
  return failure;
}

async function assertEverywhere(trial: Trial, text: string | undefined): Promise<void> {
  for (const site of trial.names) assert.equal(await trial.nativeRead(site, 'k'), text, site);
}

async function replicasOf(trial: Trial) {
  return (await trial.dataset.explain('k', trial.signal)).record.replicas;
}

function around(commit: (ledger: Ledger, writes: readonly LedgerWrite[]) => ReturnType<Ledger['commit']>) {
  return (ledger: Ledger): Ledger =>
    new Proxy(ledger, {
      get: (target, name) => {
        if (name === 'commit') return (writes: readonly LedgerWrite[]) => commit(target, writes);
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
}

/** The sites that a commit will have the ledger know of `k`. */
function sitesKnown(writes: readonly LedgerWrite[]): string[] {
  const row = writes.find(({ table, id }) => table === 'keys' && id.endsWith('\0k'));
  return Object.keys((row?.value as { replicas?: object } | undefined)?.replicas ?? {});
}

test('a site that did not answer at first and has it in the end stands once, as durable', async (t) => {
  const trial = opened(t, sync('all'));
  await trial.sync();
  trial.at('aws').inject(fault('write', unavailable, tries));
  const result = await trial.put('k', 'body');
  assert.deepEqual(outcomesOf(result), ['aws durable', 'gcp durable', 'azure durable']);
});

test('an attempt that was not answered stays unknown, whatever became of the copy', async (t) => {
  const trial = opened(t, sync('all'));
  await trial.sync();
  trial.at('aws').inject(fault('write', { kind: 'lost-reply' }, 1));
  trial.at('aws').inject({ verbs: ['head'], key: isK, effect: denied });
  const failure = await failureOf(trial.put('k', 'body'));
  assert.deepEqual(outcomesOf(failure), ['aws unknown', 'gcp durable', 'azure durable']);
  assert.match(failure.message, /durable at 2 of the 3.*aws: unknown \(/s);
  assert.equal(await trial.nativeRead('aws', 'k'), 'body');
});

test('a site that refused is not said to hold it, nor one that gave no answer to the copy', async (t) => {
  const trial = opened(t, sync('all'));
  await trial.sync();
  trial.at('aws').break('denied');
  trial.at('azure').break('unavailable');
  const failure = await failureOf(trial.put('k', 'body'));
  assert.deepEqual(outcomesOf(failure), ['aws failed', 'gcp durable', 'azure unknown']);
});

test('what is acknowledged names the site that is still asked, and says the same afterwards', async (t) => {
  const trial = opened(t, sync('majority'));
  await trial.sync();
  const lift = trial.at('azure').inject(fault('write', { kind: 'hang' }, 1));
  const result = await trial.put('k', 'body');
  const said = ['aws durable', 'gcp durable', 'azure unknown'];
  assert.deepEqual(outcomesOf(result), said);
  lift();
  await trial.until(async () => (await replicasOf(trial))['azure'] !== undefined);
  assert.deepEqual(outcomesOf(result), said);
});

test('a site where a write made beside it has won does not count', async (t) => {
  const trial = opened(t, sync('all'));
  await trial.sync();
  const run = () => trial.nativePut('gcp', 'k', 'beside');
  trial.at('aws').inject(fault('write', { kind: 'before', run }, 1));
  const failure = await failureOf(trial.put('k', 'body'));
  assert.ok(outcomesOf(failure).includes('gcp failed'), failure.message);
  await trial.sync();
  await assertEverywhere(trial, 'beside');
  assert.deepEqual(
    (await trial.losers()).map(({ site }) => site).filter((site) => site === 'aws'),
    ['aws'],
  );
});

/** Longer than what counts as soon written: nobody gives it up, and its answer comes when the fault is lifted. */
const long = (text: string) => text.repeat(70 * 1024);

/** `one` hangs at aws, which falls silent, and is taken by gcp; the result lets it go on. */
async function putBesideSilence(trial: Trial, one: string): Promise<() => void> {
  const aws = trial.at('aws');
  const isProbe = (key: string) => key === 'probe';
  const liftWrite = aws.inject(fault('write', { kind: 'hang' }, 1));
  const liftHead = aws.inject({ verbs: ['head'], key: isProbe, effect: { kind: 'hang' } });
  const put = trial.put('k', one);
  await trial.until(() => aws.count('write', 'k') === 1);
  const probed = trial.dataset
    .store('aws')
    .head('probe', trial.signal)
    .catch(() => {});
  assert.deepEqual(outcomesOf(await put), ['aws unknown', 'gcp durable']);
  liftHead();
  await probed;
  await trial.until(() =>
    trial.dataset
      .store('aws')
      .head('probe', trial.signal)
      .then(
        () => true,
        () => false,
      ),
  );
  return liftWrite;
}

for (const written of ['nothing', 'an older write']) {
  test(`a write that two sites took is one write: what is written over it covers both (on ${written})`, async (t) => {
    const trial = opened(t);
    await trial.sync();
    if (written !== 'nothing') await trial.put('k', 'zero');
    if (written !== 'nothing') await trial.sync();
    const lift = await putBesideSilence(trial, long('1'));
    await trial.put('k', 'two');
    lift();
    await trial.until(async () => (await trial.nativeRead('aws', 'k')) === long('1'));
    await trial.sync();
    await assertEverywhere(trial, 'two');
    assert.deepEqual(await trial.losers(), []);
  });
}

test('so it is where the first took effect, and its answer never came', async (t) => {
  const trial = opened(t);
  await trial.sync();
  const aws = trial.at('aws');
  aws.inject(fault('write', { kind: 'lost-reply' }, 1));
  const lift = aws.inject({ verbs: ['head'], key: isK, effect: unavailable });
  assert.deepEqual(outcomesOf(await trial.put('k', 'one')), ['aws unknown', 'gcp durable']);
  assert.equal(await trial.nativeRead('aws', 'k'), 'one');
  await trial.put('k', 'two');
  lift();
  await trial.syncAll();
  await assertEverywhere(trial, 'two');
  assert.deepEqual(await trial.losers(), []);
});

test('a write over the late copy covers the one that was acknowledged', async (t) => {
  const trial = opened(t);
  await trial.sync();
  const lift = await putBesideSilence(trial, long('1'));
  lift();
  await trial.until(async () => (await replicasOf(trial))['aws'] !== undefined);
  trial.at('gcp').inject({ verbs: ['write'], key: isK, times: 1, effect: denied });
  await trial.put('k', 'two');
  await trial.syncAll();
  await assertEverywhere(trial, 'two');
  assert.deepEqual(await trial.losers(), []);
});

test('a write over a copy of it elsewhere covers both, too', async (t) => {
  const trial = opened(t);
  await trial.sync();
  const liftWrite = await putBesideSilence(trial, long('1'));
  const allow = trial.at('aws').inject({ verbs: ['write'], key: isK, effect: denied });
  await trial.sync();
  assert.equal(await trial.nativeRead('azure', 'k'), long('1'));
  trial.at('gcp').inject(fault('write', denied, 1));
  assert.deepEqual(outcomesOf(await trial.put('k', 'two')), ['gcp failed', 'azure durable']);
  allow();
  liftWrite();
  await trial.until(async () => (await trial.nativeRead('aws', 'k')) === long('1'));
  await trial.syncAll();
  await assertEverywhere(trial, 'two');
  assert.deepEqual(await trial.losers(), []);
});

test('a late attempt that finds a newer write does not write its own once more', async (t) => {
  const trial = opened(t);
  await trial.sync();
  const lift = await putBesideSilence(trial, long('1'));
  await trial.put('k', 'two');
  await trial.sync();
  await assertEverywhere(trial, 'two');
  const aws = trial.at('aws');
  const [heads, writes] = [aws.count('head', 'k'), aws.count('write', 'k')];
  lift();
  await trial.until(() => aws.count('head', 'k') > heads);
  await trial.world.sleep(500, trial.signal);
  assert.equal(aws.count('write', 'k'), writes);
  await trial.sync();
  await assertEverywhere(trial, 'two');
});

test('what never came to the first site is not covered by what is written there later', async (t) => {
  const trial = opened(t);
  await trial.sync();
  trial.at('aws').inject(fault('write', unavailable, tries));
  assert.deepEqual(outcomesOf(await trial.put('k', 'acknowledged')), ['aws unknown', 'gcp durable']);
  trial.at('gcp').break('denied');
  for (const text of ['beside', 'later']) {
    const { sites } = await trial.put('k', text);
    assert.deepEqual(sites.at(-1), { site: 'aws', outcome: 'durable' });
  }
  trial.at('gcp').heal();
  await trial.syncAll();
  await assertEverywhere(trial, 'later');
  const [loser, ...more] = await trial.losers();
  assert.deepEqual([loser?.site, more], ['gcp', []]);
  assert.equal(await trial.nativeRead('gcp', loser!.keptAs), 'acknowledged');
});

test('a deletion that two sites took is one: what is written over it stays', async (t) => {
  const trial = opened(t);
  await trial.put('k', 'zero');
  await trial.sync();
  trial.at('aws').inject(fault('remove', { kind: 'lost-reply' }, 1));
  const lift = trial.at('aws').inject(fault('head', unavailable, tries));
  const removed = await trial.dataset.remove('k', trial.signal);
  assert.deepEqual(outcomesOf(removed!), ['aws unknown', 'gcp durable']);
  lift();
  await trial.put('k', 'risen');
  await trial.syncAll();
  await assertEverywhere(trial, 'risen');
  assert.deepEqual(await trial.losers(), []);
});

test('a bus that fails after a site has it: no acknowledgement, and it is said where it is', async (t) => {
  const trial = opened(t);
  await trial.sync();
  const { publish } = trial.bus;
  Object.assign(trial.bus, { publish: () => Promise.reject(new StateFailure('full', 'no space left')) });
  const failure = await failureOf(trial.put('k', 'body'));
  assert.deepEqual(outcomesOf(failure), ['aws durable']);
  assert.match(failure.message, /not undone.*no space left.*Write it again/s);
  Object.assign(trial.bus, { publish });
  await trial.sync();
  await assertEverywhere(trial, 'body');
});

test('a ledger that fails after a site has it: the write may have taken effect, and it is said', async (t) => {
  let isFull = false;
  const ledgerAround = around((ledger, writes) => {
    if (isFull) throw new StateFailure('full', 'no space left');
    return ledger.commit(writes);
  });
  const trial = opened(t, { ledgerAround });
  await trial.sync();
  isFull = true;
  const failure = await failureOf(trial.put('k', 'body'));
  assert.deepEqual(outcomesOf(failure), ['aws unknown']);
  assert.ok(failure.cause instanceof StateFailure);
  isFull = false;
  await trial.sync();
  await assertEverywhere(trial, 'body');
});

test('one site refuses for good what another may have: both are said', async (t) => {
  const trial = opened(t, { limits: { gcp: { maxMetadataBytes: 400 } } });
  await trial.sync();
  trial.at('aws').inject(fault('write', unavailable, tries));
  const wide = { ...noMetadata, user: { note: 'x'.repeat(500) } };
  const failure = await failureOf(trial.put('k', 'body', wide));
  assert.deepEqual(outcomesOf(failure), ['aws unknown', 'gcp failed']);
});

test('who stops waiting when enough sites have it is told so', async (t) => {
  const stop = new AbortController();
  const ledgerAround = around(async (ledger, writes) => {
    const result = await ledger.commit(writes);
    if (sitesKnown(writes).length === 2) stop.abort(new Error('stopped'));
    return result;
  });
  const trial = opened(t, { ...sync('majority'), ledgerAround });
  await trial.sync();
  const result = await trial.dataset.put('k', textBody('body'), noMetadata, stop.signal);
  assert.equal(result.sites.filter(({ outcome }) => outcome === 'durable').length, 2);
});

test('what another worker wrote over it before the ledger knew stands in the ledger', async (t) => {
  const backing = new MemoryLedgerBacking();
  let overwrite: (() => Promise<unknown>) | undefined;
  const ledgerAround = around(async (ledger, writes) => {
    const once = overwrite;
    if (sitesKnown(writes).includes('aws')) overwrite = undefined;
    if (once && !overwrite) await once();
    return ledger.commit(writes);
  });
  const trial = opened(t, { ledger: backing, ledgerAround });
  await trial.sync();
  const other = opened(t, { ledger: backing, buckets: trial.buckets, world: trial.world });
  let later: WriteResult | undefined;
  overwrite = async () => {
    later = await other.put('k', 'two');
  };
  await trial.put('k', 'one');
  const row = await new MemoryLedger(backing).get('keys', 'photos\0k');
  assert.deepEqual(decodeRecord('k', row!.value).replicas['aws']!.version, later!.version);
  await trial.sync();
  await assertEverywhere(trial, 'two');
  assert.deepEqual(await trial.losers(), []);
});

for (const first of ['the one in doubt', 'the other']) {
  test(`two writes that were given one dot are two: ${first} comes to the ledger first`, async (t) => {
    const ledger = new MemoryLedgerBacking();
    let between: (() => Promise<unknown>) | undefined;
    const ledgerAround = around(async (inner, writes) => {
      const run = sitesKnown(writes).length > 0 ? between : undefined;
      if (run) between = undefined;
      await run?.();
      return inner.commit(writes);
    });
    const slow = opened(t, { ledger, ledgerAround });
    await slow.sync();
    const quick = opened(t, { ledger, buckets: slow.buckets, world: slow.world });
    const [doubting, other] = first === 'the other' ? [slow, quick] : [quick, slow];
    const inDoubt = async () => {
      doubting.at('aws').inject(fault('write', unavailable, tries));
      assert.deepEqual(outcomesOf(await doubting.put('k', 'in doubt')), ['aws unknown', 'gcp durable']);
    };
    const beside = () => other.put('k', 'beside');
    between = first === 'the other' ? beside : inDoubt;
    await (first === 'the other' ? inDoubt() : beside());
    quick.at('aws').inject(fault('write', denied, 1));
    const { sites } = await quick.put('k', 'over what gcp holds');
    assert.equal(sites.at(-1)!.site, 'gcp');
    await quick.syncAll();
    await assertEverywhere(quick, 'over what gcp holds');
    const losers = await quick.losers();
    const kept = await Promise.all(losers.map(({ site, keptAs }) => quick.nativeRead(site, keptAs)));
    assert.deepEqual(kept, ['beside']);
  });
}
