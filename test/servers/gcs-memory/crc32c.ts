import { crc32c as native } from '@node-rs/crc32';

/** CRC-32C (Castagnoli); `state` is what an earlier call gave for the bytes before. */
export function crc32c(bytes: Buffer, state = 0): number {
  return native(bytes, state >>> 0) >>> 0;
}

/** As GCS writes it: base64 of the four bytes, most significant first. */
export function encodeCrc32c(crc: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(crc | 0);
  return bytes.toString('base64');
}
