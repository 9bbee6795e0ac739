import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Trial } from '../testing/trial.ts';

test('a slow target leaves its keys to the debts: what a lane holds is bounded, and all arrive', async () => {
  const trial = new Trial({ settings: { keysInFlight: 4, patienceMs: 100 } });
  const keys = Array.from({ length: 1_200 }, (_, i) => `k${i}`);
  for (const key of keys) await trial.nativePut('aws', key, 'x');
  trial.at('gcp').inject({ verbs: ['write'], effect: { kind: 'delay', ms: 4 } });
  let most = 0;
  const watch = setInterval(() => {
    most = Math.max(most, trial.dataset.keysInHand('gcp'));
  }, 2);
  const result = await trial.sync().finally(() => clearInterval(watch));
  assert.deepEqual(result.owed, { aws: 0, gcp: 0, azure: 0 });
  assert.ok(most > 0 && most < 600, `${most} keys in hand`);
  for (const key of keys) assert.equal(await trial.nativeRead('gcp', key), 'x');
  await trial.dataset.close();
});

test('while a site is away its debts are not read at the others over and over', async (t) => {
  const trial = new Trial({ sites: ['aws', 'gcp'] });
  t.after(() => trial.close());
  const keys = Array.from({ length: 300 }, (_, i) => `k${i}`);
  const isUsers = (key: string) => key.startsWith('k');
  const lift = trial
    .at('gcp')
    .inject({ verbs: ['write'], key: isUsers, effect: { kind: 'fail', code: 'unavailable' } });
  for (const key of keys) await trial.nativePut('aws', key, 'x');
  await trial.watching(async () => {
    await trial.until(() => trial.at('gcp').count('write') > 0);
    await trial.until(async () => (await trial.dataset.status())[1]?.backlogKeys === keys.length);
    trial.at('aws').asked.length = 0;
    trial.at('gcp').asked.length = 0;
    const triesOfSite = () => trial.at('gcp').asked.filter(({ key }) => isUsers(key)).length;
    await trial.until(() => triesOfSite() >= 3);
    const reads = trial.at('aws').asked.filter(({ key }) => isUsers(key)).length;
    assert.ok(reads <= 3 * triesOfSite() + 3, `${reads} requests for ${triesOfSite()} tries`);
    lift();
    await trial.until(async () => (await trial.dataset.status())[1]?.backlogKeys === 0);
  });
  for (const key of keys) assert.equal(await trial.nativeRead('gcp', key), 'x');
});
