import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ListEntry, ListRequest } from '../../ports/object-store.ts';
import type { S3Bucket } from './bucket.ts';
import type { S3Request } from './client.ts';
import { listPages } from './pages.ts';

const keys = Array.from({ length: 30 }, (_, i) => `k${String(i).padStart(2, '0')}`);

/** A bucket of `keys`; `asked` is what was asked of it. */
function bucketOf(entry: (key: string, index: number) => string = entryOf) {
  const asked: NonNullable<S3Request['query']>[] = [];
  const send = async ({ query = {} }: S3Request) => {
    asked.push(query);
    const after = query['continuation-token'] ?? query['start-after'] ?? '';
    const behind = keys.filter((key) => key > after);
    const page = behind.slice(0, Number(query['max-keys']));
    const text =
      `<ListBucketResult xmlns="urn:s3"><IsTruncated>${page.length < behind.length}</IsTruncated>` +
      `${page.map(entry).join('')}<NextContinuationToken>${page.at(-1)}</NextContinuationToken></ListBucketResult>`;
    return { status: 200, headers: {}, body: { bytes: async () => Buffer.from(text) } };
  };
  const bucket = { prefix: '', keyRules: 'any', etagsAreMd5: true, client: { send } };
  return { bucket: bucket as unknown as S3Bucket, asked };
}

function entryOf(key: string): string {
  return `<Contents><Key>${key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;e&quot;</ETag><Size>1</Size></Contents>`;
}

async function list(bucket: S3Bucket, request: ListRequest): Promise<ListEntry[]> {
  const entries: ListEntry[] = [];
  for await (const page of listPages(bucket, request, new AbortController().signal)) entries.push(...page);
  return entries;
}

test('a range that ends with a page asks for no further one', async () => {
  const { bucket, asked } = bucketOf();
  const entries = await list(bucket, { after: 'k04', until: 'k14', pageSize: 10 });
  assert.deepEqual(
    entries.map(({ key }) => key),
    keys.slice(5, 15),
  );
  assert.equal(asked.length, 1);
  const inside = await list(bucket, { after: 'k04', until: 'k12', pageSize: 10 });
  assert.deepEqual(
    inside.map(({ key }) => key),
    keys.slice(5, 13),
  );
  assert.equal(asked.length, 2);
});

test('entries may be written differently from one to the next', async () => {
  const { bucket } = bucketOf((key, index) => {
    const plain = entryOf(key);
    const owned = plain.replace('</Contents>', '<Owner><ID>o</ID><Size>9</Size></Owner></Contents>');
    return [plain, plain, owned, owned, plain.replace('<Key>', '<Key><!-- c -->')][index % 5]!;
  });
  const entries = await list(bucket, {});
  assert.deepEqual(
    entries.map(({ key, size, token }) => [key, size, token]),
    keys.map((key) => [key, 1, 'e 1767225600 -']),
  );
});

test('an entry that lacks what it must have is no entry to pass over', async () => {
  for (const tag of ['Key', 'Size', 'LastModified', 'ETag']) {
    const without = new RegExp(`<${tag}>.*</${tag}>`);
    const { bucket } = bucketOf((key, index) =>
      index === 7 ? entryOf(key).replace(without, '') : entryOf(key),
    );
    await assert.rejects(list(bucket, {}), { code: 'broken-listing' }, tag);
  }
  const { bucket } = bucketOf((key, index) => (index === 7 ? '<Contents/>' : entryOf(key)));
  await assert.rejects(list(bucket, {}), { code: 'broken-listing' });
});
