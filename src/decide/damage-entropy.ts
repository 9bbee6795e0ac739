/** Of a body's beginning, as much as tells. */
export const sampleBytes = 64 * 1024;

/** Fewer bytes cannot reach `noise`: of n random bytes the entropy falls short of 8 by about 184 / n. */
const leastBytes = 4096;

/** Bits per byte: encrypted and well compressed bodies lie above. */
const noise = 7.9;

/** What was above before is compressed or encrypted by its user, and tells nothing when it changes. */
const plain = 7;

/** Shannon entropy of the body's beginning, in bits per byte, to a hundredth; undefined: too short to tell. */
export function entropyOf(body: Uint8Array): number | undefined {
  const sample = body.subarray(0, sampleBytes);
  if (sample.length < leastBytes) return undefined;
  const counts = new Uint32Array(256);
  for (const byte of sample) counts[byte]! += 1;
  let bits = 0;
  for (const count of counts) if (count > 0) bits -= count * Math.log2(count / sample.length);
  return Math.round((bits / sample.length) * 100) / 100;
}

/** From something that can be read to something like noise. */
export function isJump(before: number, now: number): boolean {
  return before <= plain && now >= noise;
}
