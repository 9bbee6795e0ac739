import { hashOf } from '../../hashing/hash.ts';
import { StoreFailure } from '../../model/failure.ts';
import type { Condition, Conflict, Removed, Token, WriteRequest, Written } from '../../ports/object-store.ts';
import type { HttpAnswer } from '../http/send.ts';
import { conditionHeader, invalid, type S3Bucket } from './bucket.ts';
import type { S3Request } from './client.ts';
import { crc32Of, hidesMd5, looksLikeMd5 } from './digests.ts';
import { isConflict } from './failures.ts';
import { metadataHeaders } from './metadata.ts';
import { digestsOf } from './object.ts';
import { formatToken, versionOf, windowOf } from './token.ts';

export const conflict: Conflict = { kind: 'conflict' };

export async function writeObject(
  bucket: S3Bucket,
  request: WriteRequest,
  signal: AbortSignal,
): Promise<Written | Conflict> {
  const { body, condition } = request;
  bucket.require(condition.kind === 'absent' ? 'create' : 'replace', condition);
  if (body.length > bucket.limits.maxWriteBytes) {
    throw invalid(`a body of ${body.length} bytes is too large for one request; send it in parts`);
  }
  const key = bucket.keyToWrite(request.key, body.length);
  const headers = {
    ...metadataHeaders(request.metadata, bucket.metadataRules),
    ...conditionHeader(condition),
  };
  const beganMs = bucket.client.clock.monotonicMs();
  const put: S3Request = { method: 'PUT', key, headers, body };
  const sent = await sendBody(bucket, put, body, request.sha256, true, signal);
  const { answer } = sent;
  if (answer.status !== 200) return conflictOr(bucket, answer, put, condition, signal);
  await answer.body.dump();
  const etag = bucket.etagOf(answer, put);
  await checkStored(bucket, sent, etag, request.key);
  const window = windowOf(answer.headers['date'], bucket.client.clock.monotonicMs() - beganMs);
  const token = formatToken({ etag, ...window, version: versionOf(answer.headers['x-amz-version-id']) });
  return { kind: 'written', token, digests: digestsOf(etag, answer.headers) };
}

export async function removeObject(
  bucket: S3Bucket,
  key: string,
  token: Token,
  signal: AbortSignal,
): Promise<Removed | Conflict> {
  signal.throwIfAborted();
  const condition: Condition = { kind: 'match', token };
  bucket.require('remove', condition);
  if (bucket.cannotHold(key)) return conflict;
  const request: S3Request = {
    method: 'DELETE',
    key: bucket.keyOf(key),
    headers: conditionHeader(condition),
  };
  const answer = await bucket.client.send(request, signal);
  if (answer.status !== 204 && answer.status !== 200) {
    return conflictOr(bucket, answer, request, condition, signal);
  }
  await answer.body.dump();
  return { kind: 'removed' };
}

/** The header with which S3 is told a body's CRC-32, checks it, and reports it. */
export const crc32Header = 'x-amz-checksum-crc32';

export interface SentBody {
  readonly answer: HttpAnswer;
  readonly crc32: string | undefined;
  /** Hex; computed when it is first asked for, if it was not while the body was on its way. */
  readonly md5: () => Promise<string>;
}

/**
 * Sends a body with its SHA-256 and, where `checksum` says so, its CRC-32; the server checks both. Its MD5 takes
 * several times as long as both: it is left out once the bucket has shown that it reports what it checked.
 */
export async function sendBody(
  bucket: S3Bucket,
  request: S3Request,
  body: Uint8Array,
  known: string | undefined,
  checksum: boolean,
  signal: AbortSignal,
): Promise<SentBody> {
  const sha256 = known ?? (await hashOf('sha256', body));
  const crc32 = checksum ? crc32Of(body) : undefined;
  const headers = crc32 === undefined ? request.headers : { ...request.headers, [crc32Header]: crc32 };
  const sending = bucket.client.send({ ...request, ...(headers ? { headers } : {}), sha256 }, signal);
  // It is awaited after the digest; until then its failure must not count as unhandled.
  sending.catch(() => {});
  const early = checksum && bucket.reportsChecksums ? undefined : await hashOf('md5', body);
  const answer = await sending;
  return { answer, crc32, md5: async () => early ?? hashOf('md5', body) };
}

/**
 * Compares what the server says it stored with what was sent. True when the ETag is the body's MD5; `corrupt` when
 * it is that of another body, or the CRC-32 is.
 */
export async function checkStored(
  bucket: S3Bucket,
  sent: SentBody,
  etag: string,
  key: string,
): Promise<boolean> {
  const { headers } = sent.answer;
  const reported = headers[crc32Header];
  const isReported = sent.crc32 !== undefined && reported !== undefined;
  if (isReported && reported !== sent.crc32) throw corrupt(key, sent.crc32!, reported);
  if (!looksLikeMd5(etag) || hidesMd5(headers)) return false;
  if (isReported && bucket.reportsChecksums) return true;
  const md5 = await sent.md5();
  if (etag.toLowerCase() !== md5) throw corrupt(key, md5, etag);
  if (isReported) bucket.reportsChecksums = true;
  return true;
}

export function corrupt(key: string, sent: string, stored: string): StoreFailure {
  const what = `the S3 server reports the digest ${stored} for ${JSON.stringify(key)}, and ${sent} was sent`;
  return new StoreFailure('corrupt', `${what}; it will be sent again`);
}

export async function conflictOr(
  bucket: S3Bucket,
  answer: HttpAnswer,
  request: S3Request,
  condition: Condition,
  signal: AbortSignal,
): Promise<Conflict> {
  const refusal = await bucket.client.refusal(answer, signal);
  if (isConflict(refusal, condition.kind === 'match')) return conflict;
  throw bucket.client.failure(refusal, request);
}
