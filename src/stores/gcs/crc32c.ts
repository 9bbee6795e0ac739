import { crc32c as nativeCrc32c } from '@node-rs/crc32';

/**
 * CRC-32 with Castagnoli's polynomial, the one digest that this store knows of every object: an unsigned 32 bit
 * integer.
 */
export function crc32c(bytes: Uint8Array): number {
  return nativeCrc32c(bytes);
}

/** The polynomial 0x1EDC6F41 with its bits in reverse. */
const polynomial = 0x82f63b78;

/**
 * The checksum of `a` followed by `b`, from the checksum of each and the length of `b` in bytes.
 * Appending zero bits is a linear map over GF(2): x^n modulo the polynomial, found by squaring.
 */
export function combineCrc32c(a: number, b: number, lengthOfB: number): number {
  return (multiply(zeroBytes(lengthOfB), a) ^ b) >>> 0;
}

/** In this bit order the highest bit is x^0, the next x^1. */
const one = 0x80000000;

/** x^(8·count) modulo the polynomial. */
function zeroBytes(count: number): number {
  let square = one >>> 8;
  let product = one;
  for (let rest = count; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) product = multiply(square, product);
    square = multiply(square, square);
  }
  return product;
}

function multiply(a: number, b: number): number {
  let product = 0;
  let shifted = b;
  for (let bit = one; bit !== 0; bit >>>= 1) {
    if ((a & bit) !== 0) product ^= shifted;
    shifted = (shifted & 1) === 0 ? shifted >>> 1 : (shifted >>> 1) ^ polynomial;
  }
  return product >>> 0;
}

/** As the service writes it: base64 of four bytes, highest first. */
export function crc32cToBase64(crc: number): string {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(crc);
  return bytes.toString('base64');
}
