import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { noMetadata } from '../model/metadata.ts';
import { Trial } from '../testing/trial.ts';
import type { KeptWrite } from './conflicts.ts';

const metadata = { ...noMetadata, contentType: 'text/plain', user: { owner: 'ann' }, tags: { a: 'b' } };

/** At aws the first, at gcp the second, which won. */
async function decided(t: TestContext, first = 'first', second = 'second'): Promise<Trial> {
  const trial = new Trial();
  t.after(() => trial.close());
  await trial.nativePut('aws', 'k', first, metadata);
  await trial.nativePut('gcp', 'k', second);
  await trial.syncAll();
  return trial;
}

async function kept(trial: Trial, key?: string): Promise<readonly KeptWrite[]> {
  const all: KeptWrite[] = [];
  for await (const one of trial.dataset.keptWrites(key)) all.push(one);
  return all;
}

async function bodiesOf(trial: Trial): Promise<readonly string[]> {
  const found = (await kept(trial)).map(async ({ id }) => {
    const opened = await trial.dataset.openKept(id, trial.signal);
    return Buffer.from(await opened!.bytes()).toString();
  });
  return (await Promise.all(found)).sort();
}

async function isEverywhere(trial: Trial, body: string): Promise<void> {
  await trial.syncAll();
  for (const site of trial.names) assert.equal(await trial.nativeRead(site, 'k'), body, site);
}

test('a loser that several sites keep is one entry, and opens with its body and metadata', async (t) => {
  const trial = new Trial();
  t.after(() => trial.close());
  await trial.nativePut('aws', 'k', 'first', metadata);
  const lift = trial.at('gcp').break('unavailable');
  await trial.sync();
  lift();
  await trial.nativePut('gcp', 'k', 'second');
  await isEverywhere(trial, 'second');
  const [one, ...none] = await kept(trial, 'k');
  assert.deepEqual([one?.sites, none, await kept(trial, 'another')], [['aws', 'azure'], [], []]);
  trial.at('aws').break('unavailable');
  const opened = await trial.dataset.openKept(one!.id, trial.signal);
  assert.equal(opened?.site, 'azure');
  assert.equal(Buffer.from(await opened!.bytes()).toString(), 'first');
  assert.deepEqual(opened?.metadata, metadata);
  assert.equal(opened?.version.dot.site, 'aws');
  assert.equal(await trial.dataset.openKept('000000000000', trial.signal), undefined);
});

test('what is picked is the current version again, everywhere, and what it was written over is kept', async (t) => {
  const trial = await decided(t);
  const [loser] = await kept(trial);
  const picked = await trial.dataset.pick(loser!.id, trial.signal);
  assert.equal(picked?.key, 'k');
  await isEverywhere(trial, 'first');
  for (const site of trial.names)
    assert.equal(trial.bucket(site).object('k')?.metadata.contentType, 'text/plain');
  assert.deepEqual(await bodiesOf(trial), ['second']);
  const [other] = await kept(trial);
  assert.equal(other?.because, 'another was picked');
  await trial.dataset.pick(other!.id, trial.signal);
  await isEverywhere(trial, 'second');
  assert.deepEqual(await bodiesOf(trial), ['first']);
});

test('a site that was away with what was picked has no conflict with what came after', async (t) => {
  const trial = new Trial();
  t.after(() => trial.close());
  const aws = trial.at('aws').break('unavailable');
  await trial.nativePut('gcp', 'k', 'first');
  await trial.sync();
  assert.equal(await trial.nativeRead('azure', 'k'), 'first');
  aws();
  const azure = trial.at('azure').break('unavailable');
  await trial.nativePut('aws', 'k', 'second');
  await trial.until(async () => {
    await trial.sync();
    return (await kept(trial)).length > 0;
  });
  const [loser] = await kept(trial);
  // The site that saw it lose hears of nothing more either.
  const gcp = trial.at('gcp').inject({ verbs: ['write'], effect: { kind: 'fail', code: 'full' } });
  await trial.nativePut('aws', 'k', 'third');
  await trial.sync();
  await trial.dataset.pick(loser!.id, trial.signal);
  await trial.put('k', 'fourth');
  azure();
  gcp();
  await isEverywhere(trial, 'fourth');
  assert.deepEqual(await bodiesOf(trial), ['third'], 'the one that it was written over');
});

test('a large loser is picked in parts', async (t) => {
  const large = 'longer than a part'.repeat(500_000);
  const trial = await decided(t, large);
  const [loser] = await kept(trial);
  await trial.dataset.pick(loser!.id, trial.signal);
  await isEverywhere(trial, large);
});

test('a write that comes while one picks is kept too', async (t) => {
  const trial = await decided(t);
  const [loser] = await kept(trial);
  const overtake = { kind: 'before', run: () => trial.nativePut('aws', 'k', 'newer') } as const;
  trial.at('aws').inject({ verbs: ['write'], key: (key) => key === 'k', times: 1, effect: overtake });
  await trial.dataset.pick(loser!.id, trial.signal);
  await isEverywhere(trial, 'first');
  assert.ok((await bodiesOf(trial)).includes('newer'));
});

test('released is gone from the sites and the list, and once more is no failure', async (t) => {
  const trial = await decided(t);
  const [loser] = await kept(trial);
  assert.deepEqual(await trial.dataset.release(loser!.id, trial.signal), { left: {} });
  assert.deepEqual(await kept(trial), []);
  assert.deepEqual(await trial.contents('aws', '.isobar/losers/'), {});
  assert.equal(await trial.dataset.release(loser!.id, trial.signal), undefined);
});

test('a release that a site does not answer leaves the entry there, and can be repeated', async (t) => {
  const trial = await decided(t);
  const [loser] = await kept(trial);
  trial.at('aws').inject({ verbs: ['remove'], effect: { kind: 'fail', code: 'denied' }, times: 1 });
  const { left } = (await trial.dataset.release(loser!.id, trial.signal))!;
  assert.deepEqual(Object.keys(left), ['aws']);
  assert.equal((await kept(trial)).length, 1);
  assert.deepEqual(await trial.dataset.release(loser!.id, trial.signal), { left: {} });
  assert.deepEqual(await kept(trial), []);
});
