import { createHash, hash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { crc32 } from 'node:zlib';

/** Above this a digest takes longer than other work should have to wait: about 1 ms. */
const atOnceBytes = 1024 * 1024;

type Algorithm = 'md5' | 'sha256';

/** Hex. A large body is digested piece by piece, with turns of the event loop between. */
export function digestHex(algorithm: Algorithm, bytes: Uint8Array): string | Promise<string> {
  return bytes.length <= atOnceBytes ? hash(algorithm, bytes) : digestInTurns(algorithm, bytes);
}

async function digestInTurns(algorithm: Algorithm, bytes: Uint8Array): Promise<string> {
  const digest = createHash(algorithm);
  for (let from = 0; from < bytes.length; from += atOnceBytes) {
    digest.update(bytes.subarray(from, from + atOnceBytes));
    await nextTurn();
  }
  return digest.digest('hex');
}

/** As S3 writes it: the checksum's four bytes, the highest first, in base64. */
export function crc32Of(bytes: Uint8Array): string {
  const value = crc32(bytes);
  return Buffer.from([value >>> 24, value >>> 16, value >>> 8, value]).toString('base64');
}

type Headers = Readonly<Record<string, string>>;

/** With keys of the service (KMS) or of the customer the ETag looks like an MD5 and is none. */
export function hidesMd5(headers: Headers): boolean {
  return (
    (headers['x-amz-server-side-encryption'] ?? '').startsWith('aws:') ||
    headers['x-amz-server-side-encryption-customer-algorithm'] !== undefined
  );
}

/** Whether an ETag has the form of a plain MD5 of the body. */
export function looksLikeMd5(etag: string): boolean {
  return /^[0-9a-f]{32}$/i.test(etag);
}

/** The ETag of an upload in parts: the MD5 of the parts' binary MD5s, and their number. */
export function multipartEtag(md5s: readonly string[]): string {
  const digest = createHash('md5');
  for (const md5 of md5s) digest.update(md5, 'hex');
  return `${digest.digest('hex')}-${md5s.length}`;
}
