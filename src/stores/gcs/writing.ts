import { StoreFailure } from '../../model/failure.ts';
import type { Conflict, WriteRequest, Written } from '../../ports/object-store.ts';
import type { GcsApi } from './api.ts';
import { crc32c, crc32cToBase64 } from './crc32c.ts';
import { resourceMetadataOf } from './metadata.ts';
import { digestsOf, fieldsOfWritten, type ObjectResource } from './resource.ts';
import { queryOf, tokenOf } from './token.ts';

export const conflict: Conflict = { kind: 'conflict' };

/**
 * One request with metadata and bytes. The checksum goes with it, so that the service refuses what arrives
 * damaged instead of keeping it, and the answer is compared once more.
 */
export async function writeObject(
  api: GcsApi,
  boundary: string,
  request: WriteRequest,
  signal: AbortSignal,
): Promise<Written | Conflict> {
  signal.throwIfAborted();
  const metadata = resourceMetadataOf(request.metadata);
  const condition = queryOf(request.condition);
  if (condition === undefined) return conflict;
  const checksum = crc32cToBase64(crc32c(request.body));
  const resource = { name: api.prefix + request.key, crc32c: checksum, ...metadata };
  const call = {
    method: 'POST',
    path: api.uploadPath({ uploadType: 'multipart', fields: fieldsOfWritten, ...condition }),
    headers: { 'content-type': `multipart/related; boundary=${boundary}` },
    body: multipart(boundary, JSON.stringify(resource), metadata.contentType, request.body),
  } as const;
  const answer = await api.call(call, signal);
  if (answer.status === 412) return conflict;
  return writtenOf(api.resource(answer, `write "${request.key}"`), checksum, request.body.length);
}

function multipart(boundary: string, json: string, contentType: string, body: Uint8Array): Uint8Array {
  const head =
    `--${boundary}\r\ncontent-type: application/json; charset=UTF-8\r\n\r\n${json}\r\n` +
    `--${boundary}\r\ncontent-type: ${contentType}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), body, Buffer.from(`\r\n--${boundary}--\r\n`)]);
}

/** Throws `corrupt` when what the service holds is not what was sent. */
export function writtenOf(resource: ObjectResource, crc32cBase64: string, size: number): Written {
  const { crc32c: stored } = resource;
  if ((stored !== undefined && stored !== crc32cBase64) || Number(resource.size ?? 0) !== size) {
    throw new StoreFailure(
      'corrupt',
      `"${resource.name}" is not what was sent: checksum ${stored}, sent ${crc32cBase64}; size ${resource.size}, sent ${size}`,
    );
  }
  return { kind: 'written', token: tokenOf(resource), digests: digestsOf(resource) };
}
