import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { combineCrc32c, crc32c, crc32cToBase64 } from './crc32c.ts';

const bytesOf = (size: number): Buffer =>
  Buffer.concat(
    Array.from({ length: Math.ceil(size / 32) }, (_, i) => createHash('sha256').update(String(i)).digest()),
  ).subarray(0, size);

test('the published examples of RFC 3720, and none at all', () => {
  const examples: ReadonlyArray<readonly [Uint8Array, number]> = [
    [new Uint8Array(), 0],
    [Buffer.from('123456789'), 0xe3069283],
    [new Uint8Array(32), 0x8a9136aa],
    [new Uint8Array(32).fill(0xff), 0x62a8ab43],
    [Uint8Array.from({ length: 32 }, (_, i) => i), 0x46dd794e],
    [Uint8Array.from({ length: 32 }, (_, i) => 31 - i), 0x113fdb5c],
  ];
  for (const [bytes, expected] of examples) {
    assert.equal(crc32c(bytes), expected);
    assert.equal(crc32c(bytes), expected);
  }
  assert.equal(crc32cToBase64(0xe3069283), '4waSgw==');
});

test('views that begin anywhere, of every length modulo eight', () => {
  const bytes = bytesOf(200);
  for (let from = 0; from < 17; from++) {
    const view = bytes.subarray(from, 150 - from);
    assert.equal(crc32c(view), crc32c(Uint8Array.from(view)));
  }
});

test('the checksum of two pieces is that of the whole, wherever it is cut', () => {
  const whole = bytesOf(5_000);
  for (const cut of [0, 1, 2, 7, 8, 255, 256, 1_000, 4_095, 4_096, 4_999, 5_000]) {
    const [a, b] = [whole.subarray(0, cut), whole.subarray(cut)];
    assert.equal(combineCrc32c(crc32c(a), crc32c(b), b.length), crc32c(whole), `cut at ${cut}`);
  }
});

test('many pieces, one after the other, also beyond 4 GiB', () => {
  let crc = 0;
  for (let i = 0; i < 100; i++) crc = combineCrc32c(crc, crc32c(bytesOf(i)), i);
  assert.equal(crc, crc32c(Buffer.concat(Array.from({ length: 100 }, (_, i) => bytesOf(i)))));
  const [a, b, c] = [1, 2, 3].map((i) => crc32c(bytesOf(i)));
  const [lengthB, lengthC] = [5 * 2 ** 32 + 3, 7 * 2 ** 32 + 9];
  const left = combineCrc32c(combineCrc32c(a!, b!, lengthB), c!, lengthC);
  assert.equal(left, combineCrc32c(a!, combineCrc32c(b!, c!, lengthC), lengthB + lengthC));
});
