import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Ledger, LedgerWrite } from '../ports/ledger.ts';
import { Trial, type TrialOptions } from '../testing/trial.ts';

// Reading changes nothing of what is replicated: it adopts, counts and parks nothing.

const written: LedgerWrite[] = [];

function opened(t: TestContext, keys: number): Trial {
  const options: TrialOptions = {
    policy: { guards: { maxDeletes: { keys, share: 0 } } },
    ledgerAround: (ledger): Ledger => ({
      get: (table, id) => ledger.get(table, id),
      getMany: (table, ids) => ledger.getMany(table, ids),
      scan: (table, range, page) => ledger.scan(table, range, page),
      count: (table, range) => ledger.count(table, range),
      close: () => ledger.close(),
      commit: (writes) => {
        written.push(...writes);
        return ledger.commit(writes);
      },
    }),
  };
  const trial = new Trial(options);
  t.after(() => trial.close());
  return trial;
}

async function read(trial: Trial, key: string, site?: string): Promise<string | undefined> {
  const found = await trial.dataset.get(key, site === undefined ? {} : { site }, trial.signal);
  return found && Buffer.from(await found.bytes()).toString();
}

test('looking at keys that are gone from a site takes none of them for a deletion, and parks nothing', async (t) => {
  const trial = opened(t, 1);
  for (const key of ['k', 'l']) await trial.put(key, key);
  await trial.sync();
  for (const key of ['k', 'l']) await trial.nativeRemove('gcp', key);
  written.length = 0;
  for (const key of ['k', 'l']) {
    assert.equal(await read(trial, key, 'gcp'), undefined);
    const { record } = await trial.dataset.explain(key, trial.signal);
    assert.equal(record.replicas.gcp?.version.deleted, true);
    assert.equal(record.replicas.aws?.version.deleted, false);
  }
  assert.deepEqual(written, []);
  assert.deepEqual(await trial.parked(), []);
  const { guarded } = await trial.sync();
  assert.equal(guarded, 2, 'only a pass counts them, all of them');
  assert.equal(await trial.nativeRead('aws', 'k'), 'k');
});

test('where the nearest copy is gone another one is read, and what to make of that is left to the pass', async (t) => {
  const trial = opened(t, 0);
  await trial.put('k', 'k');
  await trial.sync();
  await trial.nativeRemove('aws', 'k');
  written.length = 0;
  assert.equal(await read(trial, 'k'), 'k');
  assert.deepEqual(written, []);
  assert.equal((await trial.sync()).guarded, 1);
  assert.equal(await trial.nativeRead('gcp', 'k'), 'k');
});

test('native writes are read as they are, known or not', async (t) => {
  const trial = opened(t, 1);
  await trial.put('k', 'old');
  await trial.sync();
  await trial.nativePut('gcp', 'k', 'new');
  await trial.nativePut('azure', 'unknown', 'x');
  written.length = 0;
  assert.equal(await read(trial, 'k', 'gcp'), 'new');
  assert.equal(await read(trial, 'k'), 'old', 'no pass has found the new one yet');
  assert.equal(await read(trial, 'unknown'), 'x');
  assert.equal(await read(trial, 'unknown', 'aws'), undefined);
  const { newestAt } = await trial.dataset.explain('k', trial.signal);
  assert.deepEqual(newestAt, ['gcp']);
  assert.deepEqual(written, []);
  await trial.sync();
  assert.deepEqual(await trial.contents('aws'), { k: 'new', unknown: 'x' });
});
