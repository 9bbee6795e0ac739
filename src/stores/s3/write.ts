import { StoreFailure } from '../../model/failure.ts';
import type { Condition, Conflict, Removed, Token, WriteRequest, Written } from '../../ports/object-store.ts';
import type { HttpAnswer } from '../http/send.ts';
import { conditionHeader, invalid, type S3Bucket } from './bucket.ts';
import type { S3Request } from './client.ts';
import { digestHex, hidesMd5, looksLikeMd5 } from './digests.ts';
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
  const { answer, md5 } = await sendBody(bucket, put, body, request.sha256, signal);
  if (answer.status !== 200) return conflictOr(bucket, answer, put, condition, signal);
  await answer.body.dump();
  const etag = bucket.etagOf(answer, put);
  isMd5Of(md5, etag, answer, request.key);
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

/** Sends a body with its SHA-256, which the server checks; its MD5 is computed while it is on its way. */
export async function sendBody(
  bucket: S3Bucket,
  request: S3Request,
  body: Uint8Array,
  known: string | undefined,
  signal: AbortSignal,
): Promise<{ readonly answer: HttpAnswer; readonly md5: string }> {
  const sha256 = known ?? (await digestHex('sha256', body));
  const sending = bucket.client.send({ ...request, sha256 }, signal);
  // It is awaited after the digest; until then its failure must not count as unhandled.
  sending.catch(() => {});
  const md5 = await digestHex('md5', body);
  return { answer: await sending, md5 };
}

/** False when the ETag is no MD5 at all; `corrupt` when it is that of another body. */
export function isMd5Of(md5: string, etag: string, answer: HttpAnswer, key: string): boolean {
  if (!looksLikeMd5(etag) || hidesMd5(answer.headers)) return false;
  if (etag.toLowerCase() !== md5) throw corrupt(key, md5, etag);
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
