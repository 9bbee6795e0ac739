import assert from 'node:assert/strict';
import { createHash, hash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, beforeEach, test } from 'node:test';
import { StoreFailure, type StoreFailureCode } from '../../model/failure.ts';
import { noMetadata } from '../../model/metadata.ts';
import type { ListRequest, ObjectStore, Upload } from '../../ports/object-store.ts';
import { RefreshedKeys } from './credentials.ts';
import { createS3Store, type S3Config, type S3Options, s3Capabilities } from './store.ts';
import { parseToken } from './token.ts';

interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

interface Scripted {
  readonly status: number;
  readonly headers?: Record<string, string>;
  readonly body?: string | Buffer;
}

// A server that says exactly what a test tells it to: for what no real server can be made to say.
let script: (request: Seen) => Scripted | undefined;
let seen: Seen[] = [];
const server = createServer((request, response) => void answer(request, response));
const signal = new AbortController().signal;
const body = Buffer.from('hello');
const md5 = hash('md5', body);
const absent = { kind: 'absent' } as const;
const match = { kind: 'match', token: 'abc 10 -' } as const;
const opened: ObjectStore[] = [];

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const pieces: Buffer[] = [];
  for await (const piece of request) pieces.push(piece as Buffer);
  const { headers, method = '', url = '' } = request;
  const one = { method, url, headers, body: Buffer.concat(pieces) };
  seen.push(one);
  const said = script(one);
  if (said === undefined) return void request.socket.destroy();
  const length = { 'content-length': String(Buffer.byteLength(said.body ?? '')) };
  response.writeHead(said.status, { ...(method !== 'HEAD' && length), ...said.headers });
  response.end(method === 'HEAD' ? undefined : said.body);
}

before(() => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve)));
beforeEach(() => {
  seen = [];
});
after(async () => {
  for (const store of opened) await store.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

function open(config: Partial<S3Config> = {}, options: S3Options = {}): ObjectStore {
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const keys = { accessKeyId: 'AKID', secretAccessKey: 'very-secret' };
  const store = createS3Store(
    { bucket: 'photos', region: 'eu-west-1', endpoint, ...keys, ...config },
    options,
  );
  opened.push(store);
  return store;
}

const error = (status: number, code: string, more = '', headers: Record<string, string> = {}) => ({
  status,
  headers,
  body: `<?xml version="1.0"?><Error><Code>${code}</Code><Message>words</Message>${more}</Error>`,
});

async function failure(work: Promise<unknown>, code: StoreFailureCode): Promise<StoreFailure> {
  const outcome = await work.then(
    (value) => `resolved with ${JSON.stringify(value)}`,
    (reason: unknown) => reason,
  );
  assert.ok(outcome instanceof StoreFailure, String(outcome));
  assert.equal(outcome.code, code, outcome.message);
  assert.doesNotMatch(outcome.message, /very-secret/);
  return outcome;
}

const write = (store: ObjectStore, condition: typeof absent | typeof match = absent) =>
  store.write({ key: 'a', body, metadata: noMetadata, condition }, signal);
const drain = async (pages: AsyncIterable<readonly object[]>) => {
  const keys: unknown[] = [];
  for await (const page of pages) keys.push(...page.map((entry) => 'key' in entry && entry.key));
  return keys;
};

const refusals: readonly [Scripted, StoreFailureCode, RegExp][] = [
  [error(403, 'AccessDenied'), 'denied', /permissions/],
  [error(403, 'SignatureDoesNotMatch'), 'denied', /secretAccessKey/],
  [error(403, 'InvalidAccessKeyId'), 'denied', /accessKeyId/],
  [error(400, 'ExpiredToken'), 'denied', /session token/],
  [
    error(403, 'RequestTimeTooSkewed', '', { date: new Date(Date.now() + 3.6e6).toUTCString() }),
    'denied',
    /3\d\d\d s behind/,
  ],
  [error(404, 'NoSuchBucket'), 'misplaced', /bucket/],
  [
    error(301, 'PermanentRedirect', '', { 'x-amz-bucket-region': 'us-west-2' }),
    'misplaced',
    /in region "us-west-2"/,
  ],
  [
    error(400, 'AuthorizationHeaderMalformed', '<Region>us-west-2</Region>'),
    'misplaced',
    /in region "us-west-2"/,
  ],
  [error(400, 'EntityTooLarge'), 'invalid', /cannot hold/],
  [error(400, 'MetadataTooLarge'), 'invalid', /cannot hold/],
  [error(400, 'KeyTooLongError'), 'invalid', /cannot hold/],
  [error(400, 'InvalidTag'), 'invalid', /cannot hold/],
  [error(503, 'SlowDown', '', { 'retry-after': '7' }), 'throttled', /fewer/],
  [{ status: 429 }, 'throttled', /fewer/],
  [error(503, 'ServiceUnavailable'), 'unavailable', /again/],
  [error(500, 'InternalError'), 'unavailable', /again/],
  [{ status: 502, body: '<html>bad gateway</html>' }, 'unavailable', /again/],
  [error(400, 'RequestTimeout'), 'unavailable', /again/],
  [error(507, 'XMinioStorageFull'), 'full', /free space/],
  [{ status: 507 }, 'full', /free space/],
  [error(400, 'BadDigest'), 'corrupt', /sent again/],
  [error(501, 'NotImplemented'), 'unsupported', /not offer/],
  [{ status: 404, body: '<!doctype html><html>Not here</html>' }, 'misplaced', /not an S3 endpoint/],
  [{ status: 302, headers: { location: '/login' }, body: '<html/>' }, 'misplaced', /not an S3 endpoint/],
  [{ status: 200, body: '<html>welcome</html>' }, 'misplaced', /not an S3 endpoint/],
];
for (const [said, code, words] of refusals) {
  const name = /<Code>(\w+)/.exec(String(said.body))?.[1] ?? String(said.body ?? '');
  test(`${said.status} ${name} is ${code}`, async () => {
    script = () => said;
    const failed = await failure(write(open()), code);
    assert.match(failed.message, words);
    assert.ok(failed.cause instanceof Error);
    assert.equal(failed.retryAfterMs, said.headers?.['retry-after'] ? 7_000 : undefined);
    await failure(open().read('a', {}, signal), code);
    await failure(drain(open().list({}, signal)), code);
  });
}

test('a connection that breaks is unavailable', async () => {
  script = () => undefined;
  await failure(write(open()), 'unavailable');
});

test('every way of saying that a condition did not hold is a conflict', async () => {
  const store = open();
  for (const said of [
    error(412, 'PreconditionFailed'),
    error(409, 'ConditionalRequestConflict'),
    error(409, 'OperationAborted'),
  ]) {
    script = () => said;
    for (const condition of [absent, match]) assert.equal((await write(store, condition)).kind, 'conflict');
    assert.equal((await store.remove('a', match.token, signal)).kind, 'conflict');
  }
  script = () => error(404, 'NoSuchKey');
  assert.equal((await write(store, match)).kind, 'conflict');
  assert.equal((await store.remove('a', match.token, signal)).kind, 'conflict');
  script = () => error(404, 'NoSuchBucket');
  await failure(store.remove('a', match.token, signal), 'misplaced');
});

test('a write carries its condition, its digest and its length, and never Expect', async () => {
  script = () => ({ status: 200, headers: { etag: `"${md5}"`, 'x-amz-version-id': 'v7' } });
  const written = await write(open(), match);
  const [put] = seen;
  assert.equal(put?.headers['if-match'], '"abc"');
  assert.equal(put.headers['x-amz-content-sha256'], hash('sha256', body));
  assert.equal(put.headers['content-length'], '5');
  assert.equal(put.headers['expect'], undefined);
  assert.match(put.headers['authorization'] ?? '', /content-length;.*if-match/);
  assert.ok(written.kind === 'written');
  assert.deepEqual(written.digests, { md5 });
  const { etag, from = 0, to = 0, version } = parseToken(written.token);
  assert.deepEqual([etag, version], [md5, 'v7']);
  assert.ok(from <= Date.now() / 1000 && to >= Date.now() / 1000 - 1 && to - from <= 5, written.token);
  await write(open());
  assert.equal(seen[1]?.headers['if-none-match'], '*');
});

test('a digest that differs is corrupt, for a body, a part and the whole upload', async () => {
  const wrong = hash('md5', 'other');
  script = () => ({ status: 200, headers: { etag: `"${wrong}"` } });
  const upload: Upload = { id: 'u', key: 'a', size: 5, partSizeBytes: 5, metadata: noMetadata };
  await failure(write(open()), 'corrupt');
  await failure(open().writePart(upload, { index: 0, bytes: body }, signal), 'corrupt');
  script = () => ({ status: 200, body: `<R><ETag>&quot;${wrong}-1&quot;</ETag></R>` });
  await failure(
    open().completeUpload(upload, [`md5 ${md5}`], { condition: absent, metadata: noMetadata }, signal),
    'corrupt',
  );
});

test('an ETag of an encrypted object is no MD5, and listings then tell none', async () => {
  const etag = `"${hash('md5', 'cipher')}"`;
  const item = `<Contents><Key>a</Key><Size>1</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>${etag}</ETag></Contents>`;
  const page = {
    status: 200,
    body: `<ListBucketResult>${item}<IsTruncated>false</IsTruncated></ListBucketResult>`,
  };
  const kms = { status: 200, headers: { etag, 'x-amz-server-side-encryption': 'aws:kms' } };
  script = ({ method }) => (method === 'PUT' ? kms : page);
  const store = open();
  const digests = async () => {
    for await (const [entry] of store.list({}, signal)) return entry?.digests;
    return undefined;
  };
  assert.deepEqual(await digests(), { md5: hash('md5', 'cipher') });
  const written = await write(store);
  assert.deepEqual(written.kind === 'written' && written.digests, {});
  assert.deepEqual(await digests(), {});
});

test('completion: an error within a 200, a lost upload, damaged receipts, the ETag of the parts', async () => {
  const upload: Upload = { id: 'u/1', key: 'a', size: 5, partSizeBytes: 5, metadata: noMetadata };
  const complete = (store: ObjectStore, receipts = [`md5 ${md5}`]) =>
    store.completeUpload(upload, receipts, { condition: absent, metadata: noMetadata }, signal);
  script = () => ({ ...error(200, 'InternalError') });
  await failure(complete(open()), 'unavailable');
  script = () => ({ ...error(200, 'PreconditionFailed') });
  assert.equal((await complete(open())).kind, 'conflict');
  for (const code of ['NoSuchUpload', 'InvalidPart']) {
    script = () => error(404, code);
    await failure(complete(open()), 'upload-lost');
  }
  script = () => error(404, 'NoSuchUpload');
  await failure(open().writePart(upload, { index: 0, bytes: body }, signal), 'upload-lost');
  await open().abortUpload(upload, signal);
  await failure(complete(open(), ['nonsense']), 'upload-lost');
  const whole = `${createHash('md5').update(md5, 'hex').digest('hex')}-1`;
  script = () => ({ status: 200, body: `  \n<R><ETag>"${whole}"</ETag></R>` });
  seen = [];
  const answer = await complete(open());
  assert.ok(answer.kind === 'written');
  assert.deepEqual(
    { ...parseToken(answer.token), to: 0 },
    { etag: whole, from: undefined, to: 0, version: undefined },
  );
  assert.match(seen[0]?.url ?? '', /\?uploadId=u%2F1$/);
  assert.match(seen[0]?.body.toString() ?? '', /<PartNumber>1<\/PartNumber><ETag>&#34;\w+&#34;<\/ETag>/);
});

test('absence is an answer only in a bucket that is there', async () => {
  script = ({ method }) => (method === 'HEAD' ? { status: 404 } : error(404, 'NoSuchBucket'));
  await failure(open().head('a', signal), 'misplaced');
  script = ({ method }) => (method === 'HEAD' ? { status: 404 } : { status: 200, body: '<html/>' });
  await failure(open().head('a', signal), 'misplaced');
  script = ({ method }) =>
    method === 'HEAD' ? { status: 404 } : { status: 200, body: '<ListBucketResult></ListBucketResult>' };
  const store = open();
  seen = [];
  for (let i = 0; i < 3; i++) assert.equal(await store.head('a', signal), undefined);
  assert.deepEqual(
    seen.map((request) => request.method),
    ['HEAD', 'GET', 'HEAD', 'HEAD'],
  );
});

test('a HEAD that is refused without a reason is asked again for it', async () => {
  script = ({ method }) => (method === 'HEAD' ? { status: 403 } : error(403, 'RequestTimeTooSkewed'));
  assert.match((await failure(open().head('a', signal), 'denied')).message, /clock/);
});

test('reads: a range, an object that changed, a server that ignores ranges, too short an answer', async () => {
  const headers = { etag: '"abc"', 'last-modified': new Date(10_000).toUTCString() };
  const store = open();
  script = () => ({ status: 206, headers: { ...headers, 'content-range': 'bytes 2-4/9' }, body: 'cde' });
  const read = await store.read('a', { range: { from: 2, to: 5 }, token: match.token }, signal);
  assert.equal(read?.head.size, 9);
  assert.equal(Buffer.from(await read.bytes()).toString(), 'cde');
  assert.equal(seen[0]?.headers['range'], 'bytes=2-4');
  assert.equal(seen[0].headers['if-match'], '"abc"');
  const short = await store.read('a', { range: { from: 2, to: 8 } }, signal);
  await failure(short?.bytes() ?? Promise.resolve(), 'unavailable');
  await failure(store.read('a', { token: 'abc 11 -' }, signal), 'changed');
  script = () => error(412, 'PreconditionFailed');
  await failure(store.read('a', { token: match.token }, signal), 'changed');
  script = () => ({ status: 200, headers, body: 'abcdefghi' });
  await failure(store.read('a', { range: { from: 2, to: 5 } }, signal), 'unsupported');
});

const entry = (key: string) =>
  `<Contents><Key>${key}</Key><Size>1</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>"e"</ETag></Contents>`;
const pageOf = (keys: string[], next?: string) => ({
  status: 200,
  body: `<ListBucketResult>${keys.map(entry).join('')}<IsTruncated>${next !== undefined}</IsTruncated>${
    next === undefined ? '' : `<NextContinuationToken>${next}</NextContinuationToken>`
  }</ListBucketResult>`,
});

const brokenListings: readonly [string, () => Scripted][] = [
  ['out of order', () => pageOf(['b', 'a'])],
  ['the same page again', () => pageOf(['a', 'b'], 'next')],
  ['a token that repeats', () => pageOf([], 'same')],
  ['truncated and no token', () => pageOf(['a'], '')],
  [
    'not said whether it ends',
    () => ({ status: 200, body: `<ListBucketResult>${entry('a')}</ListBucketResult>` }),
  ],
  ['cut off', () => ({ status: 200, body: pageOf(['a']).body.slice(0, -3) })],
  [
    'an entry without a size',
    () => ({ ...pageOf(['a']), body: pageOf(['a']).body.replace('<Size>1</Size>', '') }),
  ],
  ['another root', () => ({ status: 200, body: '<?xml version="1.0"?><Other></Other>' })],
];
for (const [name, said] of brokenListings) {
  test(`a listing is broken: ${name}`, async () => {
    script = said;
    await failure(drain(open().list({}, signal)), 'broken-listing');
  });
}

test('a listing is broken: a key outside the prefix, and a key not after the start', async () => {
  script = () => pageOf(['b']);
  await failure(drain(open().list({ prefix: 'a' }, signal)), 'broken-listing');
  await failure(drain(open().list({ after: 'b' }, signal)), 'broken-listing');
  await failure(drain(open({ prefix: 'team/' }).list({}, signal)), 'broken-listing');
});

test('a page that fails ends the listing with its failure, never quietly', async () => {
  script = ({ url }) => (url.includes('continuation-token') ? error(503, 'SlowDown') : pageOf(['a'], 'next'));
  await failure(drain(open().list({}, signal)), 'throttled');
});

test('listings: encoded keys, the range, the prefix of the site, and a jump over reserved keys', async () => {
  const store = open({ prefix: 'team a/' });
  script = ({ url }) => {
    const query = new URLSearchParams(url.split('?')[1]);
    assert.equal(query.get('prefix'), 'team a/');
    const reserved = pageOf(['team+a/.isobar/x', 'team+a/.isobar/y'], 'more').body;
    const rest = pageOf(['team+a/a%2Bb+%25%F0%9F%98%80', 'team+a/b', 'team+a/c'], 'never asked').body;
    const text = query.has('start-after') ? rest : reserved;
    return {
      status: 200,
      body: text.replace('<IsTruncated>', '<EncodingType>url</EncodingType><IsTruncated>'),
    };
  };
  assert.deepEqual(await drain(store.list({ until: 'b' }, signal)), ['a+b %\u{1F600}', 'b']);
  assert.equal(seen.length, 2, 'the second page of reserved keys is not asked for');
  const request: ListRequest = { after: 'a', until: 'b', pageSize: 5_000 };
  await drain(store.list(request, signal));
  assert.match(seen[2]?.url ?? '', /max-keys=1000&prefix=team%20a%2F&start-after=team%20a%2Fa$/);
});

test('uploads of a bucket: pages, and a marker that repeats', async () => {
  const uploads = (ids: string[], next: string) => ({
    status: 200,
    body: `<ListMultipartUploadsResult>${ids
      .map(
        (id) =>
          `<Upload><Key>k ${id}</Key><UploadId>${id}</UploadId><Initiated>2026-01-01T00:00:00Z</Initiated></Upload>`,
      )
      .join(
        '',
      )}<IsTruncated>${next !== ''}</IsTruncated><NextKeyMarker>${next}</NextKeyMarker><NextUploadIdMarker>u</NextUploadIdMarker></ListMultipartUploadsResult>`,
  });
  script = ({ url }) => (url.includes('key-marker=m') ? uploads(['2'], '') : uploads(['1'], 'm'));
  const ids: string[] = [];
  for await (const page of open().listUploads(signal))
    ids.push(...page.map(({ upload }) => `${upload.key}:${upload.id}`));
  assert.deepEqual(ids, ['k 1:1', 'k 2:2']);
  script = () => uploads(['1'], 'm');
  await failure(drain(open().listUploads(signal)), 'broken-listing');
});

test('what the server does not promise is refused by name, and nothing is sent', async () => {
  script = () => ({ status: 200 });
  const store = open(
    {},
    { capabilities: { ...s3Capabilities, create: 'none', replace: 'recoverable', remove: 'none' } },
  );
  assert.match((await failure(write(store), 'unsupported')).message, /If-None-Match on create/);
  await failure(write(store, match), 'unsupported');
  await failure(store.remove('a', match.token, signal), 'unsupported');
  assert.equal(seen.length, 0);
});

test('keys that S3 cannot hold are refused before anything is sent', async () => {
  script = () => ({ status: 200, headers: { etag: '"x"' } });
  const store = open({ prefix: 'p/' });
  const put = (key: string) => store.write({ key, body, metadata: noMetadata, condition: absent }, signal);
  for (const key of ['', 'k'.repeat(1023), 'a\ud800']) await failure(put(key), 'invalid');
  await failure(store.remove('', match.token, signal), 'invalid');
  assert.equal(seen.length, 0);
});

test('a server of files never sees a key that it would bend', async () => {
  script = () => ({ status: 200, body: '<ListBucketResult></ListBucketResult>' });
  const store = open({}, { keys: 'files' });
  const put = store.write({ key: 'a//b', body, metadata: noMetadata, condition: absent }, signal);
  await failure(put, 'invalid');
  assert.equal(await store.head('a//b', signal), undefined);
  assert.equal(await store.read('a/../b', {}, signal), undefined);
  assert.equal((await store.remove('a//b', match.token, signal)).kind, 'conflict');
  assert.ok(
    seen.every(({ url }) => url.startsWith('/photos/?')),
    'only the bucket itself was asked',
  );
});

test('half of a key pair, and an endpoint that is no address, are told at once', () => {
  assert.throws(() => createS3Store({ bucket: 'b', accessKeyId: 'x' }), /half of a key pair/);
  assert.throws(() => createS3Store({ bucket: 'b', endpoint: 'nonsense' }), /not an http or https address/);
});

test('fetched keys are kept, renewed before they expire, and fetched once for many', async () => {
  let nowMs = 0;
  let fetches = 0;
  const source = new RefreshedKeys(
    async () => {
      fetches += 1;
      return { accessKeyId: `k${fetches}`, secretAccessKey: 's', expiration: new Date(nowMs + 3_600_000) };
    },
    () => nowMs,
  );
  const id = async () => (await source.keys()).accessKeyId;
  assert.deepEqual(await Promise.all([id(), id(), id()]), ['k1', 'k1', 'k1']);
  nowMs = 3_600_000 - 60_000;
  assert.equal(await id(), 'k1', 'the old keys serve while new ones are fetched');
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(await id(), 'k2');
  nowMs += 3_600_000;
  assert.equal(await id(), 'k3', 'expired keys are never used');
  source.forget();
  assert.equal(await id(), 'k4');
});

test('without any credentials the failure says what to do', async () => {
  const source = new RefreshedKeys(
    () => Promise.reject(new Error('none found')),
    () => 0,
  );
  const failed = await failure(Promise.resolve(source.keys()), 'denied');
  assert.match(failed.message, /none found.*accessKeyId/);
});
