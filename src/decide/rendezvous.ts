import { hash } from 'node:crypto';
import { compareKeys } from '../model/key.ts';
import type { SiteId } from '../model/version.ts';

/**
 * Weighted rendezvous hashing (Thaler and Ravishankar 1998; the logarithm: Schindelhauer and Schomaker 2005). Each
 * site draws a number from the shard key, and the `copies` smallest win. A site's number depends on nothing but the
 * shard key, the site's name and its weight, so a site that comes, goes or changes its weight moves only keys that it
 * gains or loses.
 */
export type Rendezvous = (shardKey: string, copies: number) => SiteId[];

/** Sites of weight 0 are never chosen. The answer begins with the smallest number. */
export function rendezvous(weights: ReadonlyMap<SiteId, number>): Rendezvous {
  const sites = [...weights]
    .filter(([, weight]) => weight > 0)
    .map(([site, weight]) => ({ site, weight, schedule: wordsOf(site, 4) }));
  return (shardKey, copies) => {
    const [left, right] = wordsOf(shardKey, 2) as [number, number];
    return sites
      .map(({ site, weight, schedule }) => ({ site, cost: -logOf(uniform(left, right, schedule)) / weight }))
      .sort((a, b) => a.cost - b.cost || compareKeys(a.site, b.site))
      .slice(0, copies)
      .map(({ site }) => site);
  };
}

/** The first 32-bit words of the text's SHA-256. */
function wordsOf(text: string, count: number): number[] {
  const digest = hash('sha256', text, 'hex');
  return Array.from({ length: count }, (_, i) => Number.parseInt(digest.slice(8 * i, 8 * i + 8), 16) | 0);
}

/** An odd multiple of 2^-53 in (0, 1): the key's 64 bits, enciphered by a Feistel network under the site's 128. */
function uniform(left: number, right: number, schedule: readonly number[]): number {
  let a = left;
  let b = right;
  for (const word of schedule) [a, b] = [b, a ^ scrambled(b ^ word)];
  return ((a >>> 0) * 2 ** 21 + (b >>> 12) * 2 + 1) / 2 ** 53;
}

/** The finaliser of MurmurHash3. */
function scrambled(word: number): number {
  let h = word;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/** 1/(2k+1), for atanh. */
const series = Array.from({ length: 12 }, (_, k) => 1 / (2 * k + 1)).reverse();

/**
 * The natural logarithm of `u` in (0, 1). `Math.log` may round otherwise on another engine, and workers would disagree
 * about a site; the four operations here are exact to the bit by IEEE 754 and ECMA-262.
 */
export function logOf(u: number): number {
  let mantissa = u;
  let exponent = 0;
  for (; mantissa < Math.SQRT1_2; exponent--) mantissa *= 2;
  const s = (mantissa - 1) / (mantissa + 1);
  const square = s * s;
  let sum = 0;
  for (const coefficient of series) sum = sum * square + coefficient;
  return exponent * Math.LN2 + 2 * s * sum;
}
