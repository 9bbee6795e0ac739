import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareKeys } from '../../model/key.ts';
import { ByteOrder, isLateSibling, isPast, startFor } from './order.ts';

const rounds = 3_000;
/** Where the two orders differ, on both sides of it, and in between. */
const alphabet = ['a', 'b', '\uD7FF', '\u{10000}', '\u{1F600}', '\u{1F601}', '\uE000', '\uFF01', '\uFFFD'];

function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function randomKey(random: (below: number) => number): string {
  return Array.from({ length: 1 + random(4) }, () => alphabet[random(alphabet.length)]).join('');
}

function randomKeys(random: (below: number) => number): string[] {
  return [...new Set(Array.from({ length: random(25) }, () => randomKey(random)))];
}

const inUtf16 = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

test('the order of UTF-16 becomes that of UTF-8, and that of UTF-8 stays', () => {
  const random = randomFrom(1);
  for (let round = 0; round < rounds; round++) {
    const keys = randomKeys(random);
    for (const serverOrder of [inUtf16, compareKeys]) {
      const order = new ByteOrder<{ key: string }>();
      const out: string[] = [];
      for (const key of keys.toSorted(serverOrder)) {
        order.push({ key });
        if (random(2) === 0) out.push(...order.take().map((entry) => entry.key));
      }
      order.end();
      out.push(...order.take().map((entry) => entry.key));
      assert.deepEqual(out, keys.toSorted(compareKeys));
    }
  }
});

test('with at most three waiting, siblings are taken ahead and the order is the same', () => {
  const random = randomFrom(2);
  let overflows = 0;
  for (let round = 0; round < rounds; round++) {
    const keys = randomKeys(random).sort(inUtf16);
    const list = (from: string[], order: ByteOrder<{ key: string }>, out: string[]): void => {
      for (const key of from) {
        if (!order.isSettled(key)) order.push({ key });
        out.push(...order.take().map((entry) => entry.key));
        for (let wait = order.overflow(3); wait; wait = order.overflow(3)) {
          const { beginning, lastKey } = wait;
          overflows += 1;
          const ahead = keys.filter((k) => k >= lastKey && isLateSibling(k, beginning));
          list(ahead, new ByteOrder(), out);
          order.settle();
          out.push(...order.take().map((entry) => entry.key));
        }
      }
      order.end();
      out.push(...order.take().map((entry) => entry.key));
    };
    const out: string[] = [];
    list(keys, new ByteOrder(), out);
    assert.deepEqual(out, keys.toSorted(compareKeys));
  }
  assert.ok(overflows > 500, `only ${overflows} overflows were tried`);
});

test('a listing that begins at startFor(after) misses nothing after it, in either order', () => {
  const random = randomFrom(3);
  for (let round = 0; round < rounds; round++) {
    const [after, key] = [randomKey(random), randomKey(random)];
    if (compareKeys(key, after) <= 0) continue;
    const start = startFor(after);
    assert.ok(key >= start && compareKeys(key, start) >= 0, JSON.stringify({ after, key, start }));
  }
  assert.equal(startFor('photos/2026/ü'), 'photos/2026/ü');
  assert.equal(startFor('a\u{1F600}b'), 'a\u{1F600}b');
  assert.equal(startFor('a\uFF01b'), 'a');
});

test('a listing that ends at isPast(key, until) misses nothing up to it, in either order', () => {
  const random = randomFrom(4);
  for (let round = 0; round < rounds; round++) {
    const until = randomKey(random);
    const keys = randomKeys(random);
    for (const serverOrder of [inUtf16, compareKeys]) {
      const sorted = keys.toSorted(serverOrder);
      const end = sorted.findIndex((key) => isPast(key, until));
      const missed = end < 0 ? [] : sorted.slice(end).filter((key) => compareKeys(key, until) <= 0);
      assert.deepEqual(missed, [], JSON.stringify({ until, sorted }));
    }
  }
  assert.ok(isPast('photos/b', 'photos/a'));
});
