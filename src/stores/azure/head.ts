import { StoreFailure } from '../../model/failure.ts';
import type { ObjectHead, Token } from '../../ports/object-store.ts';
import { metadataFromHeaders } from './metadata.ts';

/** The ETag without quotes: listings tell it without, headers with. Every write makes a new one. */
export function tokenOf(etag: string): Token {
  return etag.replace(/^(?:W\/)?"(.*)"$/, '$1');
}

/** The value of `If-Match`, or undefined when no blob can have this token (`*` would match any). */
export function etagOf(token: Token): string | undefined {
  const bare = tokenOf(token);
  return /^[A-Za-z0-9._:+-]+$/.test(bare) ? `"${bare}"` : undefined;
}

/** Lower-case hex of a base64 MD5; undefined where the service tells none. */
export function md5FromBase64(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const digest = Buffer.from(text, 'base64');
  return digest.length === 16 ? digest.toString('hex') : undefined;
}

/** As Azure writes a digest, from hex. */
export function base64Of(hex: string): string {
  return Buffer.from(hex, 'hex').toString('base64');
}

/** From the headers of Get Blob or Get Blob Properties. Index tags are not among them, only their number. */
export function headFromHeaders(
  key: string,
  headers: Readonly<Record<string, string>>,
  where: string,
): ObjectHead {
  const total = /\/([0-9]+)$/.exec(headers['content-range'] ?? '')?.[1];
  const size = Number(total ?? headers['content-length'] ?? Number.NaN);
  const lastModifiedMs = Date.parse(headers['last-modified'] ?? '');
  const token = tokenOf(headers.etag ?? '');
  if (!Number.isSafeInteger(size) || Number.isNaN(lastModifiedMs) || token === '') {
    throw new StoreFailure(
      'misplaced',
      `reading ${JSON.stringify(key)}: ${where} answers without size, time or ETag, as Azure Blob Storage never ` +
        'does. Check the endpoint and what stands between.',
    );
  }
  // On a range, `content-md5` would be that of the range.
  const whole =
    headers['x-ms-blob-content-md5'] ?? (total === undefined ? headers['content-md5'] : undefined);
  const md5 = md5FromBase64(whole);
  const metadata = metadataFromHeaders(headers);
  return { key, size, token, lastModifiedMs, digests: md5 === undefined ? {} : { md5 }, metadata };
}
