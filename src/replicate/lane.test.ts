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
