import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stampOf } from '../model/stamp.ts';
import type { Version } from '../model/version.ts';
import { type Candidate, readOrder } from './nearest.ts';

const first: Version = {
  stamp: stampOf(1),
  dot: { site: 'a', count: 1 },
  past: {},
  operation: '1',
  deleted: false,
};
const second: Version = {
  ...first,
  stamp: stampOf(2),
  dot: { site: 'a', count: 2 },
  past: { a: 1 },
  operation: '2',
};
const beside: Version = { ...first, stamp: stampOf(9), dot: { site: 'b', count: 1 }, operation: '3' };

/** `a! b c`: nearest first; `!` marks one that is not healthy. */
function holding(text: string, version: Version = second): Candidate[] {
  return text.split(' ').map((one) => ({ site: one[0]!, version, healthy: !one.endsWith('!') }));
}

test('the nearest healthy replica first, those that are not healthy last', () => {
  const cases = { 'a b c': 'abc', 'a! b c': 'bca', 'a b! c': 'acb', 'a! b! c!': 'abc', 'c b a': 'cba' };
  for (const [sites, order] of Object.entries(cases)) {
    assert.equal(readOrder(holding(sites), { atLeast: second }).join(''), order, sites);
  }
});

test('only replicas that are new enough', () => {
  const candidates = [...holding('a', first), ...holding('b', second), ...holding('c', beside)];
  assert.deepEqual(readOrder(candidates, { atLeast: second }), ['b']);
  assert.deepEqual(readOrder(candidates, { atLeast: first }), ['a', 'b']);
  assert.deepEqual(
    readOrder(candidates, { atLeast: beside }),
    ['c'],
    'a later stamp alone does not cover it',
  );
  assert.deepEqual(readOrder(holding('a', first), { atLeast: second }), []);
  assert.deepEqual(readOrder([], { atLeast: second }), []);
});

test('balanced: each healthy replica is first equally often, also beside one that is not', () => {
  const counts = new Map<string, number>();
  for (let i = 0; i < 300; i++) {
    const order = readOrder(holding('a b! c d'), { atLeast: second, draw: i / 300 });
    assert.equal(order.at(-1), 'b');
    assert.deepEqual(order.toSorted(), ['a', 'b', 'c', 'd']);
    counts.set(order[0]!, (counts.get(order[0]!) ?? 0) + 1);
  }
  assert.deepEqual(Object.fromEntries(counts), { a: 100, c: 100, d: 100 });
});
