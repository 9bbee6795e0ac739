import assert from 'node:assert/strict';
import { test } from 'node:test';
import { partOf, partProblem, shardKeyOf } from './shard-key.ts';

const parts: readonly [pattern: string, key: string, part: string | undefined][] = [
  ['{tenant}/**', 'acme/a/b', 'acme'],
  ['{tenant}/**', 'acme/', 'acme'],
  ['{tenant}/**', 'acme', undefined],
  ['{tenant}/**', '/a', undefined],
  ['{tenant}/**', 'a\nb/c', 'a\nb'],
  ['{tenant}', 'acme', 'acme'],
  ['{tenant}', 'a/b', undefined],
  ['data/*/{tenant}/**', 'data/eu/acme/x/y', 'acme'],
  ['data/*/{tenant}/**', 'data//acme/x', 'acme'],
  ['data/*/{tenant}/**', 'data/eu//acme/x', undefined],
  ['data/*/{tenant}/**', 'Data/eu/acme/x', undefined],
  ['{eu,us}/{tenant}/**.json', 'us/acme/x/y.json', 'acme'],
  ['{eu,us}/{tenant}/**.json', 'ch/acme/x/y.json', undefined],
  ['\\{x\\}/{tenant}/*', '{x}/acme/k', 'acme'],
  ['a\\/{tenant}/*', 'a/acme/k', 'acme'],
  ['{tenant}/{photos,films}/**', 'acme/films/k', 'acme'],
  ['😀/{customer-id}/**/*.txt', '😀/é/x.txt', 'é'],
];

test('a part is the named segment of keys that match', () => {
  for (const [pattern, key, part] of parts) {
    assert.equal(partOf(pattern)(key), part, `${pattern} of ${JSON.stringify(key)}`);
  }
});

test('what names no part, or leaves open which, is refused', () => {
  const refused: readonly [pattern: string, because: RegExp][] = [
    ['tenants/**', /names no segment/],
    ['{eu,us}/**', /names no segment/],
    ['\\{tenant\\}/**', /names no segment/],
    ['{}/**', /names no segment/],
    ['{a}/{b}/**', /several segments/],
    ['x{tenant}/**', /less than a segment/],
    ['{tenant}*/**', /less than a segment/],
    ['a\\*{tenant}/**', /less than a segment/],
    ['**/{tenant}/*', /how deep/],
    ['{a,b/c}/{tenant}/*', /how deep/],
    ['', /empty/],
    ['{tenant', /does not close/],
  ];
  for (const [pattern, because] of refused) {
    assert.match(partProblem(pattern) ?? '', because, pattern);
    assert.throws(() => partOf(pattern), because);
  }
});

test('a key without the part or the entry is sharded by its whole name', () => {
  const byPart = shardKeyOf({ part: '{tenant}/**' });
  assert.equal(byPart('acme/x', {}), 'acme');
  assert.equal(byPart('readme.txt', {}), 'readme.txt');
  const byEntry = shardKeyOf({ metadata: 'tenant' });
  assert.equal(byEntry('k', { user: { tenant: 'acme' } }), 'acme');
  assert.equal(byEntry('k', { user: {} }), 'k');
  assert.equal(byEntry('k', { user: { tenant: '' } }), 'k');
  assert.equal(shardKeyOf({ metadata: 'constructor' })('k', { user: {} }), 'k');
});

test('metadata that is not known is not guessed', () => {
  assert.deepEqual(shardKeyOf({ metadata: 'tenant' })('k', { tags: {} }), {
    kind: 'needs-metadata',
    missing: 'user',
  });
});
