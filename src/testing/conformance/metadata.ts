import assert from 'node:assert/strict';
import { gzipSync } from 'node:zlib';
import { noMetadata, type ObjectMetadata } from '../../model/metadata.ts';
import {
  assertAbsent,
  assertBody,
  assertFails,
  assertWritten,
  entriesOf,
  readOrFail,
  text,
} from './observe.ts';
import { sendInParts, sendParts } from './parts.ts';
import { type Scratch, Skipped, type Subject } from './subject.ts';

const user = (entries: Record<string, string>): ObjectMetadata => ({ user: entries, tags: {} });
const tags = (entries: Record<string, string>): ObjectMetadata => ({ user: {}, tags: entries });

const cases: Readonly<Record<string, ObjectMetadata>> = {
  'none at all': noMetadata,
  'a content type': { ...noMetadata, contentType: 'text/plain; charset=utf-8' },
  'a cache control': { ...noMetadata, cacheControl: 'public, max-age=60' },
  'a content disposition': { ...noMetadata, contentDisposition: 'attachment; filename="a b.txt"' },
  'a content language': { ...noMetadata, contentLanguage: 'de, en' },
  'user names with every kind of character': user({
    plain: '1',
    'with-dash': '2',
    with_line: '3',
    'with.dot': '4',
    '5th': '5',
  }),
  'user names that an escape could confuse': user({
    a_b: '1',
    'a-b': '2',
    'a.b': '3',
    a__b: '4',
    a_2d_b: '5',
  }),
  "Isobar's own entry": user({ isobar: `v1:${'0123456789abcdef,;='.repeat(15)}` }),
  'a non-ASCII user value': user({ a: 'Grüße aus 日本 \u{1F600}' }),
  'a Latin-1 user value': user({ a: 'é' }),
  'user values with spaces at both ends': user({ a: '  x  ', b: ' ', c: 'x ' }),
  'an empty user value': user({ a: '', b: 'x' }),
  'user values that look encoded': user({ a: '%41%', b: '=?UTF-8?B?eA==?=', c: '=?UTF-8?Q?x?=', d: '+a+b' }),
  'user values with quotes, commas and equals signs': user({ a: '"x", \'y\'; z=1\\n' }),
  'a tag': tags({ team: 'storage' }),
  'tags with odd ASCII': tags({ 'a&b=c+d e': 'x&y=z+w v', q: 'a/b?c#d%20', e: '' }),
  'tags with Unicode': tags({ größe: '日本 \u{1F600}' }),
};

const everything: ObjectMetadata = {
  contentType: 'application/json',
  cacheControl: 'no-cache',
  contentEncoding: 'gzip',
  contentDisposition: 'inline',
  contentLanguage: 'fr',
  user: { isobar: 'v1:abc', 'x-y': 'ü ', empty: '' },
  tags: { one: '1', 'two & three': '2+3' },
};

export function metadataTests(subject: Subject): void {
  for (const [name, metadata] of Object.entries(cases)) {
    subject.test(`${name}: kept by a write`, [], (scratch) => writtenRoundTrip(scratch, metadata, text('x')));
  }
  subject.test('everything together with a compressed body: kept by a write', [], (scratch) =>
    writtenRoundTrip(scratch, everything, gzipSync('{}')),
  );
  uploadTests(subject);
  limitTests(subject);
}

/** Metadata as the store must tell it, in plain objects that assert can compare. */
function plain(metadata: ObjectMetadata): ObjectMetadata {
  return { ...metadata, user: { ...metadata.user }, tags: { ...metadata.tags } };
}

async function assertMetadata(scratch: Scratch, key: string, expected: ObjectMetadata): Promise<void> {
  const { store, signal } = scratch;
  const head = await store.head(key, signal);
  assert.ok(head);
  assert.deepEqual(plain(head.metadata), plain(expected), 'by head');
  const read = await readOrFail(scratch, key);
  await read.bytes();
  assert.deepEqual(plain(read.head.metadata), plain(expected), 'by read');
  if (!store.limits.listsMetadata) return;
  const [entry] = await entriesOf(store, { prefix: key }, signal);
  assert.ok(entry?.metadata, 'a listing that promises metadata has none');
  assert.deepEqual(plain(entry.metadata), plain(expected), 'by list');
}

/** Leaves out what this store cannot hold by its declared limits. */
function within(scratch: Scratch, metadata: ObjectMetadata): ObjectMetadata {
  if (Object.keys(metadata.tags).length <= scratch.store.limits.maxTags) return metadata;
  if (Object.keys(metadata.user).length === 0)
    throw new Skipped('the store declares that it holds no such tags');
  return { ...metadata, tags: {} };
}

async function writtenRoundTrip(scratch: Scratch, wanted: ObjectMetadata, body: Uint8Array): Promise<void> {
  const metadata = within(scratch, wanted);
  const key = scratch.key('a');
  await scratch.put(key, body, metadata);
  await assertMetadata(scratch, key, metadata);
  await assertBody(scratch, key, body);
}

function uploadTests(subject: Subject): void {
  subject.test('everything together: kept by an upload in parts', ['complete'], async (scratch) => {
    const metadata = within(scratch, everything);
    const key = scratch.key('a');
    const sending = {
      key,
      body: gzipSync('{}'),
      metadata,
      condition: { kind: 'absent' },
      signal: scratch.signal,
    } as const;
    assertWritten(await sendInParts(scratch.store, sending));
    await assertMetadata(scratch, key, metadata);
    await assertBody(scratch, key, sending.body);
  });

  subject.test('tags with Unicode: kept by an upload in parts', ['complete'], async (scratch) => {
    const metadata = within(scratch, cases['tags with Unicode']!);
    const key = scratch.key('a');
    const sending = {
      key,
      body: text('x'),
      metadata,
      condition: { kind: 'absent' },
      signal: scratch.signal,
    } as const;
    assertWritten(await sendInParts(scratch.store, sending));
    await assertMetadata(scratch, key, metadata);
  });

  subject.test(
    'metadata of the completion counts, where it is not fixed at the start',
    ['complete'],
    async (scratch) => {
      const { store, signal } = scratch;
      if (store.limits.metadataFixedAtStart)
        throw new Skipped('the store declares that metadata is fixed at the start');
      const key = scratch.key('a');
      const { upload, receipts } = await sendParts(store, {
        key,
        body: text('x'),
        metadata: everything,
        signal,
      });
      const metadata = { contentType: 'text/html', user: { isobar: 'final' }, tags: {} };
      assertWritten(
        await store.completeUpload(upload, receipts, { condition: { kind: 'absent' }, metadata }, signal),
      );
      await assertMetadata(scratch, key, metadata);
    },
  );
}

function limitTests(subject: Subject): void {
  /** One entry of exactly `bytes`, name and value together. */
  const metadataOf = (bytes: number) => user({ limit: 'v'.repeat(bytes - 'limit'.length) });
  const manyTags = (count: number) =>
    tags(Object.fromEntries(Array.from({ length: count }, (_, i) => [`t${i}`, 'v'])));

  subject.test('user metadata just inside the limit is kept', [], (scratch) =>
    writtenRoundTrip(scratch, metadataOf(scratch.store.limits.maxMetadataBytes), text('x')),
  );

  subject.test('user metadata one byte over the limit is invalid, and nothing is written', [], (scratch) =>
    assertInvalid(scratch, metadataOf(scratch.store.limits.maxMetadataBytes + 1)),
  );

  subject.test('metadata over the limit by characters of several bytes is invalid', [], (scratch) =>
    assertInvalid(scratch, user({ limit: 'é'.repeat(scratch.store.limits.maxMetadataBytes / 2) })),
  );

  subject.test('as many tags as the limit says are kept', [], (scratch) => {
    const { maxTags } = scratch.store.limits;
    if (maxTags > 50) throw new Skipped(`the store declares ${maxTags} tags: too many for this test`);
    return writtenRoundTrip(scratch, manyTags(maxTags), text('x'));
  });

  subject.test('one tag more is invalid, and nothing is written', [], (scratch) =>
    assertInvalid(scratch, manyTags(scratch.store.limits.maxTags + 1)),
  );
}

async function assertInvalid(scratch: Scratch, metadata: ObjectMetadata): Promise<void> {
  const { store, signal } = scratch;
  const key = scratch.key('over');
  if (scratch.assurance('create') !== 'none') {
    await assertFails(
      store.write({ key, body: text('x'), metadata, condition: { kind: 'absent' } }, signal),
      'invalid',
    );
  }
  if (scratch.assurance('complete') !== 'none') {
    const sending = { key, body: text('x'), metadata, condition: { kind: 'absent' }, signal } as const;
    await assertFails(sendInParts(store, sending), 'invalid');
  }
  await assertAbsent(scratch, key);
}
