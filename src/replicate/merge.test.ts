import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { MemoryLedgerBacking } from '../ledgers/memory/ledger.ts';
import { limits } from '../merging/rule.ts';
import { StoreFailure } from '../model/failure.ts';
import type { Conflicts } from '../model/policy.ts';
import { Trial, type TrialOptions } from '../testing/trial.ts';
import type { MergeFor } from './merge.ts';

const words = (body: Uint8Array) => Buffer.from(body).toString().split(' ');

/** The words of both, in order: commutes, associates, is idempotent. */
const union: MergeFor = () => (winner, loser) => {
  const all = [...new Set([...words(winner.body), ...words(loser.body)])].sort();
  return {
    kind: 'merged',
    body: Buffer.from(all.join(' ')),
    metadata: winner.metadata,
    clocks: {},
    dropped: [],
    droppedOfWinner: [],
  };
};

function opened(t: TestContext, conflicts: Conflicts, more: TrialOptions = {}): Trial {
  const trial = new Trial({ merges: union, ...more, policy: { conflicts, ...more.policy } });
  t.after(() => trial.close());
  return trial;
}

/** Both sites write on top of the same, and neither hears of the other. */
async function conflict(trial: Trial, first: string, second: string, key = 'k'): Promise<void> {
  await trial.nativePut('aws', key, 'base');
  await trial.syncAll();
  await trial.nativePut('aws', key, first);
  await trial.nativePut('gcp', key, second);
}

async function settled(trial: Trial): Promise<Record<string, string>> {
  await trial.syncAll();
  const [first, ...others] = await Promise.all(trial.names.map((site) => trial.contents(site)));
  for (const one of others) assert.deepEqual(one, first);
  const idle = await trial.sync();
  assert.deepEqual([idle.owed, idle.away], [{ aws: 0, gcp: 0, azure: 0 }, {}]);
  return first!;
}

test('two writes that met become one, with the metadata of the later, everywhere', async (t) => {
  const trial = opened(t, 'merge-json');
  await conflict(trial, 'base a', 'base b');
  assert.deepEqual(await settled(trial), { k: 'a b base' });
  assert.deepEqual(await trial.losers(), []);
});

test('the ancestor is handed in where a site still holds it, and what was not dropped is not kept', async (t) => {
  const bases: (string | undefined)[] = [];
  const merges: MergeFor = (rule, key) => (winner, loser, base, signal) => {
    bases.push(base && Buffer.from(base.body).toString());
    return union(rule, key)(winner, loser, base, signal);
  };
  const trial = opened(t, 'merge-json', { merges });
  await conflict(trial, 'a', 'b');
  const lift = trial.at('azure').inject({ verbs: ['write'], effect: { kind: 'fail', code: 'unavailable' } });
  await trial.sync();
  lift();
  await settled(trial);
  assert.deepEqual(bases, ['base']);
});

test('three writes that met become one', async (t) => {
  const trial = opened(t, 'merge-json');
  await conflict(trial, 'a', 'b');
  await trial.nativePut('azure', 'k', 'c');
  assert.deepEqual(await settled(trial), { k: 'a b c' });
});

test('a side that the merge did not use up is kept where it stood', async (t) => {
  const merges: MergeFor = () => (winner) => ({
    kind: 'merged',
    body: Buffer.from('made'),
    metadata: winner.metadata,
    clocks: {},
    dropped: ['/a', 'metadata:/user/owner'],
    droppedOfWinner: ['/b'],
  });
  const trial = opened(t, 'merge-json', { merges });
  await conflict(trial, 'first', 'second');
  assert.deepEqual(await settled(trial), { k: 'made' });
  const losers = await trial.losers();
  const bodies = await Promise.all(losers.map(({ site, keptAs }) => trial.nativeRead(site, keptAs)));
  assert.deepEqual(bodies.sort(), ['first', 'second']);
  assert.deepEqual(losers.map(({ because }) => because).sort(), [
    'the merge left out /a, metadata:/user/owner',
    'the merge left out /b',
  ]);
});

test('what cannot be merged is decided by the later write, and the other is kept with the reason', async (t) => {
  const merges: MergeFor = () => () => ({ kind: 'not-merged', because: 'the body is not JSON' });
  const trial = opened(t, 'merge-json', { merges });
  await conflict(trial, 'first', 'second');
  assert.deepEqual(await settled(trial), { k: 'second' });
  const [loser, ...none] = await trial.losers();
  assert.deepEqual([loser?.because, none], ['the body is not JSON', []]);
});

test('a body beyond the limit is not read into memory for a merge', async (t) => {
  const merges: MergeFor = () => () => assert.fail('it was read');
  const trial = opened(t, 'merge-json', { merges });
  await conflict(trial, 'x'.repeat(limits.bodyBytes + 1), 'second');
  assert.deepEqual(await settled(trial), { k: 'second' });
  assert.match((await trial.losers())[0]?.because ?? '', /8388609 bytes is not merged/);
});

test('a hook that fails parks the key, is not asked by every pass, and is asked again when a person says so', async (t) => {
  let asked = 0;
  let well = false;
  const merges: MergeFor = (rule, key) => (winner, loser, base, signal) => {
    asked += 1;
    if (!well) throw new StoreFailure('unmerged', 'the hook answered 500');
    return union(rule, key)(winner, loser, base, signal);
  };
  const trial = opened(t, { hook: { url: 'http://127.0.0.1:1', timeoutMs: 1_000 } }, { merges });
  await conflict(trial, 'a', 'b');
  await trial.sync();
  for (let i = 0; i < 3; i++) await trial.sync();
  assert.equal(asked, 1);
  const [parked] = await trial.parked();
  assert.deepEqual([parked?.reason, parked?.detail], ['unmerged', 'the hook answered 500']);
  well = true;
  assert.equal(await trial.dataset.retryParked(parked!.id), true);
  assert.deepEqual(await settled(trial), { k: 'a b' });
  assert.deepEqual(await trial.parked(), []);
  const losers = await trial.losers();
  const bodies = await Promise.all(losers.map(({ site, keptAs }) => trial.nativeRead(site, keptAs)));
  assert.deepEqual(bodies.sort(), ['a', 'b'], 'with a hook both are kept');
});

test('a deletion is not merged: the later of the two stands, and a body that loses is kept', async (t) => {
  const trial = opened(t, 'merge-json');
  await conflict(trial, 'a', 'b');
  await trial.syncAll();
  await trial.nativePut('gcp', 'k', 'edited');
  await trial.dataset.remove('k', trial.signal);
  const left = await settled(trial);
  const losers = await trial.losers();
  assert.ok(left.k === 'edited' || losers.length === 1, JSON.stringify([left, losers]));
});

test('a merge whose answer was lost is known again, and one that a native write overtook is made anew', async (t) => {
  const trial = opened(t, 'merge-json');
  await conflict(trial, 'a', 'b');
  trial.at('aws').inject({
    verbs: ['write'],
    key: (key) => key === 'k',
    times: 1,
    effect: { kind: 'lost-reply' },
  });
  assert.deepEqual(await settled(trial), { k: 'a b' });
  await trial.nativePut('aws', 'k', 'c');
  await trial.nativePut('gcp', 'k', 'd');
  const overtake = { kind: 'before', run: () => trial.nativePut('aws', 'k', 'e') } as const;
  trial.at('aws').inject({ verbs: ['write'], key: (key) => key === 'k', times: 1, effect: overtake });
  assert.deepEqual(await settled(trial), { k: 'd e' });
});

test('two workers that merge apart agree', async (t) => {
  const ledger = new MemoryLedgerBacking();
  const one = opened(t, 'merge-json', { ledger });
  const two = opened(t, 'merge-json', { ledger, buckets: one.buckets, world: one.world });
  for (let i = 0; i < 8; i++) {
    await conflict(one, `a${i}`, `b${i}`);
    await one.nativePut('azure', 'k', `c${i}`);
    await Promise.all([one.sync(), two.sync()]);
    await Promise.all([one.sync(), two.sync()]);
    await settled(two);
    assert.deepEqual(await settled(one), { k: `a${i} b${i} c${i}` });
    const before = one.names.map((site) => one.bucket(site).object('k')!);
    await one.sync();
    await two.sync();
    const after = one.names.map((site) => one.bucket(site).object('k')!);
    assert.deepEqual(after, before, 'nobody writes any more');
  }
});

test('the clocks of a merge are handed in with the next one', async (t) => {
  const seen: unknown[] = [];
  const merges: MergeFor = (rule, key) => async (winner, loser, base, signal) => {
    seen.push(winner.clocks, loser.clocks);
    const merged = await union(rule, key)(winner, loser, base, signal);
    return merged.kind === 'merged' ? { ...merged, clocks: { '/a': `then ${seen.length}` } } : merged;
  };
  const trial = opened(t, 'merge-json', { merges });
  await conflict(trial, 'a', 'b');
  const lift = trial.at('azure').break('unavailable');
  await trial.sync();
  await trial.nativePut('azure', 'k', 'c');
  lift();
  assert.deepEqual(await settled(trial), { k: 'a b c' });
  const told = seen.filter((one) => one !== undefined);
  assert.ok(told.length > 0);
  for (const one of told) assert.deepEqual(one, { '/a': 'then 2' });
});

test('a loser that is kept for a conflict is not kept for undo instead; what is merged in whole is', async (t) => {
  const guards = { maxDeletes: { keys: 100, share: 1 }, keep: { forMs: 1e12, bytes: 1e9 } };
  const dropping: MergeFor = (rule, key) => async (winner, loser, base, signal) => {
    const merged = await union(rule, key)(winner, loser, base, signal);
    return merged.kind === 'merged' ? { ...merged, dropped: ['/a'] } : merged;
  };
  for (const [merges, because] of [
    [dropping, 'the merge left out /a'],
    [union, 'kept for undo'],
  ] as const) {
    const trial = opened(t, 'merge-json', { merges, policy: { guards } });
    await conflict(trial, 'a', 'b');
    await settled(trial);
    const kept = await trial.losers();
    const bodies = await Promise.all(kept.map(({ site, keptAs }) => trial.nativeRead(site, keptAs)));
    assert.equal(kept[bodies.indexOf('a')]?.because, because);
  }
});
