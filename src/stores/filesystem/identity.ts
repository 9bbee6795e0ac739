import type { BigIntStats } from 'node:fs';
import type { Token } from '../../ports/object-store.ts';

export type Identity = Pick<BigIntStats, 'ino' | 'size' | 'mtimeNs' | 'ctimeNs'>;

/** Names one state of one file: any write, rename, link or change of mode makes another one. */
export function tokenOf(stat: Identity): Token {
  return `${stat.ino}.${stat.size}.${stat.mtimeNs}.${stat.ctimeNs}`;
}

/**
 * The part of a file's identity that stays the same while it is renamed and linked, and that is therefore known
 * before a new body gets its name. The change time is not in it.
 */
export function markOf(stat: Identity): string {
  return `${stat.ino}.${stat.size}.${stat.mtimeNs}`;
}

/**
 * The token of a file that was given its name just now: what was written, with the change time of the naming.
 * Had somebody written into it in between, its size or time differs from `before`, and no one ever sees this token.
 */
export function tokenAfterNaming(before: Identity, after: Identity): Token {
  return tokenOf({ ino: before.ino, size: before.size, mtimeNs: before.mtimeNs, ctimeNs: after.ctimeNs });
}
