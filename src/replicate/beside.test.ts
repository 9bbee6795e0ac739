import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { MemoryLedgerBacking } from '../ledgers/memory/ledger.ts';
import { noMetadata } from '../model/metadata.ts';
import type { Conflicts } from '../model/policy.ts';
import { Trial, type TrialOptions } from '../testing/trial.ts';

function opened(t: TestContext, conflicts: Conflicts = 'keep-both', more: TrialOptions = {}): Trial {
  const trial = new Trial({ ...more, policy: { conflicts } });
  t.after(() => trial.close());
  return trial;
}

async function everywhere(trial: Trial): Promise<Record<string, string>> {
  await trial.syncAll();
  const [first, ...others] = await Promise.all(trial.names.map((site) => trial.contents(site)));
  for (const one of others) assert.deepEqual(one, first);
  return first!;
}

const isSibling = (key: string) => key.includes('.conflict-');

test('the loser becomes a key of its own, everywhere, with its metadata and tags', async (t) => {
  const trial = opened(t);
  const metadata = { ...noMetadata, contentType: 'image/png', user: { owner: 'ann' }, tags: { a: 'b' } };
  await trial.nativePut('aws', 'dir/photo.png', 'first', metadata);
  await trial.nativePut('gcp', 'dir/photo.png', 'second');
  const all = await everywhere(trial);
  const sibling = Object.keys(all).find(isSibling) ?? assert.fail();
  assert.match(sibling, /^dir\/photo\.conflict-aws-\d{8}T\d{6}Z-[0-9a-f]{8}\.png$/);
  assert.deepEqual(all, { 'dir/photo.png': 'second', [sibling]: 'first' });
  for (const site of trial.names) {
    const { metadata: found } = trial.bucket(site).object(sibling)!;
    assert.deepEqual([found.contentType, found.user.owner, found.tags], ['image/png', 'ann', { a: 'b' }]);
  }
  assert.deepEqual(await trial.losers(), [], 'nothing is kept elsewhere as well');
});

test('a large loser goes beside in parts', async (t) => {
  const trial = opened(t);
  const large = 'longer than a part'.repeat(500_000);
  await trial.nativePut('aws', 'k', large);
  await trial.nativePut('gcp', 'k', 'second');
  assert.deepEqual(Object.values(await everywhere(trial)).sort(), [large, 'second']);
});

test('a deletion that was later leaves the body beside', async (t) => {
  const trial = opened(t);
  await trial.nativePut('aws', 'k', 'old');
  await trial.syncAll();
  const lift = trial.at('gcp').break('unavailable');
  await trial.nativePut('gcp', 'k', 'edited');
  await trial.dataset.remove('k', trial.signal);
  await trial.sync();
  lift();
  const all = await everywhere(trial);
  assert.deepEqual(Object.values(all), ['edited']);
});

test('a retry after somebody deleted the sibling does not bring it back', async (t) => {
  const trial = opened(t);
  await trial.nativePut('aws', 'k', 'first');
  await trial.nativePut('gcp', 'k', 'second');
  // The sibling is made, and writing the winner over the loser fails.
  const lift = trial.at('aws').inject({
    verbs: ['write'],
    key: (key) => key === 'k',
    effect: { kind: 'fail', code: 'full' },
  });
  await trial.sync();
  const sibling = Object.keys(await trial.contents('aws')).find(isSibling) ?? assert.fail();
  assert.equal(await trial.nativeRead('aws', 'k'), 'first');
  await trial.nativeRemove('aws', sibling);
  await trial.sync({ yes: true });
  lift();
  assert.deepEqual(await everywhere(trial), { k: 'second' });
});

test('a sibling whose answer was lost is known again, and made once', async (t) => {
  const trial = opened(t);
  await trial.nativePut('aws', 'k', 'first');
  await trial.nativePut('gcp', 'k', 'second');
  trial.at('aws').inject({ verbs: ['write'], key: isSibling, times: 1, effect: { kind: 'lost-reply' } });
  assert.deepEqual(Object.values(await everywhere(trial)).sort(), ['first', 'second']);
  const [sibling] = Object.keys(await trial.contents('aws')).filter(isSibling);
  const versions = trial.names.map((site) => trial.bucket(site).object(sibling!)!.metadata.user.isobar);
  assert.equal(new Set(versions.map((one) => one?.split(';')[4])).size, 1, 'one operation');
});

test('two workers make one sibling, and it is the same', async (t) => {
  const ledger = new MemoryLedgerBacking();
  const one = opened(t, 'keep-both', { ledger });
  const two = opened(t, 'keep-both', { ledger, buckets: one.buckets, world: one.world });
  await one.nativePut('aws', 'k', 'first');
  await one.nativePut('gcp', 'k', 'second');
  await one.nativePut('azure', 'k', 'third');
  await Promise.all([one.sync(), two.sync()]);
  await everywhere(two);
  assert.deepEqual(Object.values(await everywhere(one)).sort(), ['first', 'second', 'third']);
});

test('a name that somebody else has already is left to them, and the loser is kept aside', async (t) => {
  const trial = opened(t);
  let taken = '';
  const take = async (key: string) => {
    taken = key;
    await trial.nativePut('aws', key, 'a file of that name');
  };
  trial
    .at('aws')
    .inject({ verbs: ['write'], key: isSibling, times: 1, effect: { kind: 'before', run: take } });
  await trial.nativePut('aws', 'k', 'first');
  await trial.nativePut('gcp', 'k', 'second');
  await trial.syncAll();
  assert.deepEqual(await everywhere(trial), { k: 'second', [taken]: 'a file of that name' });
  const [loser] = await trial.losers();
  assert.match(loser?.because ?? '', /something else already stands under/);
  assert.equal(await trial.nativeRead('aws', loser!.keptAs), 'first');
});

test('prefer: the earlier write at that site wins, and the later one is kept', async (t) => {
  const trial = opened(t, [
    { match: 'a/**', rule: { prefer: 'aws' } },
    { match: '**', rule: 'last-writer-wins' },
  ]);
  for (const key of ['a/k', 'b/k']) {
    await trial.nativePut('aws', key, 'earlier');
    await trial.nativePut('gcp', key, 'later');
  }
  assert.deepEqual(await everywhere(trial), { 'a/k': 'earlier', 'b/k': 'later' });
  const bodies = (await trial.losers()).map(({ site, keptAs }) => trial.nativeRead(site, keptAs));
  assert.deepEqual((await Promise.all(bodies)).sort(), ['earlier', 'later']);
  const read = await trial.dataset.get('a/k', {}, trial.signal);
  assert.equal(Buffer.from(await read!.bytes()).toString(), 'earlier');
});
