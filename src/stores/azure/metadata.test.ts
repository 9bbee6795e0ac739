import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StoreFailure } from '../../model/failure.ts';
import type { ObjectMetadata } from '../../model/metadata.ts';
import {
  escapeName,
  escapeValue,
  maxMetadataBytes,
  metadataFromHeaders,
  metadataHeaders,
  unescapeName,
  unescapeValue,
} from './metadata.ts';

const rounds = 20_000;

/** The same numbers on every run. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function textFrom(alphabet: readonly string[], random: (below: number) => number, longest: number): string {
  return Array.from({ length: random(longest + 1) }, () => alphabet[random(alphabet.length)]).join('');
}

test('escaped names are identifiers, come back as they were, and differ where names differ', () => {
  const random = randomFrom(1);
  const seen = new Map<string, string>();
  for (let i = 0; i < rounds; i++) {
    // Few characters, so that look-alikes of escapes are frequent.
    const name = `${textFrom([...'_-.2d5fe3a'], random, 6)}a`.slice(random(2));
    if (name === '') continue;
    const escaped = escapeName(name);
    assert.match(escaped, /^[a-z_][a-z0-9_]*$/, `${name} became ${escaped}`);
    assert.equal(unescapeName(escaped), name);
    assert.equal(seen.get(escaped) ?? name, name);
    seen.set(escaped, name);
  }
});

test('ordinary names stay as they are, and case does not count', () => {
  assert.equal(escapeName('user_id'), 'user_id');
  assert.equal(escapeName('isobar'), 'isobar');
  assert.equal(escapeName('Last-Seen'), 'last_2dseen');
  assert.equal(escapeName('3d'), '_33d');
});

test('escaped values are what a header carries unharmed, and come back as they were', () => {
  const random = randomFrom(2);
  const alphabet = [..." \t%'\"=UTF-8''aü", '\u{1F600}', '\u0000', '%20', "UTF-8''", '\uE000'];
  for (let i = 0; i < rounds; i++) {
    const value = textFrom(alphabet, random, 8);
    const escaped = escapeValue(value);
    assert.match(escaped, /^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/);
    assert.equal(unescapeValue(escaped), value);
  }
});

test('a native value that only looks escaped stays as it is', () => {
  for (const value of ["UTF-8''%zz", "UTF-8''plain", "UTF-8''%c3%a9", 'utf-8%27%27x']) {
    assert.equal(unescapeValue(value), value);
  }
});

/** As the service would answer: fields without their prefix, tags by number only. */
function answered(headers: Record<string, string>): ObjectMetadata {
  const fields = Object.entries(headers).map(([name, value]) => [name.replace(/^x-ms-blob-/, ''), value]);
  return metadataFromHeaders({ 'content-type': 'application/octet-stream', ...Object.fromEntries(fields) });
}

test('fields that a header cannot carry, and the absence of a type, travel in an entry of our own', () => {
  const metadata: ObjectMetadata = {
    contentDisposition: 'attachment; filename="日本.txt"',
    cacheControl: 'no-cache',
    user: { __proto__x: '1', constructor: '2' },
    tags: {},
  };
  const headers = metadataHeaders(metadata, true);
  for (const value of Object.values(headers)) assert.match(value, /^[\x20-\x7e]+$/);
  assert.deepEqual(answered(headers), metadata);
});

test('a type that somebody set later counts, and an explicit default type is kept', () => {
  const untyped = metadataHeaders({ user: {}, tags: {} }, true);
  assert.equal(metadataFromHeaders({ ...untyped, 'content-type': 'text/css' }).contentType, 'text/css');
  const explicit = { contentType: 'application/octet-stream', user: {}, tags: {} };
  assert.deepEqual(answered(metadataHeaders(explicit, true)), explicit);
});

test('tags are index tags where all of them fit and the store may, else an entry', () => {
  const plain = { contentType: 'a/b', user: {}, tags: { 'a b': 'c=d', e: '' } };
  assert.equal(metadataHeaders(plain, true)['x-ms-tags'], 'a%20b=c%3Dd&e=');
  for (const [metadata, native] of [
    [plain, false],
    [{ ...plain, tags: { ...plain.tags, é: '&=%' } }, true],
    [{ ...plain, tags: { long: 'x'.repeat(257) } }, true],
  ] as const) {
    const headers = metadataHeaders(metadata, native);
    assert.equal(headers['x-ms-tags'], undefined);
    assert.deepEqual(answered(headers), metadata);
  }
});

test('what the store cannot hold is invalid before it is sent', () => {
  const tags = Object.fromEntries(Array.from({ length: 11 }, (_, i) => [`t${i}`, 'v']));
  for (const metadata of [
    { user: {}, tags },
    { user: { a: 'v'.repeat(maxMetadataBytes) }, tags: {} },
    { user: { ä: 'v' }, tags: {} },
    { user: { isobartags: 'v' }, tags: {} },
    { user: { Name: 'v', name: 'w' }, tags: {} },
  ]) {
    assert.throws(
      () => metadataHeaders(metadata, true),
      (error) => error instanceof StoreFailure && error.code === 'invalid',
    );
  }
});
