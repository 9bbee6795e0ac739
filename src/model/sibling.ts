import { maxKeyBytes } from './key.ts';
import { timeOf } from './stamp.ts';
import { derivedOperation, type Version } from './version.ts';

/**
 * Beyond this a sibling is no longer than the key itself: wherever the key fits, below a prefix of 512 bytes or in a
 * folder whose names may have 255, its sibling does.
 */
const freeBytes = 448;
const freeNameBytes = 255;

const mark = /\.conflict-[a-z][a-z0-9-]{0,31}-\d{8}T\d{6}Z-[0-9a-f]{8}(?=(\.[A-Za-z0-9]{1,16})?\/*$)/;

/**
 * The key that a write which lost gets beside the one it lost, the same whoever makes it up:
 * `photo.conflict-aws-20261121T130805Z-1f3a9c0e.jpg`. Its parts are the site that took the write, its stamp in UTC
 * and 8 hex digits of a hash of key and write. A sibling's sibling replaces that part instead of adding to it, slashes
 * at the end stay there, and where the name would become too long, its stem is cut.
 */
export function siblingKey(key: string, loser: Version): string {
  const plain = key.replace(mark, '');
  const slashes = /\/*$/.exec(plain)![0];
  const path = plain.slice(0, plain.length - slashes.length);
  const name = path.slice(path.lastIndexOf('/') + 1);
  const extension = /(?<=.)\.[A-Za-z0-9]{1,16}$/.exec(name)?.[0] ?? '';
  const stem = path.slice(0, path.length - extension.length);
  const end = `${markOf(key, loser)}${extension}${slashes}`;
  const folder = stem.slice(0, stem.lastIndexOf('/') + 1);
  const nameBytes = Math.max(freeNameBytes, bytesOf(nameOf(key)));
  const keyBytes = Math.min(maxKeyBytes, Math.max(freeBytes, bytesOf(key)));
  const short = folder + cut(stem.slice(folder.length), nameBytes - bytesOf(end) + bytesOf(slashes));
  return cut(short, keyBytes - bytesOf(end)) + end;
}

function markOf(key: string, { dot, stamp, operation }: Version): string {
  const time = `${timeOf(stamp).replace(' ', 'T').replaceAll(/[-:]/g, '')}Z`;
  const id = Buffer.from(derivedOperation('sibling', key, operation), 'base64url').toString('hex', 0, 4);
  return `.conflict-${dot.site}-${time}-${id}`;
}

function nameOf(key: string): string {
  const path = key.replace(/\/*$/, '');
  return path.slice(path.lastIndexOf('/') + 1);
}

function bytesOf(text: string): number {
  return Buffer.byteLength(text);
}

/** At most `bytes` of UTF-8 from the beginning, whole characters. */
function cut(text: string, bytes: number): string {
  if (bytesOf(text) <= bytes) return text;
  let kept = Buffer.from(text).subarray(0, Math.max(0, bytes)).toString('utf8');
  while (kept.endsWith('\ufffd')) kept = kept.slice(0, -1);
  return kept;
}

/** The write that the sibling begins with: nothing came before it, and whoever makes it makes the same. */
export function siblingVersion(key: string, loser: Version): Version {
  return {
    stamp: loser.stamp,
    dot: { site: loser.dot.site, count: 1 },
    past: {},
    operation: derivedOperation('sibling', key, loser.operation),
    deleted: false,
  };
}
