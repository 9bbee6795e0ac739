import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { Trial } from '../testing/trial.ts';

const large = 'longer than a part'.repeat(500_000);
const isK = (key: string) => key === 'k';

async function changed(t: TestContext, body: string): Promise<Trial> {
  const trial = new Trial();
  t.after(() => trial.close());
  await trial.nativePut('aws', 'k', 'before');
  await trial.syncAll();
  await trial.nativePut('aws', 'k', body);
  for (const site of trial.names) trial.at(site).asked.length = 0;
  return trial;
}

async function arrived(trial: Trial, body: string): Promise<void> {
  for (const site of trial.names) assert.equal(await trial.nativeRead(site, 'k'), body, site);
}

test('a small body that changed is read once, and no head is asked for', async (t) => {
  const trial = await changed(t, 'after');
  await trial.syncAll();
  await arrived(trial, 'after');
  assert.deepEqual([trial.at('aws').count('head', 'k'), trial.at('aws').count('read', 'k')], [0, 1]);
});

test('of a large one the head alone is looked at first', async (t) => {
  const trial = await changed(t, large);
  await trial.syncAll();
  await arrived(trial, large);
  assert.ok(trial.at('aws').count('head', 'k') > 0);
});

test('one that grew since it was listed is not read to its end', async (t) => {
  const trial = await changed(t, 'after');
  const grow = {
    kind: 'before',
    run: () => trial.nativePut('aws', 'k', 'longer than it was listed'),
  } as const;
  trial.at('aws').inject({ verbs: ['read'], key: isK, times: 1, effect: grow });
  await trial.syncAll();
  await arrived(trial, 'longer than it was listed');
  assert.ok(trial.at('aws').count('head', 'k') > 0);
});

test('one that cannot be read, as in an archive, is known all the same, and the scan is complete', async (t) => {
  const trial = await changed(t, 'after');
  const lift = trial
    .at('aws')
    .inject({ verbs: ['read'], key: isK, effect: { kind: 'fail', code: 'denied' } });
  const result = await trial.sync();
  assert.equal(result.away['aws'], undefined);
  assert.equal(result.owed['gcp'], 1);
  lift();
  await trial.syncAll();
  await arrived(trial, 'after');
});

test('one that was overwritten again after it was read arrives as it is then', async (t) => {
  const trial = await changed(t, 'after');
  const overwrite = { kind: 'before', run: () => trial.nativePut('aws', 'k', 'last') } as const;
  trial.at('gcp').inject({ verbs: ['write'], key: isK, times: 1, effect: overwrite });
  await trial.syncAll();
  await trial.syncAll();
  await arrived(trial, 'last');
});
