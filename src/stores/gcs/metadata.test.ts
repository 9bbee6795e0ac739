import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StoreFailure } from '../../model/failure.ts';
import { noMetadata, type ObjectMetadata } from '../../model/metadata.ts';
import { maxMetadataBytes, metadataOf, resourceMetadataOf } from './metadata.ts';
import { parseToken, queryOf, tokenOf } from './token.ts';

const invalid = (error: unknown) => error instanceof StoreFailure && error.code === 'invalid';

test('what is written comes back', () => {
  const cases: ObjectMetadata[] = [
    noMetadata,
    { user: { a: ' ü ', b: '' }, tags: { 'x&y=z': 'a+b c%20', größe: '日本', e: '' } },
    { contentType: 'application/octet-stream', cacheControl: 'no-store', user: {}, tags: {} },
  ];
  for (const metadata of cases) assert.deepEqual(metadataOf(resourceMetadataOf(metadata)), metadata);
});

test('names are lower case in both directions', () => {
  assert.deepEqual(resourceMetadataOf({ ...noMetadata, user: { 'X-Y': '1' } }).metadata?.['x-y'], '1');
  assert.deepEqual(metadataOf({ metadata: { Colour: 'Green' } }).user, { colour: 'Green' });
});

test('what native clients leave: no metadata, empty fields, a type set later, tags that make no sense', () => {
  assert.deepEqual(metadataOf({}), noMetadata);
  assert.deepEqual(metadataOf({ contentType: '', cacheControl: '' }), noMetadata);
  const retyped = metadataOf({ contentType: 'text/plain', metadata: { 'isobar-untyped': '1' } });
  assert.deepEqual(retyped, { ...noMetadata, contentType: 'text/plain' });
  assert.deepEqual(metadataOf({ metadata: { 'isobar-tags': '%zz=%&&' } }).user, {});
});

test('what cannot be held is invalid', () => {
  const user = (bytes: number) => ({ ...noMetadata, user: { n: 'v'.repeat(bytes - 1) } });
  resourceMetadataOf(user(maxMetadataBytes));
  assert.throws(() => resourceMetadataOf(user(maxMetadataBytes + 1)), invalid);
  assert.throws(() => resourceMetadataOf({ ...noMetadata, user: { 'Isobar-Tags': 'x' } }), invalid);
  const tags = Object.fromEntries(Array.from({ length: 11 }, (_, i) => [`t${i}`, '']));
  assert.throws(() => resourceMetadataOf({ ...noMetadata, tags }), invalid);
});

test('tokens keep 64 bit generations, and a foreign one names nothing here', () => {
  const generation = { generation: '9223372036854775807', metageneration: '3' };
  assert.deepEqual(parseToken(tokenOf(generation)), generation);
  for (const foreign of ['', '1', '1.', 'a.b', '"etag"', '1.2.3', '-1.1'])
    assert.equal(parseToken(foreign), undefined);
  assert.equal(queryOf({ kind: 'match', token: '"etag"' }), undefined);
  assert.deepEqual(queryOf({ kind: 'absent' }), { ifGenerationMatch: '0' });
  assert.deepEqual(queryOf({ kind: 'match', token: '7.2' }), {
    ifGenerationMatch: '7',
    ifMetagenerationMatch: '2',
  });
});
