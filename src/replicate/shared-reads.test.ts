import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BodyPool } from './body-pool.ts';
import { SharedReads } from './shared-reads.ts';

function reading(reads: SharedReads) {
  const freed: string[] = [];
  let loads = 0;
  const get = (id: string, readers: number, bytes = 10) =>
    reads.get(
      id,
      bytes,
      readers,
      async () => `${id}${++loads}`,
      (value) => freed.push(value),
    );
  return { get, freed };
}

test('several readers share one read, and its memory is free when the last has released it', async () => {
  const { get, freed } = reading(new SharedReads(100));
  const first = await get('a', 3);
  const second = await get('a', 3);
  first.release();
  second.release();
  assert.deepEqual(freed, [], 'a third may still come');
  const third = await get('a', 3);
  assert.deepEqual([first.value, second.value, third.value], ['a1', 'a1', 'a1']);
  third.release();
  assert.deepEqual(freed, ['a1']);
  assert.equal((await get('a', 3)).value, 'a2');
});

test('what a failed reader never released is not used again', async () => {
  const { get, freed } = reading(new SharedReads(100));
  await get('a', 2);
  (await get('a', 2)).release();
  assert.deepEqual(freed, []);
});

test('what the budget drops is freed at once if nobody has it, else by its last reader', async () => {
  const { get, freed } = reading(new SharedReads(15));
  const held = await get('a', 3);
  const letGo = await get('b', 3);
  letGo.release();
  await get('c', 3);
  await Promise.resolve();
  assert.deepEqual(freed, ['b2']);
  held.release();
  assert.deepEqual(freed, ['b2', 'a1']);
});

test('alone: nothing is kept', async () => {
  const { get, freed } = reading(new SharedReads(100));
  (await get('a', 1)).release();
  assert.deepEqual(freed, ['a1']);
  assert.equal((await get('a', 1)).value, 'a2');
});

test('a read that failed is tried again by the next', async () => {
  const reads = new SharedReads(100);
  const broken = () => Promise.reject(new Error('gone'));
  await assert.rejects(
    reads.get('a', 1, 3, broken, () => {}),
    /gone/,
  );
  assert.equal((await reading(reads).get('a', 3)).value, 'a1');
});

test('memory of the pool is used again, as much as may be kept', () => {
  const pool = new BodyPool(1024 * 1024);
  const one = pool.take(900_000)!;
  assert.ok(one.length >= 900_000);
  const other = pool.take(900_000)!;
  assert.notEqual(other.buffer, one.buffer);
  pool.give(one);
  pool.give(other);
  assert.equal(pool.take(1_000_000), one, 'a body of about the same size');
  assert.notEqual(pool.take(1_000_000), other, 'more than may be kept was let go');
  assert.equal(pool.take(1), undefined);
  assert.ok(pool.take(9 * 1024 * 1024)!.length >= 9 * 1024 * 1024);
});
