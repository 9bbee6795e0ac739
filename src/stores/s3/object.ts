import { StoreFailure } from '../../model/failure.ts';
import type { ObjectMetadata } from '../../model/metadata.ts';
import type { ByteRange, ObjectHead, ObjectRead, StoreDigests } from '../../ports/object-store.ts';
import { bytesOf, type HttpAnswer, piecesOf } from '../http/send.ts';
import { hidesMd5, looksLikeMd5 } from './digests.ts';
import { formatToken, versionOf } from './token.ts';

type Headers = Readonly<Record<string, string>>;

/** An object as the headers of HEAD and GET tell it; undefined when they are not those of an S3 server. */
export function headOf(
  key: string,
  etag: string,
  headers: Headers,
  metadata: ObjectMetadata,
): ObjectHead | undefined {
  const size = sizeOf(headers);
  if (size === undefined) return undefined;
  const modifiedMs = Date.parse(headers['last-modified'] ?? '');
  const second = Number.isNaN(modifiedMs) ? undefined : Math.floor(modifiedMs / 1000);
  const token = formatToken({
    etag,
    from: second,
    to: second,
    version: versionOf(headers['x-amz-version-id']),
  });
  const lastModifiedMs = second === undefined ? 0 : second * 1000;
  return { key, size, token, lastModifiedMs, digests: digestsOf(etag, headers), metadata };
}

export function digestsOf(etag: string, headers: Headers): StoreDigests {
  return looksLikeMd5(etag) && !hidesMd5(headers) ? { md5: etag.toLowerCase() } : {};
}

/** The header that asks for a range; undefined for the whole object. */
export function rangeHeader(range: ByteRange | undefined): string | undefined {
  if (range === undefined) return undefined;
  return Number.isFinite(range.to) ? `bytes=${range.from}-${range.to - 1}` : `bytes=${range.from}-`;
}

/** Of the whole object, also where the answer is a range of it. */
function sizeOf(headers: Headers): number | undefined {
  const range = headers['content-range'];
  const size = Number(range === undefined ? (headers['content-length'] ?? Number.NaN) : range.split('/')[1]);
  return Number.isSafeInteger(size) && size >= 0 ? size : undefined;
}

export function emptyRead(head: ObjectHead): ObjectRead {
  const nothing = async function* (): AsyncGenerator<Uint8Array> {};
  return { head, body: nothing(), bytes: async () => new Uint8Array() };
}

/** The body of an answer, which must be exactly the range that was asked for. */
export function readOf(
  head: ObjectHead,
  range: ByteRange | undefined,
  answer: HttpAnswer,
  signal: AbortSignal,
): ObjectRead {
  const from = range?.from ?? 0;
  const expected = Math.max(0, Math.min(range?.to ?? head.size, head.size) - from);
  const check = (length: number): void => {
    if (length === expected) return;
    const what = `S3 answered ${length} bytes of ${JSON.stringify(head.key)} where ${expected} were asked for`;
    throw new StoreFailure('unavailable', `${what}; it will be read again`);
  };
  return {
    head,
    body: checkedPieces(answer, signal, check),
    bytes: async (into) => {
      const bytes = await bytesOf(answer, signal, into);
      check(bytes.length);
      return bytes;
    },
  };
}

async function* checkedPieces(
  answer: HttpAnswer,
  signal: AbortSignal,
  check: (length: number) => void,
): AsyncGenerator<Uint8Array> {
  let length = 0;
  for await (const piece of piecesOf(answer, signal)) {
    length += piece.length;
    yield piece;
  }
  check(length);
}
