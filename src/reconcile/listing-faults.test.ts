import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { markerKey } from '../replicate/marker.ts';
import type { Fault } from '../testing/faulty-store.ts';
import { Trial, type TrialOptions } from '../testing/trial.ts';

// A listing that fails, or tells less than there is, never becomes a deletion (rule 4).

const keys = Array.from({ length: 30 }, (_, i) => `k${String(i).padStart(2, '0')}`);

async function filled(t: TestContext, options: TrialOptions = {}): Promise<Trial> {
  const trial = new Trial(options);
  t.after(() => trial.close());
  for (const key of keys) await trial.nativePut('aws', key, `body of ${key}`);
  await trial.sync();
  for (const site of trial.names) assert.equal(Object.keys(await trial.contents(site)).length, keys.length);
  return trial;
}

const listing = (how: 'half-way' | 'empty' | 'truncated' | 'repeated-page' | 'disorder'): Fault => ({
  verbs: ['list'],
  effect: { kind: 'listing', how },
});
const failing = (code: 'denied' | 'unavailable' | 'throttled' | 'broken-listing' | 'misplaced'): Fault => ({
  verbs: ['list'],
  effect: { kind: 'fail', code },
});

/** What a pass says of the site, its marker in place: the second look tells that nothing was deleted after all. */
type Said = 'away' | 'guarded' | 'nothing';

const faults: Record<string, readonly [Fault, Said]> = {
  'fails half-way': [listing('half-way'), 'away'],
  'is empty': [listing('empty'), 'guarded'],
  'ends early': [listing('truncated'), 'nothing'],
  'repeats a page': [listing('repeated-page'), 'away'],
  'comes out of order': [listing('disorder'), 'away'],
  'answers 403': [failing('denied'), 'away'],
  'answers 503': [failing('unavailable'), 'away'],
  'answers 429': [failing('throttled'), 'away'],
  'breaks the contract and the driver says so': [failing('broken-listing'), 'away'],
  'finds no bucket': [failing('misplaced'), 'away'],
};

for (const [name, [fault, said]] of Object.entries(faults)) {
  for (const marked of [true, false]) {
    test(`a listing that ${name}, marker ${marked ? 'present' : 'missing'}: zero deletions`, async (t) => {
      const trial = await filled(t);
      for (const site of trial.names) {
        const others = trial.names.filter((other) => other !== site);
        const lift = trial.at(site).inject(fault);
        const marker = await trial.nativeRead(site, markerKey);
        if (!marked) await trial.nativeRemove(site, markerKey);
        await trial.nativePut(others[0]!, `new-${site}`, 'made meanwhile');
        const result = await trial.sync();
        if (marked) {
          assert.equal(result.away[site] !== undefined, said === 'away', String(result.away[site]));
          assert.equal(result.guarded > 0, said === 'guarded');
        }
        if (!marked) assert.match(result.away[site]!, /marker/);
        assert.equal(await trial.nativeRead(others[1]!, `new-${site}`), 'made meanwhile');
        if (!marked) {
          assert.equal(
            await trial.nativeRead(site, `new-${site}`),
            undefined,
            'nothing goes to a place that is not proved',
          );
          await trial.nativePut(site, markerKey, marker!);
        }
        lift();
      }
      const after = await trial.sync();
      assert.deepEqual(after.away, {});
      assert.deepEqual(after.owed, { aws: 0, gcp: 0, azure: 0 });
      assert.deepEqual(trial.removed, []);
      for (const site of trial.names) {
        const found = Object.keys(await trial.contents(site));
        assert.deepEqual(found, [...keys, ...trial.names.map((one) => `new-${one}`).sort()]);
      }
    });
  }
}

test('a disk that was not mounted: nothing is written beside it, and nothing is deleted when it is back', async (t) => {
  const trial = await filled(t);
  const mounted = new Map<string, string>();
  for (const [key, text] of Object.entries(await trial.contents('gcp', '.isobar/'))) mounted.set(key, text);
  await trial.nativeRemove('gcp', markerKey);
  for (const key of keys) await trial.nativeRemove('gcp', key);
  await trial.nativePut('aws', 'fresh', 'x');
  assert.match((await trial.sync()).away['gcp']!, /marker/);
  await trial.put('through', 'y');
  await trial.sync();
  const misled = await trial.contents('gcp');
  for (const key of Object.keys(await trial.contents('gcp'))) await trial.nativeRemove('gcp', key);
  await trial.nativePut('gcp', markerKey, mounted.get(markerKey)!);
  for (const key of keys) await trial.nativePut('gcp', key, `body of ${key}`);
  await trial.sync();
  for (const site of trial.names) {
    const found = Object.keys(await trial.contents(site));
    assert.deepEqual(found, ['fresh', ...keys, 'through']);
    assert.deepEqual(misled, {});
  }
});

test('another place under the name of a site: nothing is taken from it, nothing is written to it', async (t) => {
  const trial = await filled(t);
  const marker = (await trial.nativeRead('gcp', markerKey))!;
  await trial.nativePut('gcp', markerKey, '{"id":"of-another-dataset"}');
  for (const key of keys.slice(0, 3)) await trial.nativeRemove('gcp', key);
  await trial.nativePut('gcp', 'strange', 'x');
  await trial.nativePut('aws', 'fresh', 'x');
  assert.match((await trial.sync()).away['gcp']!, /another place/);
  assert.equal(await trial.nativeRead('gcp', 'fresh'), undefined);
  assert.equal(await trial.nativeRead('aws', 'strange'), undefined);
  assert.equal(await trial.nativeRead('azure', 'fresh'), 'x');
  assert.deepEqual(trial.removed, []);
  const planned: unknown[] = [];
  const plan = await trial.dataset.plan((step) => void planned.push(step), {}, trial.signal);
  assert.match(plan.away['gcp'] ?? '', /another place/);
  await trial.nativePut('gcp', markerKey, marker);
  await trial.nativeRemove('gcp', 'strange');
  for (const key of keys.slice(0, 3)) await trial.nativePut('gcp', key, `body of ${key}`);
  await trial.sync();
  for (const site of trial.names)
    assert.deepEqual(Object.keys(await trial.contents(site)), ['fresh', ...keys]);
});

test('a plan and a verification write nothing, not even at the first contact', async (t) => {
  const trial = new Trial();
  t.after(() => trial.close());
  await trial.nativePut('aws', 'k', 'x');
  await trial.dataset.plan(() => {}, {}, trial.signal);
  await trial.dataset.verify({ deep: true }, () => {}, trial.signal);
  for (const site of trial.names) assert.equal(trial.at(site).count('write'), 0, site);
});
