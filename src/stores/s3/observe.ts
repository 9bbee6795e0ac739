import { StoreFailure } from '../../model/failure.ts';
import type { ObjectHead, ObjectRead, ReadOptions, Token } from '../../ports/object-store.ts';
import { type HttpAnswer, textOf } from '../http/send.ts';
import type { S3Bucket } from './bucket.ts';
import type { S3Request } from './client.ts';
import { refusalOf } from './failures.ts';
import { metadataOf } from './metadata.ts';
import { emptyRead, headOf, rangeHeader, readOf } from './object.ts';
import { parseToken, quoted, sameWrite, versionOf } from './token.ts';
import { parseXml } from './xml.ts';

export async function headObject(
  bucket: S3Bucket,
  key: string,
  signal: AbortSignal,
): Promise<ObjectHead | undefined> {
  if (bucket.cannotHold(key)) return proveBucket(bucket, signal);
  const request: S3Request = { method: 'HEAD', key: bucket.keyOf(key) };
  const answer = await bucket.client.send(request, signal);
  await answer.body.dump();
  if (answer.status === 404) return proveBucket(bucket, signal);
  if (answer.status !== 200) throw await explained(bucket, answer, request, signal);
  return withTags(bucket, objectHead(bucket, key, answer, request), answer, signal);
}

export async function readObject(
  bucket: S3Bucket,
  key: string,
  options: ReadOptions,
  signal: AbortSignal,
): Promise<ObjectRead | undefined> {
  const { range, token } = options;
  // HTTP has no way to ask for an empty range.
  if (range !== undefined && range.to <= range.from) return readNothing(bucket, key, token, signal);
  if (bucket.cannotHold(key)) return proveBucket(bucket, signal);
  const headers: Record<string, string> = {};
  const asked = rangeHeader(range);
  if (asked !== undefined) headers['range'] = asked;
  if (token !== undefined) headers['if-match'] = quoted(parseToken(token).etag);
  const request: S3Request = { method: 'GET', key: bucket.keyOf(key), headers };
  const answer = await bucket.client.send(request, signal);
  if (answer.status === 416) {
    await answer.body.dump();
    return readNothing(bucket, key, token, signal);
  }
  if (answer.status !== 200 && answer.status !== 206) return unread(bucket, key, answer, request, signal);
  return opened(bucket, key, options, answer, request, signal);
}

async function opened(
  bucket: S3Bucket,
  key: string,
  { range, token }: ReadOptions,
  answer: HttpAnswer,
  request: S3Request,
  signal: AbortSignal,
): Promise<ObjectRead> {
  try {
    const head = objectHead(bucket, key, answer, request);
    if (token !== undefined && !sameWrite(token, head.token)) throw changed(key);
    if (range !== undefined && answer.status === 200 && (range.from > 0 || range.to < head.size)) {
      const what = `the S3 server ignores Range: it sent all of ${JSON.stringify(key)}`;
      throw new StoreFailure('unsupported', `${what}; use a server that reads ranges`);
    }
    const begins = (range?.from ?? 0) === 0;
    return readOf(begins ? await withTags(bucket, head, answer, signal) : head, range, answer, signal);
  } catch (error) {
    // Nobody will read the rest, which may be large.
    answer.body.destroy();
    throw error;
  }
}

/** A range that holds nothing: what the object is comes from a head. */
async function readNothing(
  bucket: S3Bucket,
  key: string,
  token: Token | undefined,
  signal: AbortSignal,
): Promise<ObjectRead | undefined> {
  const head = await headObject(bucket, key, signal);
  if (head === undefined) return undefined;
  if (token !== undefined && !sameWrite(token, head.token)) throw changed(key);
  return emptyRead(head);
}

async function unread(
  bucket: S3Bucket,
  key: string,
  answer: HttpAnswer,
  request: S3Request,
  signal: AbortSignal,
): Promise<undefined> {
  const refusal = await bucket.client.refusal(answer, signal);
  if (refusal.code === 'NoSuchKey') {
    bucket.prove();
    return undefined;
  }
  if (refusal.status === 404 && refusal.code === '' && !refusal.foreign) return proveBucket(bucket, signal);
  if (refusal.status === 412) throw changed(key);
  throw bucket.client.failure(refusal, request);
}

/** An object is absent only in a bucket that is there: a 404 without a body is said of both. */
async function proveBucket(bucket: S3Bucket, signal: AbortSignal): Promise<undefined> {
  if (bucket.isProven) return undefined;
  const request: S3Request = { method: 'GET', query: { 'list-type': '2', 'max-keys': '1' } };
  const answer = await bucket.client.send(request, signal);
  if (answer.status !== 200) throw await bucket.client.failed(answer, request, signal);
  const root = parseXml(await textOf(answer, signal))?.root;
  if (root !== 'ListBucketResult') throw bucket.client.notS3(answer, request);
  bucket.prove();
  return undefined;
}

/** HEAD is refused without a reason; a GET of one byte is refused for the same one, and says it. */
async function explained(
  bucket: S3Bucket,
  answer: HttpAnswer,
  request: S3Request,
  signal: AbortSignal,
): Promise<StoreFailure> {
  const mute = refusalOf(answer.status, answer.headers, '');
  if (mute.code !== '' || mute.status >= 500) return bucket.client.failure(mute, request);
  const again: S3Request = { ...request, method: 'GET', headers: { range: 'bytes=0-0' } };
  const refusal = await bucket.client.refusal(await bucket.client.send(again, signal), signal);
  return bucket.client.failure(refusal.code === '' && !refusal.foreign ? mute : refusal, request);
}

function objectHead(bucket: S3Bucket, key: string, answer: HttpAnswer, request: S3Request): ObjectHead {
  const etag = bucket.etagOf(answer, request);
  const head = headOf(key, etag, answer.headers, metadataOf(answer.headers));
  if (head === undefined) throw bucket.client.notS3(answer, request);
  return head;
}

/** S3 tells how many tags there are, and the tags only to another request. */
async function withTags(
  bucket: S3Bucket,
  head: ObjectHead,
  answer: HttpAnswer,
  signal: AbortSignal,
): Promise<ObjectHead> {
  const count = answer.headers['x-amz-tagging-count'];
  if (!bucket.capabilities.tags || count === undefined || count === '0') return head;
  const version = versionOf(answer.headers['x-amz-version-id']);
  const query = { tagging: '', versionId: version };
  const request: S3Request = { method: 'GET', key: bucket.keyOf(head.key), query };
  const tagging = await bucket.client.send(request, signal);
  if (tagging.status !== 200) throw await bucket.client.failed(tagging, request, signal);
  const entries = parseXml(await textOf(tagging, signal))?.entries('Tag') ?? [];
  const native = entries.map((tag) => [tag['Key'] ?? '', tag['Value'] ?? ''] as const);
  const tags = { ...head.metadata.tags, ...Object.fromEntries(native) };
  return { ...head, metadata: { ...head.metadata, tags } };
}

function changed(key: string): StoreFailure {
  return new StoreFailure('changed', `${JSON.stringify(key)} is no longer the object that was to be read`);
}
