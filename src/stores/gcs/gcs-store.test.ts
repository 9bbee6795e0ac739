import assert from 'node:assert/strict';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { StoreFailure, type StoreFailureCode } from '../../model/failure.ts';
import { noMetadata } from '../../model/metadata.ts';
import type { ObjectStore } from '../../ports/object-store.ts';
import { crc32c, crc32cToBase64 } from './crc32c.ts';
import { createGcsStore, gcsNameProblem } from './gcs-store.ts';

interface Seen {
  readonly method: string;
  readonly url: URL;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

interface Reply {
  readonly status?: number;
  readonly headers?: Record<string, string>;
  readonly json?: unknown;
  readonly body?: string | Uint8Array;
}

const listing = (rest: object = {}): Reply => ({ json: { kind: 'storage#objects', ...rest } });
const refusal = (status: number, reason: string, message = 'refused'): Reply => ({
  status,
  json: { error: { code: status, message, errors: [{ reason, message }] } },
});

/** A server that answers as told, to see how the driver understands it; what a real one does is shown elsewhere. */
async function serve(t: TestContext, answer: (seen: Seen) => Reply, prefix = '') {
  const requests: Seen[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const url = new URL(request.url ?? '', 'http://local');
    const seen = {
      method: request.method!,
      url,
      headers: request.headers,
      body: Buffer.concat(chunks).toString(),
    };
    requests.push(seen);
    const { status = 200, headers = {}, json, body } = answer(seen);
    response.writeHead(status, headers).end(json === undefined ? body : JSON.stringify(json));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const store = createGcsStore({ bucket: 'photos', endpoint, prefix });
  t.after(async () => {
    await store.close();
    server.close();
  });
  return { store, requests };
}

const signal = new AbortController().signal;
const body = Buffer.from('hello');
const absent = { kind: 'absent' } as const;

function object(name: string, rest: object = {}): object {
  const checksum = crc32cToBase64(crc32c(body));
  const time = '2026-11-21T10:00:00.5Z';
  return { name, generation: '7', metageneration: '2', size: '5', updated: time, crc32c: checksum, ...rest };
}

const write = (store: ObjectStore) =>
  store.write({ key: 'a', body, metadata: noMetadata, condition: absent }, signal);

async function drain(store: ObjectStore): Promise<string[]> {
  const keys: string[] = [];
  for await (const page of store.list({}, signal)) keys.push(...page.map((entry) => entry.key));
  return keys;
}

async function failsWith(work: Promise<unknown>, code: StoreFailureCode): Promise<StoreFailure> {
  const error = await work.then(
    () => assert.fail(`expected ${code}, but it resolved`),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof StoreFailure, String(error));
  assert.equal(error.code, code, error.message);
  return error;
}

test('a write is one request with condition, checksum, metadata and bytes, and no credentials over http', async (t) => {
  const { store, requests } = await serve(t, () => ({ json: object('team/a') }), 'team/');
  const metadata = { contentType: 'text/plain', user: { a: 'ü' }, tags: {} };
  const condition = { kind: 'match', token: '41.3' } as const;
  const answer = await store.write({ key: 'a', body, metadata, condition }, signal);
  assert.deepEqual(answer, { kind: 'written', token: '7.2', digests: { crc32c: '9a71bb4c' } });
  assert.equal(requests.length, 1);
  const { url, headers, body: sent } = requests[0]!;
  assert.equal(url.pathname, '/upload/storage/v1/b/photos/o');
  assert.equal(url.searchParams.get('ifGenerationMatch'), '41');
  assert.equal(url.searchParams.get('ifMetagenerationMatch'), '3');
  assert.equal(headers.authorization, undefined);
  const [, json, bytes] = sent.split(/--isobar-[0-9a-f-]+(?:--)?\r\n/);
  const described = JSON.parse(json!.split('\r\n\r\n')[1]!) as object;
  const expected = { name: 'team/a', crc32c: 'mnG7TA==', contentType: 'text/plain', metadata: { a: 'ü' } };
  assert.deepEqual(described, expected);
  assert.equal(bytes, 'content-type: text/plain\r\n\r\nhello\r\n');
});

test('every refusal has its code', async (t) => {
  let reply: Reply = {};
  const { store } = await serve(t, () => reply);
  const cases: ReadonlyArray<readonly [Reply, StoreFailureCode]> = [
    [refusal(401, 'authError'), 'denied'],
    [refusal(403, 'forbidden'), 'denied'],
    [refusal(403, 'rateLimitExceeded'), 'throttled'],
    [refusal(403, 'userRateLimitExceeded'), 'throttled'],
    [refusal(429, 'rateLimitExceeded'), 'throttled'],
    [{ status: 429, body: 'slow down' }, 'throttled'],
    [refusal(403, 'retentionPolicyNotMet'), 'invalid'],
    [refusal(400, 'userProjectMissing'), 'denied'],
    [refusal(404, 'notFound', 'The specified bucket does not exist.'), 'misplaced'],
    [refusal(408, 'requestTimeout'), 'unavailable'],
    [refusal(503, 'backendError'), 'unavailable'],
    [{ status: 502, body: '<html>bad gateway</html>' }, 'unavailable'],
    [refusal(400, 'invalid'), 'invalid'],
    [refusal(400, 'invalid', `Provided CRC32C "x" doesn't match calculated CRC32C "y".`), 'corrupt'],
    [{ status: 403, body: '<Error><Code>SignatureDoesNotMatch</Code></Error>' }, 'misplaced'],
    [{ status: 404, body: 'not here' }, 'misplaced'],
    [{ status: 301, body: '' }, 'misplaced'],
    [{ status: 200, body: '<html>welcome</html>' }, 'misplaced'],
    [{ status: 200, json: {} }, 'misplaced'],
    [{ json: object('a', { crc32c: 'AAAAAA==' }) }, 'corrupt'],
    [{ json: object('a', { size: '4' }) }, 'corrupt'],
  ];
  for (const [given, code] of cases) {
    reply = given;
    await failsWith(write(store), code);
  }
  reply = { ...refusal(429, 'rateLimitExceeded'), headers: { 'retry-after': '3' } };
  assert.equal((await failsWith(write(store), 'throttled')).retryAfterMs, 3_000);
  reply = refusal(412, 'conditionNotMet');
  assert.deepEqual(await write(store), { kind: 'conflict' });
});

test('an absent object is believed only of a bucket that answers', async (t) => {
  let bucket: Reply = listing();
  const isListing = (url: URL) => url.pathname.endsWith('/o');
  const { store } = await serve(t, ({ url }) => (isListing(url) ? bucket : refusal(404, 'notFound')));
  assert.equal(await store.head('a', signal), undefined);
  assert.equal(await store.read('a', {}, signal), undefined);
  assert.deepEqual(await store.remove('a', '1.1', signal), { kind: 'conflict' });
  for (const [reply, code] of [
    [refusal(404, 'notFound'), 'misplaced'],
    [refusal(403, 'forbidden'), 'denied'],
    [{ status: 503, body: '' }, 'unavailable'],
    [{ json: {} }, 'misplaced'],
  ] as const) {
    bucket = reply;
    await failsWith(store.head('a', signal), code);
    await failsWith(store.read('a', {}, signal), code);
    await failsWith(store.remove('a', '1.1', signal), code);
  }
});

test('a listing that is empty without saying so, broken or out of order never passes for one', async (t) => {
  const pages = new Map<string | null, Reply>();
  const { store } = await serve(t, ({ url }) => pages.get(url.searchParams.get('pageToken')) ?? listing());
  const first = (reply: Reply) => pages.set(null, reply);
  const bad: ReadonlyArray<readonly [Reply, StoreFailureCode]> = [
    [{ json: {} }, 'misplaced'],
    [{ json: [] }, 'misplaced'],
    [{ body: '' }, 'misplaced'],
    [{ body: '{"kind":"storage#objects","items":[{"na' }, 'misplaced'],
    [refusal(403, 'forbidden'), 'denied'],
    [refusal(503, 'backendError'), 'unavailable'],
    [listing({ items: [object('b'), object('a')] }), 'broken-listing'],
    [listing({ items: [object('a'), object('a')] }), 'broken-listing'],
    [listing({ items: [{ name: 'a' }] }), 'misplaced'],
  ];
  for (const [reply, code] of bad) {
    first(reply);
    await failsWith(drain(store), code);
  }
  first(listing({ items: [object('b')], nextPageToken: 't' }));
  pages.set('t', listing({ items: [object('a')] }));
  await failsWith(drain(store), 'broken-listing');
  pages.set('t', refusal(503, 'backendError'));
  await failsWith(drain(store), 'unavailable');
  pages.set('t', listing({ nextPageToken: 'u' })).set('u', listing({ nextPageToken: 't' }));
  await failsWith(drain(store), 'broken-listing');
  pages.set('u', listing({ items: [object('\u{FFFD}'), object('\u{10000}')] }));
  assert.deepEqual(await drain(store), ['b', '\u{FFFD}', '\u{10000}']);
});

test('a page of hidden keys is jumped over instead of followed', async (t) => {
  const hidden = listing({ items: [object('t/.isobar/uploads/1')], nextPageToken: 'more' });
  const rest = listing({ items: [object('t/a')] });
  const { store, requests } = await serve(
    t,
    ({ url }) => (url.searchParams.has('startOffset') ? rest : hidden),
    't/',
  );
  assert.deepEqual(await drain(store), ['a']);
  assert.equal(requests[1]!.url.searchParams.get('startOffset'), 't/.isobar0');
  assert.equal(requests[1]!.url.searchParams.get('pageToken'), null);
});

test('a read by a token that a listing told is one request, and any other write is changed', async (t) => {
  let generation = '7';
  const media = (): Reply => ({ headers: { 'x-goog-generation': generation }, body });
  const { store, requests } = await serve(t, ({ url }) => {
    if (url.pathname.endsWith('/o')) return listing({ items: [object('a')] });
    return url.searchParams.get('alt') === 'media' ? media() : { json: object('a', { generation }) };
  });
  await drain(store);
  requests.length = 0;
  const read = await store.read('a', { token: '7.2' }, signal);
  assert.equal(Buffer.from(await read!.bytes()).toString(), 'hello');
  assert.equal(read!.head.size, 5);
  assert.equal(requests.length, 1);
  assert.equal(requests[0]!.url.searchParams.get('ifGenerationMatch'), '7');
  assert.equal(requests[0]!.headers['accept-encoding'], 'gzip');
  generation = '8';
  await failsWith(store.read('a', { token: '7.2' }, signal), 'changed');
  await failsWith(store.read('a', { token: 'of another store' }, signal), 'changed');
  assert.equal((await store.read('a', {}, signal))!.head.token, '8.2');
});

test('bytes that are not as stored, or not the range, are refused; an ignored range is cut', async (t) => {
  let reply: Reply = {};
  const generation = { 'x-goog-generation': '7' };
  const { store } = await serve(t, ({ url }) =>
    url.searchParams.has('alt') ? reply : { json: object('a') },
  );
  reply = { headers: { ...generation, 'x-goog-stored-content-encoding': 'gzip' }, body };
  await failsWith(store.read('a', {}, signal), 'corrupt');
  reply = {
    headers: { ...generation, 'x-goog-stored-content-encoding': 'identity', 'content-encoding': 'gzip' },
    body: gzipSync(body),
  };
  await failsWith(store.read('a', {}, signal), 'corrupt');
  const range = { from: 1, to: 3 };
  reply = { status: 206, headers: { ...generation, 'content-range': 'bytes 0-1/5' }, body: 'he' };
  await failsWith(store.read('a', { range }, signal), 'corrupt');
  reply = { headers: generation, body };
  assert.equal(Buffer.from(await (await store.read('a', { range }, signal))!.bytes()).toString(), 'el');
  reply = { headers: generation, body: 'hell' };
  await failsWith((await store.read('a', {}, signal))!.bytes(), 'unavailable');
});

test('a composed object whose checksum is not that of its parts is corrupt', async (t) => {
  const { store } = await serve(t, ({ method, url }) => {
    if (url.pathname.endsWith('/compose')) return { json: object('a', { size: '10' }) };
    if (url.pathname.endsWith('/o') && method === 'GET') return listing();
    return { json: object('part') };
  });
  const upload = { id: 'u', key: 'a', size: 10, partSizeBytes: 5, metadata: noMetadata };
  const receipts = [0, 1].map((index) => store.writePart(upload, { index, bytes: body }, signal));
  const commit = { condition: absent, metadata: noMetadata };
  await failsWith(store.completeUpload(upload, await Promise.all(receipts), commit, signal), 'corrupt');
});

test('credentials that cannot be used are denied, and say what to do', async () => {
  const keyFile = `${import.meta.dirname}/no-such-key.json`;
  const store = createGcsStore({ bucket: 'photos', keyFile });
  const error = await failsWith(store.head('a', signal), 'denied');
  assert.match(error.message, /keyFile/);
  const reason = new Error('stopped');
  await assert.rejects(store.head('a', AbortSignal.abort(reason)), reason);
  await store.close();
});

test('names that the service refuses are refused before anything is sent', async (t) => {
  const { store, requests } = await serve(t, () => listing(), 'p/');
  for (const key of ['a\nb', 'a\rb', 'k'.repeat(1023), '\ud800']) {
    await failsWith(store.write({ key, body, metadata: noMetadata, condition: absent }, signal), 'invalid');
    const upload = { key, size: 1, partSizeBytes: 1, metadata: noMetadata };
    await failsWith(store.startUpload(upload, signal), 'invalid');
  }
  assert.equal(store.limits.maxKeyBytes, 1022);
  assert.equal(requests.length, 0);
  for (const name of ['.', '..', '.well-known/acme-challenge/x']) assert.ok(gcsNameProblem(name));
  for (const name of ['a/..', './a', '.well-known/x', 'k'.repeat(1024)])
    assert.equal(gcsNameProblem(name), undefined);
});
