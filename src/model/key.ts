import { hash } from 'node:crypto';

/** Everything Isobar keeps for itself at a site stands below this prefix; users' keys never do. */
export const reservedPrefix = '.isobar/';

export const maxKeyBytes = 1024;

/** Why `key` cannot be replicated, or undefined when it can. */
export function keyProblem(key: string): string | undefined {
  if (key.length === 0) return 'the key is empty';
  if (!key.isWellFormed()) return 'the key is not valid Unicode (it holds half of a surrogate pair)';
  const bytes = Buffer.byteLength(key);
  if (bytes > maxKeyBytes)
    return `the key is ${bytes} bytes long in UTF-8; no cloud takes more than ${maxKeyBytes}`;
  if (isReserved(key)) return `keys below "${reservedPrefix}" are reserved for Isobar`;
  return undefined;
}

export function isReserved(key: string): boolean {
  return key.startsWith(reservedPrefix) || key === '.isobar';
}

/**
 * The order of every listing and scan: by the bytes of UTF-8, as S3 and GCS list.
 * JavaScript's `<` compares UTF-16 units and puts U+10000 before U+E000.
 */
export function compareKeys(a: string, b: string): number {
  const shorter = Math.min(a.length, b.length);
  for (let i = 0; i < shorter; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return rankOfUnit(x) - rankOfUnit(y);
  }
  return a.length - b.length;
}

/** Surrogates (astral characters) sort after every other UTF-16 unit, as their UTF-8 bytes do. */
function rankOfUnit(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
}

/** 22 characters that name a key where the key itself does not fit: 128 bits of SHA-256, base64url. */
export function keyHash(key: string): string {
  return hash('sha256', key, 'buffer').subarray(0, 16).toString('base64url');
}
