import assert from 'node:assert/strict';
import { test } from 'node:test';
import { millisOf, nextStamp, parseStamp, type Stamp, stampAfter, stampOf } from './stamp.ts';
import { compareVersions, covers, historyOf, join, relate, type Vector, type Version } from './version.ts';

function version(dot: string, past: Vector = {}, more: Partial<Version> = {}): Version {
  const [site = '', count = ''] = dot.split('.');
  return {
    stamp: stampOf(1_000),
    dot: { site, count: Number(count) },
    past,
    operation: `op of ${dot}`,
    deleted: false,
    ...more,
  };
}

test('how two writes stand to each other', () => {
  const first = version('aws.1');
  const rows: readonly (readonly [Version, Version, string])[] = [
    [first, version('aws.1'), 'same'],
    [first, version('aws.1', {}, { operation: 'made up twice' }), 'concurrent'],
    [first, version('gcp.1'), 'concurrent'],
    [first, version('gcp.1', { aws: 1 }), 'dominated'],
    [first, version('aws.2', { aws: 1 }), 'dominated'],
    [first, version('aws.2'), 'concurrent'],
    [first, version('gcp.5', { aws: 7, azure: 2 }), 'dominated'],
    [version('aws.3', { aws: 2 }), version('gcp.1', { aws: 2 }), 'concurrent'],
    [version('aws.3', { aws: 2, gcp: 1 }), version('gcp.1', { aws: 2 }), 'dominates'],
    // Only what a write has seen counts: a count of its own site that is no part of its past covers nothing.
    [version('gcp.9'), version('gcp.1'), 'concurrent'],
  ];
  const inverse: Record<string, string> = {
    same: 'same',
    concurrent: 'concurrent',
    dominates: 'dominated',
    dominated: 'dominates',
  };
  for (const [a, b, expected] of rows) {
    assert.equal(relate(a, b), expected, `${a.dot.site}.${a.dot.count} to ${b.dot.site}.${b.dot.count}`);
    assert.equal(relate(b, a), inverse[expected]);
  }
});

test('vectors join by the greater count and cover what they count', () => {
  assert.deepEqual(join({ aws: 1, gcp: 4 }, { aws: 3 }, { azure: 2 }), { aws: 3, gcp: 4, azure: 2 });
  assert.deepEqual(join(), {});
  assert.deepEqual(historyOf(version('aws.3', { aws: 2, gcp: 1 })), { aws: 3, gcp: 1 });
  assert.equal(covers({ aws: 2 }, { site: 'aws', count: 2 }), true);
  assert.equal(covers({ aws: 2 }, { site: 'aws', count: 3 }), false);
  assert.equal(covers({}, { site: 'aws', count: 1 }), false);
});

test('the order of versions is total', () => {
  const versions = [
    version('aws.1'),
    version('aws.2'),
    version('gcp.1'),
    version('gcp.1', {}, { operation: 'another' }),
    version('aws.1', {}, { stamp: stampOf(999) }),
    version('aws.1', {}, { stamp: stampOf(1_000, 1) }),
  ];
  for (const a of versions) {
    for (const b of versions) {
      const order = compareVersions(a, b);
      assert.equal(Math.sign(order) + Math.sign(compareVersions(b, a)), 0);
      assert.equal(order === 0, a === b);
    }
  }
  const sorted = [...versions].sort(compareVersions);
  assert.deepEqual([...versions].reverse().sort(compareVersions), sorted);
  assert.equal(sorted[0]!.stamp, stampOf(999));
  assert.equal(sorted.at(-1)!.stamp, stampOf(1_000, 1));
});

test('stamps: the order of the text is the order of time', () => {
  const inOrder = [stampOf(0), stampOf(1), stampOf(1, 1), stampOf(9), stampOf(10), stampOf(2 ** 47)];
  assert.deepEqual([...inOrder].reverse().sort(), inOrder);
  for (const stamp of inOrder) assert.match(stamp, /^[0-9a-f]{16}$/);
  assert.equal(millisOf(stampOf(1_767_225_600_123)), 1_767_225_600_123);
  assert.equal(stampOf(-5), stampOf(0));
  assert.equal(stampOf(1.9), stampOf(1));
});

test('the next stamp is the smallest one after, also when the counter is full', () => {
  assert.equal(nextStamp(stampOf(5)), stampOf(5, 1));
  assert.equal(nextStamp(stampOf(5, 0xffff)), stampOf(6));
  assert.ok(nextStamp(stampOf(5, 0xffff)) > stampOf(5, 0xffff));
});

test('a stamp after others: now when that is later, otherwise just after the latest', () => {
  assert.equal(stampAfter(10, []), stampOf(10));
  assert.equal(stampAfter(10, [stampOf(9, 7), stampOf(3)]), stampOf(10));
  assert.equal(stampAfter(10, [stampOf(10), stampOf(3)]), stampOf(10, 1));
  assert.equal(stampAfter(10, [stampOf(3), stampOf(20, 4)]), stampOf(20, 5));
});

test('what is no stamp is not taken for one', () => {
  const stamp: Stamp = stampOf(1);
  assert.equal(parseStamp(stamp), stamp);
  for (const text of ['', '0', `${stamp}0`, stamp.replace('1', 'G'), stamp.slice(1), ` ${stamp.slice(1)}`]) {
    assert.equal(parseStamp(text), undefined, JSON.stringify(text));
  }
});
