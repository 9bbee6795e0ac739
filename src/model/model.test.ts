import assert from 'node:assert/strict';
import { createHash, randomBytes, randomInt } from 'node:crypto';
import { test } from 'node:test';
import { BodyDigest, digestOfLeaves, leafBytes, leavesOf, sha256Hex } from './digest.ts';
import {
  decodeEntry,
  type Entry,
  encodeEntry,
  entryName,
  entryOn,
  traitsOf,
  withEntry,
  withoutEntry,
} from './entry.ts';
import { compareKeys, isReserved, keyHash, keyProblem, maxKeyBytes } from './key.ts';
import { noMetadata, sameMetadata } from './metadata.ts';
import { acksNeeded, deletesAllowed } from './policy.ts';
import { sameContent } from './record.ts';
import { stampOf } from './stamp.ts';

function randomKey(): string {
  const alphabet = [
    'a',
    'b',
    '/',
    'é',
    '\u{ffff}',
    '\u{e000}',
    '\u{10000}',
    '\u{10ffff}',
    '\u{d7ff}',
    '0',
    '~',
  ];
  return Array.from({ length: randomInt(1, 6) }, () => alphabet[randomInt(alphabet.length)]).join('');
}

test('keys sort as their UTF-8 bytes do', () => {
  for (let i = 0; i < 5_000; i++) {
    const [a, b] = [randomKey(), randomKey()];
    const expected = Buffer.compare(Buffer.from(a), Buffer.from(b));
    assert.equal(Math.sign(compareKeys(a, b)), expected, JSON.stringify([a, b]));
  }
});

test('which keys can be replicated', () => {
  assert.equal(keyProblem('a'.repeat(maxKeyBytes)), undefined);
  assert.match(keyProblem('a'.repeat(maxKeyBytes + 1))!, /1025 bytes/);
  assert.equal(keyProblem('é'.repeat(512)), undefined);
  assert.match(keyProblem(`${'é'.repeat(512)}a`)!, /1025 bytes/);
  assert.match(keyProblem('')!, /empty/);
  assert.match(keyProblem('half \ud800 pair')!, /Unicode/);
  assert.match(keyProblem('.isobar/site')!, /reserved/);
  assert.match(keyProblem('.isobar')!, /reserved/);
  for (const key of ['.isobarx', '.isobar2/a', 'a/.isobar/b', 'new\nline', '..', '/', ' '])
    assert.equal(keyProblem(key), undefined, JSON.stringify(key));
  assert.equal(isReserved('.isobar/'), true);
  assert.equal(keyHash('a').length, 22);
});

function randomEntry(): Entry {
  const sites = ['aws', 'gcp', 'azure-2'];
  const past = Object.fromEntries(sites.filter(() => randomInt(2)).map((site) => [site, randomInt(1, 1e9)]));
  return {
    version: {
      stamp: stampOf(randomInt(2 ** 45), randomInt(65_536)),
      dot: { site: sites[randomInt(3)]!, count: randomInt(1, 1e9) },
      past,
      operation: randomBytes(16).toString('base64url'),
      deleted: false,
    },
    size: randomInt(2 ** 47),
    keyHash: keyHash(randomKey()),
    ...(randomInt(2) ? { digest: `${randomInt(2) ? '' : 't8m-'}${randomBytes(32).toString('hex')}` } : {}),
    ...(randomInt(2)
      ? {
          origin: {
            site: sites[randomInt(3)]!,
            token: `"${randomBytes(randomInt(1, 40)).toString('latin1')}"`,
          },
        }
      : {}),
  };
}

test('an entry survives being written as text', () => {
  for (let i = 0; i < 2_000; i++) {
    const entry = randomEntry();
    const text = encodeEntry(entry);
    assert.match(text, /^[\x21-\x7e]+$/);
    assert.deepEqual(decodeEntry(text), entry);
  }
});

test('what Isobar did not write is no entry', () => {
  const text = encodeEntry(randomEntry());
  const wrong: (string | undefined)[] = [
    undefined,
    '',
    'isobar',
    `3${text.slice(1)}`,
    `1${text.slice(1)}`,
    `${text};x`,
    text.replace(/^2;[^;]*/, '2;zz'),
  ];
  for (const one of wrong) assert.equal(decodeEntry(one), undefined, String(one));
  const fields = text.split(';');
  const withField = (index: number, value: string) => fields.with(index, value).join(';');
  assert.equal(decodeEntry(withField(2, 'aws')), undefined);
  assert.equal(decodeEntry(withField(2, 'AWS.1')), undefined);
  assert.equal(decodeEntry(withField(3, 'aws.1_gcp')), undefined);
  for (const size of ['-1', '1.5', 'many', String(2 ** 60)])
    assert.equal(decodeEntry(withField(5, size)), undefined, size);
});

test("another key's entry is none: a server-side copy brings it along", () => {
  const entry = { ...randomEntry(), keyHash: keyHash('mine') };
  const metadata = withEntry({ ...noMetadata, user: { author: 'Ada' } }, entry);
  assert.deepEqual(entryOn('mine', metadata), entry);
  assert.equal(entryOn('copy-of-mine', metadata), undefined);
  assert.deepEqual(withoutEntry(metadata).user, { author: 'Ada' });
  assert.equal(metadata.user[entryName], encodeEntry(entry));
});

test('traits are equal exactly when what a user set is', () => {
  const full = {
    contentType: 'text/plain',
    cacheControl: 'no-store',
    contentEncoding: 'gzip',
    contentDisposition: 'inline',
    contentLanguage: 'de',
    user: { a: '1', b: '2' },
    tags: { c: '3' },
  };
  const sameOtherwise = { ...full, user: { b: '2', a: '1' } };
  assert.equal(traitsOf(full), traitsOf(sameOtherwise));
  assert.equal(traitsOf(full), traitsOf(withEntry(full, randomEntry())));
  assert.ok(sameMetadata(full, sameOtherwise));
  const others = [
    { ...full, contentType: 'text/html' },
    { ...full, contentLanguage: 'en' },
    { ...full, user: { a: '1' } },
    { ...full, user: { a: '1', b: '3' } },
    { ...full, user: { a: '1', b: '2', c: '3' }, tags: {} },
    { ...full, tags: {} },
    { ...noMetadata, contentType: 'text/plain' },
    noMetadata,
  ];
  const all = [full, ...others];
  assert.equal(new Set(all.map(traitsOf)).size, all.length);
  for (const other of others) assert.equal(sameMetadata(full, other), false);
  assert.equal(sameMetadata(withEntry(full, randomEntry()), full, [entryName]), true);
});

test('digests: plain SHA-256 up to one leaf, a tree above; the same in whatever pieces they come', () => {
  const sizes = [0, 1, leafBytes - 1, leafBytes, leafBytes + 1, 2 * leafBytes, 2 * leafBytes + 3];
  const all = Buffer.alloc(2 * leafBytes + 3, 'isobar');
  for (const size of sizes) {
    const body = all.subarray(0, size);
    const digest = digestOfLeaves(leavesOf(body));
    if (size <= leafBytes) assert.equal(digest, sha256Hex(body));
    else assert.match(digest, /^t8m-[0-9a-f]{64}$/);
    const pieces = new BodyDigest();
    for (let from = 0; from < size; from += 3_000_001) pieces.update(body.subarray(from, from + 3_000_001));
    assert.equal(pieces.finish(), digest, `${size} bytes`);
  }
  const leaves = leavesOf(all);
  assert.equal(leaves.length, 3);
  const root = createHash('sha256')
    .update(Buffer.from(leaves.join(''), 'hex'))
    .digest('hex');
  assert.equal(digestOfLeaves(leaves), `t8m-${root}`);
  assert.notEqual(digestOfLeaves(leaves.toReversed()), digestOfLeaves(leaves), 'their order counts');
});

test('whether two replicas hold the same content, or nobody can tell', () => {
  const version = randomEntry().version;
  const base = { version, token: 't', size: 5, traits: 'x' };
  const gone = { version: { ...version, deleted: true }, size: 0 };
  assert.equal(sameContent(gone, gone), true);
  assert.equal(sameContent(base, gone), false);
  assert.equal(sameContent(base, { ...base, size: 6 }), false);
  assert.equal(sameContent(base, { ...base, traits: 'y' }), false);
  assert.equal(sameContent(base, base), undefined);
  assert.equal(sameContent({ ...base, md5: 'm' }, { ...base, md5: 'm' }), true);
  assert.equal(sameContent({ ...base, md5: 'm' }, { ...base, md5: 'n' }), undefined, 'an ETag may be no MD5');
  assert.equal(sameContent({ ...base, digest: 'd' }, { ...base, digest: 'd' }), true);
  assert.equal(sameContent({ ...base, digest: 'd' }, { ...base, digest: 'e' }), false);
  assert.equal(sameContent({ ...base, digest: 'd', md5: 'm' }, { ...base, digest: 'e', md5: 'm' }), false);
  assert.equal(sameContent({ ...base, size: 0 }, { ...base, size: 0 }), true);
  const { traits: _, ...unread } = base;
  assert.equal(
    sameContent({ ...unread, md5: 'm' }, { ...base, md5: 'm' }),
    undefined,
    'metadata is not known',
  );
});

test('how many sites a write mode asks for, and how many deletions a guard allows', () => {
  const sync = (acks: 'majority' | 'all' | number) => acksNeeded({ kind: 'sync', acks }, 3);
  assert.deepEqual(
    [acksNeeded({ kind: 'async' }, 3), sync('majority'), sync('all'), sync(2), sync(9)],
    [1, 2, 3, 2, 3],
  );
  assert.equal(acksNeeded({ kind: 'sync', acks: 'majority' }, 4), 3);
  assert.equal(deletesAllowed({ keys: 100, share: 0.05 }, 1_000), 100);
  assert.equal(deletesAllowed({ keys: 100, share: 0.05 }, 2_039), 101);
  assert.equal(deletesAllowed({ keys: 0, share: 0 }, 50), 0);
});
