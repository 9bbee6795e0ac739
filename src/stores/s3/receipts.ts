import { StoreFailure } from '../../model/failure.ts';
import type { PartReceipt } from '../../ports/object-store.ts';
import { multipartEtag } from './digests.ts';
import { quoted } from './token.ts';
import { escapeXml } from './xml.ts';

interface SentPart {
  readonly etag: string;
  /** The ETag was checked to be the part's MD5. */
  readonly isMd5: boolean;
  /** In an upload whose parts have checksums, every one must be told again at its completion. */
  readonly crc32?: string | undefined;
}

/** What S3 said of one part: `md5 ETAG` or `etag ETAG`, and the checksum it was sent with. */
export function formatReceipt({ etag, isMd5, crc32 }: SentPart): PartReceipt {
  return `${isMd5 ? 'md5' : 'etag'} ${etag}${crc32 === undefined ? '' : ` ${crc32}`}`;
}

/** `upload-lost` when a receipt is missing or none of this driver: the parts must be sent again. */
export function parseReceipts(receipts: readonly PartReceipt[]): SentPart[] {
  return Array.from(receipts, (receipt, index) => {
    const [kind, etag, crc32] = (receipt ?? '').split(' ');
    if (etag !== undefined && etag !== '' && (kind === 'md5' || kind === 'etag')) {
      return { etag, isMd5: kind === 'md5', crc32 };
    }
    const what = `the receipt of part ${index} of an upload to S3 is missing or damaged`;
    throw new StoreFailure('upload-lost', `${what}; the upload starts again`);
  });
}

export function completionXml(parts: readonly SentPart[]): Uint8Array {
  let text = '<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">';
  for (const [index, { etag, crc32 }] of parts.entries()) {
    const number = `<PartNumber>${index + 1}</PartNumber>`;
    const checksum = crc32 === undefined ? '' : `<ChecksumCRC32>${escapeXml(crc32)}</ChecksumCRC32>`;
    text += `<Part>${number}<ETag>${escapeXml(quoted(etag))}</ETag>${checksum}</Part>`;
  }
  return Buffer.from(`${text}</CompleteMultipartUpload>`);
}

/** Undefined when it cannot be known: a part whose ETag is no MD5. */
export function expectedEtag(parts: readonly SentPart[]): string | undefined {
  return parts.length > 0 && parts.every((part) => part.isMd5)
    ? multipartEtag(parts.map((part) => part.etag))
    : undefined;
}
