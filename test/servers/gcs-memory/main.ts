/* A Google Cloud Storage server in memory, for tests: the JSON API as Google's reference describes it, with every
 * precondition on every verb, metagenerations, and resumable uploads that really resume.
 *   node main.ts <port> [writes per second and name, 0 for no limit]
 * Why it exists: docs/test-servers.md. No credentials are looked at. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { gunzipSync } from 'node:zlib';
import {
  type Attributes,
  Bucket,
  type Conditions,
  Content,
  check,
  notFound,
  Refusal,
  type StoredObject,
} from './objects.ts';
import { finish, pick, Sessions, splitMultipart, type Unfinished, type UploadResource } from './uploads.ts';

const port = Number(process.argv[2]);
const writesPerSecondPerName = Number(process.argv[3] ?? 0);
const buckets = new Map<string, Bucket>();
const sessions = new Sessions();

interface Call {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly query: URLSearchParams;
  /** What the pattern caught, decoded. */
  readonly names: readonly string[];
}

type Handler = (call: Call) => Promise<void> | void;
const object = '/storage/v1/b/([^/]+)/o/([^/]+)';
const routes: readonly (readonly [method: string, pattern: RegExp, handler: Handler])[] = (
  [
    ['GET', '/storage/v1/b', listBuckets],
    ['POST', '/storage/v1/b', makeBucket],
    ['GET', '/storage/v1/b/([^/]+)', getBucket],
    ['DELETE', '/storage/v1/b/([^/]+)', deleteBucket],
    ['GET', '/storage/v1/b/([^/]+)/o', list],
    ['GET', `(?:/download)?${object}`, read],
    ['HEAD', `(?:/download)?${object}`, read],
    ['PATCH', object, patch],
    ['PUT', object, update],
    ['DELETE', object, remove],
    ['POST', `${object}/compose`, compose],
    ['POST', `${object}/(rewriteTo|copyTo)/b/([^/]+)/o/([^/]+)`, rewrite],
    ['POST', '/upload/storage/v1/b/([^/]+)/o', upload],
    ['PUT', '/upload/storage/v1/b/([^/]+)/o', continueUpload],
    ['DELETE', '/upload/storage/v1/b/([^/]+)/o', cancelUpload],
  ] as const
).map(([method, pattern, handler]) => [method, new RegExp(`^${pattern}/?$`), handler]);

const server = createServer((request, response) => {
  handle(request, response).catch((error: unknown) => refuse(response, error));
});
server.keepAliveTimeout = 60_000;
server.listen(port, '127.0.0.1');

async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
  // Not `URL`: it would take `/./` out of a path.
  const [path = '', search = ''] = (request.url ?? '').split('?', 2);
  for (const [method, pattern, handler] of routes) {
    const match = method === request.method ? pattern.exec(path) : null;
    if (match === null) continue;
    const names = match.slice(1).map((name) => decodeURIComponent(name));
    return handler({ request, response, query: new URLSearchParams(search), names });
  }
  throw new Refusal(404, 'notFound', `no such method here: ${request.method} ${path}`);
}

function listBuckets({ response }: Call): void {
  json(response, 200, { kind: 'storage#buckets', items: [...buckets.keys()].map(bucketResource) });
}

async function makeBucket({ request, response }: Call): Promise<void> {
  const { name } = (await bodyJson(request)) as { name?: string };
  if (name === undefined || name === '') throw new Refusal(400, 'required', 'name');
  if (buckets.has(name))
    throw new Refusal(
      409,
      'conflict',
      'Your previous request to create the named bucket succeeded and you already own it.',
    );
  buckets.set(name, new Bucket(name, writesPerSecondPerName));
  json(response, 200, bucketResource(name));
}

function getBucket({ response, names }: Call): void {
  json(response, 200, bucketResource(bucketOf(names[0]).name));
}

function deleteBucket({ response, names }: Call): void {
  const bucket = bucketOf(names[0]);
  if (!bucket.isEmpty) throw new Refusal(409, 'conflict', 'The bucket you tried to delete is not empty.');
  buckets.delete(bucket.name);
  response.writeHead(204).end();
}

function list({ response, query, names }: Call): void {
  const asked = Number(query.get('maxResults') ?? 1000);
  const pageToken = Buffer.from(query.get('pageToken') ?? '', 'base64url').toString('utf8');
  const { items, prefixes, nextPageToken } = bucketOf(names[0]).list({
    prefix: query.get('prefix') ?? '',
    delimiter: query.get('delimiter') ?? '',
    startOffset: query.get('startOffset') ?? '',
    endOffset: query.get('endOffset') ?? '',
    pageToken,
    maxResults: Math.min(asked > 0 ? asked : 1000, 1000),
  });
  json(response, 200, {
    kind: 'storage#objects',
    ...(items.length > 0 ? { items: items.map(objectResource) } : {}),
    ...(prefixes.length > 0 ? { prefixes } : {}),
    ...(nextPageToken === undefined
      ? {}
      : { nextPageToken: Buffer.from(nextPageToken).toString('base64url') }),
  });
}

function read({ request, response, query, names }: Call): void {
  const found = bucketOf(names[0]).get(names[1] ?? '', query.get('generation') ?? undefined);
  check(found, conditionsOf(query), true);
  const isMedia = query.get('alt') === 'media' || request.url?.startsWith('/download/');
  if (isMedia) sendMedia(request, response, found);
  else json(response, 200, objectResource(found));
}

function sendMedia(request: IncomingMessage, response: ServerResponse, found: StoredObject): void {
  const hashes = [`crc32c=${found.crc32c}`, ...(found.md5Hash === undefined ? [] : [`md5=${found.md5Hash}`])];
  response.setHeader('content-type', found.contentType ?? 'application/octet-stream');
  response.setHeader('etag', etag(found));
  response.setHeader('x-goog-generation', found.generation);
  response.setHeader('x-goog-metageneration', found.metageneration);
  response.setHeader('x-goog-stored-content-length', found.size);
  response.setHeader('x-goog-stored-content-encoding', found.contentEncoding ?? 'identity');
  response.setHeader('x-goog-hash', hashes.join(','));
  response.setHeader('last-modified', new Date(found.updated).toUTCString());
  if (found.cacheControl !== undefined) response.setHeader('cache-control', found.cacheControl);
  let body: readonly Buffer[] = found.body;
  let size = found.size;
  let status = 200;
  if (isGunzipped(request, found)) {
    // Google unpacks for clients that do not say `accept-encoding: gzip`; it then ignores ranges.
    body = [gunzipSync(Buffer.concat(body))];
    size = body[0]?.length ?? 0;
    response.setHeader('warning', '214 UploadServer gunzipped');
  } else {
    if (found.contentEncoding !== undefined) response.setHeader('content-encoding', found.contentEncoding);
    response.setHeader('accept-ranges', 'bytes');
    const range = rangeOf(request.headers.range, size);
    if (range !== undefined) {
      status = 206;
      response.setHeader('content-range', `bytes ${range.from}-${range.to - 1}/${size}`);
      body = slice(body, range.from, range.to);
      size = range.to - range.from;
    }
  }
  response.writeHead(status, { 'content-length': size });
  if (request.method !== 'HEAD') for (const chunk of body) response.write(chunk);
  response.end();
}

function isGunzipped(request: IncomingMessage, found: StoredObject): boolean {
  if (found.contentEncoding !== 'gzip' || found.cacheControl?.includes('no-transform')) return false;
  return !String(request.headers['accept-encoding'] ?? '').includes('gzip');
}

function rangeOf(header: string | undefined, size: number): { from: number; to: number } | undefined {
  const parts = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
  if (parts === null || (parts[1] === '' && parts[2] === '')) return undefined;
  const from = parts[1] === '' ? Math.max(0, size - Number(parts[2])) : Number(parts[1]);
  const to = parts[1] === '' || parts[2] === '' ? size : Math.min(size, Number(parts[2]) + 1);
  if (from >= size || from >= to) throw new Refusal(416, 'requestedRangeNotSatisfiable');
  return { from, to };
}

function slice(body: readonly Buffer[], from: number, to: number): Buffer[] {
  const chunks: Buffer[] = [];
  let at = 0;
  for (const chunk of body) {
    if (at < to && at + chunk.length > from) chunks.push(chunk.subarray(Math.max(0, from - at), to - at));
    at += chunk.length;
  }
  return chunks;
}

async function patch({ request, response, query, names }: Call): Promise<void> {
  const given = (await bodyJson(request)) as Attributes;
  const bucket = bucketOf(names[0]);
  const before = bucket.get(names[1] ?? '');
  const changes = Object.entries(pick(given)).filter(([name]) => name in given);
  const attributes = Object.fromEntries(
    changes.map(([name, value]) => [name, value ?? undefined]),
  ) as Attributes;
  if (given.metadata != null) attributes.metadata = merge(before.metadata, given.metadata);
  json(response, 200, objectResource(bucket.change(before.name, attributes, conditionsOf(query))));
}

/** PATCH keeps the entries that are not named; null takes one away. */
function merge(
  before: Record<string, string> | undefined,
  changes: Record<string, string | null>,
): Record<string, string> {
  const merged: Record<string, string> = { ...before };
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) delete merged[name];
    else merged[name] = value;
  }
  return merged;
}

async function update({ request, response, query, names }: Call): Promise<void> {
  const given = (await bodyJson(request)) as Attributes;
  json(
    response,
    200,
    objectResource(bucketOf(names[0]).change(names[1] ?? '', pick(given), conditionsOf(query))),
  );
}

function remove({ response, query, names }: Call): void {
  bucketOf(names[0]).delete(names[1] ?? '', query.get('generation') ?? undefined, conditionsOf(query));
  response.writeHead(204).end();
}

interface ComposeRequest {
  readonly destination?: Attributes;
  readonly sourceObjects?: readonly {
    readonly name: string;
    readonly generation?: string;
    readonly objectPreconditions?: { readonly ifGenerationMatch?: string };
  }[];
}

async function compose({ request, response, query, names }: Call): Promise<void> {
  const { destination = {}, sourceObjects = [] } = (await bodyJson(request)) as ComposeRequest;
  if (sourceObjects.length < 1 || sourceObjects.length > 32)
    throw new Refusal(400, 'invalid', 'one to 32 source objects');
  const bucket = bucketOf(names[0]);
  const content = new Content(false);
  let components = 0;
  for (const source of sourceObjects) {
    const found = bucket.get(source.name, source.generation);
    check(found, { generationMatch: source.objectPreconditions?.ifGenerationMatch });
    for (const chunk of found.body) content.add(chunk);
    components += found.componentCount ?? 1;
  }
  const made = bucket.put(names[1] ?? '', content, pick(destination), conditionsOf(query), components);
  json(response, 200, objectResource(made));
}

async function rewrite({ request, response, query, names }: Call): Promise<void> {
  const [from, source = '', verb, to, target = ''] = names;
  const given = await bodyJson(request);
  const found = bucketOf(from).get(source, query.get('sourceGeneration') ?? undefined);
  check(found, conditionsOf(query, 'ifSource'));
  const content = new Content(found.md5Hash !== undefined);
  for (const chunk of found.body) content.add(chunk);
  // Without a resource the source's attributes go along, with one it replaces them all.
  const attributes = pick(Object.keys(given).length > 0 ? (given as Attributes) : found);
  const made = bucketOf(to).put(target, content, attributes, conditionsOf(query), found.componentCount);
  const resource = objectResource(made);
  if (verb === 'copyTo') return json(response, 200, resource);
  const size = String(made.size);
  json(response, 200, {
    kind: 'storage#rewriteResponse',
    done: true,
    totalBytesRewritten: size,
    objectSize: size,
    resource,
  });
}

async function upload(call: Call): Promise<void> {
  const { request, response, query, names } = call;
  // Google's Go client sends its chunks by POST.
  if (query.has('upload_id')) return continueUpload(call);
  const bucket = bucketOf(names[0]);
  const conditions = conditionsOf(query);
  const uploadType = query.get('uploadType');
  if (uploadType === 'resumable') return startResumable(call, bucket);
  if (uploadType !== 'media' && uploadType !== 'multipart') throw new Refusal(400, 'invalid', 'uploadType');
  const type = request.headers['content-type'];
  if (uploadType === 'multipart') {
    const { resource, content } = splitMultipart(await bodyOf(request), type ?? '');
    return json(
      response,
      200,
      objectResource(finish(bucket, nameOf(query, resource), content, resource, conditions)),
    );
  }
  const content = new Content();
  for await (const chunk of request) content.add(chunk as Buffer);
  const resource = { contentType: type, contentEncoding: query.get('contentEncoding') ?? undefined };
  json(response, 200, objectResource(finish(bucket, nameOf(query), content, resource, conditions)));
}

async function startResumable({ request, response, query }: Call, bucket: Bucket): Promise<void> {
  const given = (await bodyJson(request)) as UploadResource;
  const contentType = given.contentType ?? header(request, 'x-upload-content-type');
  const session = sessions.start(
    bucket,
    nameOf(query, given),
    { ...given, contentType },
    conditionsOf(query),
  );
  // By the name the client called us: it may stand behind a proxy.
  const location = `http://${request.headers.host}/upload/storage/v1/b/${encodeURIComponent(bucket.name)}/o?uploadType=resumable&upload_id=${session.id}`;
  response.writeHead(200, { location, 'x-guploader-uploadid': session.id, 'content-length': 0 }).end();
}

async function continueUpload({ request, response, query }: Call): Promise<void> {
  const result = await sessions.put(query.get('upload_id') ?? '', request);
  if (!isUnfinished(result)) return json(response, 200, objectResource(result));
  const range: Record<string, string> =
    result.persisted === 0 ? {} : { range: `bytes=0-${result.persisted - 1}` };
  // The same client asks for a 200 that says 308 in a header.
  const isAsked200 = request.headers['x-guploader-no-308'] === 'yes';
  const headers = {
    ...range,
    ...(isAsked200 ? { 'x-http-status-code-override': '308' } : {}),
    'content-length': 0,
  };
  response.writeHead(isAsked200 ? 200 : 308, headers).end();
}

function isUnfinished(result: StoredObject | Unfinished): result is Unfinished {
  return 'persisted' in result;
}

function cancelUpload({ response, query }: Call): void {
  sessions.cancel(query.get('upload_id') ?? '');
  response.writeHead(499, { 'content-length': 0 }).end();
}

function bucketOf(name: string | undefined): Bucket {
  const bucket = buckets.get(name ?? '');
  if (bucket === undefined) throw notFound(`bucket: ${name}`);
  return bucket;
}

function nameOf(query: URLSearchParams, resource: UploadResource = {}): string {
  return query.get('name') ?? resource.name ?? '';
}

function conditionsOf(query: URLSearchParams, prefix: 'if' | 'ifSource' = 'if'): Conditions {
  const value = (name: string) => query.get(`${prefix}${name}`) ?? undefined;
  return {
    generationMatch: value('GenerationMatch'),
    generationNotMatch: value('GenerationNotMatch'),
    metagenerationMatch: value('MetagenerationMatch'),
    metagenerationNotMatch: value('MetagenerationNotMatch'),
  };
}

function bucketResource(name: string): object {
  return {
    kind: 'storage#bucket',
    id: name,
    name,
    location: 'US',
    storageClass: 'STANDARD',
    metageneration: '1',
  };
}

function objectResource(found: StoredObject): object {
  const { body, size, metageneration, ...shown } = found;
  return {
    kind: 'storage#object',
    id: `${found.bucket}/${found.name}/${found.generation}`,
    selfLink: `/storage/v1/b/${found.bucket}/o/${encodeURIComponent(found.name)}`,
    ...shown,
    storageClass: found.storageClass ?? 'STANDARD',
    size: String(size),
    metageneration: String(metageneration),
    etag: etag(found),
  };
}

function etag(found: StoredObject): string {
  return Buffer.from(`${found.generation}/${found.metageneration}`).toString('base64');
}

function header(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return typeof value === 'string' ? value : undefined;
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

async function bodyJson(request: IncomingMessage): Promise<object> {
  const text = (await bodyOf(request)).toString('utf8');
  try {
    return text === '' ? {} : (JSON.parse(text) as object);
  } catch {
    throw new Refusal(400, 'parseError', 'Parse Error');
  }
}

function json(response: ServerResponse, status: number, value: object): void {
  const body = Buffer.from(JSON.stringify(value));
  response
    .writeHead(status, { 'content-type': 'application/json; charset=UTF-8', 'content-length': body.length })
    .end(body);
}

function refuse(response: ServerResponse, error: unknown): void {
  if (!(error instanceof Refusal))
    process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
  if (response.headersSent) return void response.destroy();
  const { status, reason, message } =
    error instanceof Refusal ? error : { status: 500, reason: 'backendError', message: String(error) };
  if (status === 304) return void response.writeHead(304).end();
  json(response, status, {
    error: { code: status, message, errors: [{ domain: 'global', reason, message }] },
  });
}
