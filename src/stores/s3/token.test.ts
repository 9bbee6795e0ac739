import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatToken, parseToken, quoted, sameWrite, unquoted, versionOf, windowOf } from './token.ts';

const seconds = 1_763_730_000;
const at = (from: number, to = from) => ({ etag: 'abc', from: seconds + from, to: seconds + to });

test('a token keeps what it was made of', () => {
  for (const name of [
    { etag: 'abc', from: undefined, to: undefined, version: undefined },
    { etag: 'abc-3', from: 10, to: 10, version: undefined },
    { etag: 'a b%c', from: 10, to: 20, version: 'v/+ =1' },
    { etag: 'abc', from: undefined, to: 20, version: undefined },
    { etag: '-', from: 0, to: 0, version: 'é\u00a0' },
  ]) {
    const token = formatToken(name);
    assert.deepEqual(parseToken(token), name);
    assert.equal(token.split(' ').length, 3, token);
  }
});

test('quotes around an ETag do not count; a weak one stays weak', () => {
  assert.equal(unquoted('"abc"'), 'abc');
  assert.equal(unquoted('abc'), 'abc');
  assert.equal(quoted('abc'), '"abc"');
  assert.equal(quoted(unquoted('W/"abc"')), 'W/"abc"');
});

test('a suspended bucket names no version', () => {
  assert.deepEqual([undefined, '', 'null', 'v1'].map(versionOf), [undefined, undefined, undefined, 'v1']);
});

const cases: readonly [
  string,
  Parameters<typeof formatToken>[0],
  Parameters<typeof formatToken>[0],
  boolean,
][] = [
  ['equal ETag and second', at(0), at(0), true],
  ['another second', at(0), at(1), false],
  ['another ETag', at(0), { ...at(0), etag: 'abd' }, false],
  ['a time within the window of the write', at(0, 3), at(3), true],
  ['a time after the window', at(0, 3), at(4), false],
  ['a time before the window', at(0, 3), at(-1), false],
  ['an upload: any time before its completion', { etag: 'abc', to: seconds }, at(-90_000), true],
  ['an upload: a time after its completion', { etag: 'abc', to: seconds }, at(1), false],
  ['an unknown time', { etag: 'abc' }, at(0), true],
  ['a version that only one side knows', { ...at(0), version: 'v1' }, at(0), true],
  ['another version in the same second', { ...at(0), version: 'v1' }, { ...at(0), version: 'v2' }, false],
  [
    'the same version whatever the clocks say',
    { ...at(0), version: 'v1' },
    { ...at(9), version: 'v1' },
    true,
  ],
];
for (const [name, recorded, seen, same] of cases) {
  test(`${same ? 'the same write' : 'another write'}: ${name}`, () => {
    assert.equal(sameWrite(formatToken(recorded), formatToken(seen)), same);
    assert.equal(sameWrite(formatToken(seen), formatToken(recorded)), same);
  });
}

test('the window of a write holds its request and a second of slack on both sides', () => {
  const date = new Date(seconds * 1000).toUTCString();
  assert.deepEqual(windowOf(date, 0), { from: seconds - 1, to: seconds + 1 });
  assert.deepEqual(windowOf(date, 2_500), { from: seconds - 4, to: seconds + 4 });
  assert.deepEqual(windowOf(undefined, 0), {});
  assert.deepEqual(windowOf('soon', 0), {});
});
