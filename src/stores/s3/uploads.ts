import { hashOf } from '../../hashing/hash.ts';
import type {
  Condition,
  Conflict,
  PartReceipt,
  Upload,
  UploadPart,
  UploadRequest,
  Written,
} from '../../ports/object-store.ts';
import { type HttpAnswer, textOf } from '../http/send.ts';
import { conditionHeader, invalid, type S3Bucket } from './bucket.ts';
import type { S3Request } from './client.ts';
import { hidesMd5 } from './digests.ts';
import { isConflict, refusalOf } from './failures.ts';
import { metadataHeaders } from './metadata.ts';
import { completionXml, expectedEtag, formatReceipt, parseReceipts } from './receipts.ts';
import { formatToken, unquoted, versionOf, windowOf } from './token.ts';
import { checkStored, conflict, conflictOr, corrupt, sendBody } from './write.ts';
import { parseXml } from './xml.ts';

/** The server has said that it takes a checksum with every part, and then it demands all of them. */
const withChecksums = 'crc32';

export async function startUpload(
  bucket: S3Bucket,
  request: UploadRequest,
  signal: AbortSignal,
): Promise<Upload> {
  const { key, metadata, partSizeBytes, size } = request;
  const headers = { ...metadataHeaders(metadata, bucket.metadataRules), 'x-amz-checksum-algorithm': 'CRC32' };
  const start: S3Request = {
    method: 'POST',
    key: bucket.keyToWrite(key, size),
    query: { uploads: '' },
    headers,
  };
  const answer = await bucket.client.send(start, signal);
  if (answer.status !== 200) throw await bucket.client.failed(answer, start, signal);
  const id = parseXml(await textOf(answer, signal))?.text('UploadId');
  if (id === undefined || id === '') throw bucket.client.notS3(answer, start);
  const checks = answer.headers['x-amz-checksum-algorithm'] === 'CRC32';
  return { key, size, partSizeBytes, metadata, id, ...(checks ? { detail: withChecksums } : {}) };
}

export async function writePart(
  bucket: S3Bucket,
  upload: Upload,
  part: UploadPart,
  signal: AbortSignal,
): Promise<PartReceipt> {
  const { bytes, index } = part;
  if (bytes.length > bucket.limits.maxPartBytes || index >= bucket.limits.maxParts) {
    throw invalid(`part ${index} of ${bytes.length} bytes is beyond what S3 takes: 10,000 parts of 5 GiB`);
  }
  const query = { partNumber: String(index + 1), uploadId: upload.id };
  const put: S3Request = { method: 'PUT', key: bucket.keyOf(upload.key), query, body: bytes };
  const sent = await sendBody(bucket, put, bytes, part.sha256, upload.detail === withChecksums, signal);
  const { answer, crc32 } = sent;
  if (answer.status !== 200) throw await bucket.client.failed(answer, put, signal);
  await answer.body.dump();
  const etag = bucket.etagOf(answer, put);
  const isMd5 = await checkStored(bucket, sent, etag, upload.key);
  return formatReceipt({ etag, isMd5, crc32 });
}

export async function completeUpload(
  bucket: S3Bucket,
  upload: Upload,
  receipts: readonly PartReceipt[],
  condition: Condition,
  signal: AbortSignal,
): Promise<Written | Conflict> {
  signal.throwIfAborted();
  bucket.require('complete', condition);
  const parts = parseReceipts(receipts);
  const body = completionXml(parts);
  const post: S3Request = {
    method: 'POST',
    key: bucket.keyOf(upload.key),
    query: { uploadId: upload.id },
    headers: { 'content-type': 'application/xml', ...conditionHeader(condition) },
    body,
    sha256: await hashOf('sha256', body),
  };
  const beganMs = bucket.client.clock.monotonicMs();
  const answer = await bucket.client.send(post, signal);
  if (answer.status !== 200) return conflictOr(bucket, answer, post, condition, signal);
  const etag = await completedEtag(bucket, answer, post, condition, signal);
  if (etag === undefined) return conflict;
  bucket.meet(etag, answer);
  verifyWhole(etag, expectedEtag(parts), answer, upload.key);
  const { to } = windowOf(answer.headers['date'], bucket.client.clock.monotonicMs() - beganMs);
  const version = versionOf(answer.headers['x-amz-version-id']);
  // At AWS an object sent in parts has the time of its upload's start, which nothing here knows: the window
  // has no beginning.
  return { kind: 'written', token: formatToken({ etag, to, version }), digests: {} };
}

/** Undefined when the condition did not hold. */
async function completedEtag(
  bucket: S3Bucket,
  answer: HttpAnswer,
  request: S3Request,
  condition: Condition,
  signal: AbortSignal,
): Promise<string | undefined> {
  const text = await textOf(answer, signal);
  const xml = parseXml(text);
  // S3 sends the 200 before it begins to work, so what went wrong afterwards stands in the body.
  if (xml?.root === 'Error') {
    const refusal = refusalOf(answer.status, answer.headers, text);
    if (isConflict(refusal, condition.kind === 'match')) return undefined;
    throw bucket.client.failure({ ...refusal, status: 500 }, request);
  }
  const etag = unquoted(xml?.text('ETag') ?? '');
  if (etag === '') throw bucket.client.notS3(answer, request);
  return etag;
}

export async function abortUpload(
  bucket: S3Bucket,
  upload: Pick<Upload, 'id' | 'key'>,
  signal: AbortSignal,
): Promise<void> {
  const key = bucket.keyOf(upload.key);
  const request: S3Request = { method: 'DELETE', key, query: { uploadId: upload.id } };
  const answer = await bucket.client.send(request, signal);
  if (answer.status === 204 || answer.status === 200) return answer.body.dump();
  const refusal = await bucket.client.refusal(answer, signal);
  if (refusal.code !== 'NoSuchUpload') throw bucket.client.failure(refusal, request);
}

/** All that can be compared of an object in parts: what its ETag must be by those of its parts. */
function verifyWhole(etag: string, expected: string | undefined, answer: HttpAnswer, key: string): void {
  if (expected === undefined || hidesMd5(answer.headers) || !/^[0-9a-f]{32}-\d+$/i.test(etag)) return;
  if (etag.toLowerCase() !== expected) throw corrupt(key, expected, etag);
}
