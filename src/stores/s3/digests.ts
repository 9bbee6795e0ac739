import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';

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
