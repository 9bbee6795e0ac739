import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import { SortedKeys } from './sorted-keys.ts';

function inOrder(keys: readonly string[]): string[] {
  const bytes = keys.map((key) => Buffer.from(key)).sort(Buffer.compare);
  return bytes.map(String);
}

/** In no order, the same on every run. */
function shuffledKeys(count: number): string[] {
  return Array.from(
    { length: count },
    (_, i) => `${createHash('md5').update(String(i)).digest('base64')}\u{1F600}${i}`,
  );
}

function keysOf(sorted: SortedKeys, start = ''): string[] {
  return [...sorted.from(start)];
}

describe('sorted keys', () => {
  for (const [name, prepare] of [
    ['ascending', inOrder],
    ['descending', (keys: string[]) => inOrder(keys).reverse()],
    ['shuffled', (keys: string[]) => keys],
  ] as const) {
    test(`100,000 keys added ${name} come back in order`, () => {
      const sorted = new SortedKeys();
      const keys = prepare(shuffledKeys(100_000));
      for (const key of keys) sorted.add(key);
      assert.ok(keysOf(sorted).join('\n') === inOrder(keys).join('\n'));
    });
  }

  test('keys are there once, and gone after their deletion', () => {
    const sorted = new SortedKeys();
    const keys = shuffledKeys(5_000);
    for (const key of [...keys, ...keys]) sorted.add(key);
    assert.equal(keysOf(sorted).length, keys.length);
    const deleted = new Set(keys.filter((_, i) => i % 3 !== 0));
    for (const key of [...deleted, ...deleted, 'never there']) sorted.delete(key);
    assert.deepEqual(keysOf(sorted), inOrder(keys.filter((key) => !deleted.has(key))));
    for (const key of keys) sorted.delete(key);
    assert.deepEqual(keysOf(sorted), []);
  });

  test('a walk begins at its start, whether that is a key or lies between two', () => {
    const sorted = new SortedKeys();
    const keys = inOrder(shuffledKeys(5_000));
    for (const key of keys) sorted.add(key);
    for (const i of [0, 1, 511, 512, 513, 1_024, 2_500, 4_999]) {
      assert.deepEqual(keysOf(sorted, keys[i]), keys.slice(i));
      assert.deepEqual(keysOf(sorted, `${keys[i]}\u{0}`), keys.slice(i + 1));
    }
    assert.deepEqual(keysOf(sorted, '\u{10FFFF}'), []);
  });
});
