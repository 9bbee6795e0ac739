import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { compareKeys, reservedPrefix } from '../../model/key.ts';

export interface Body {
  readonly size: number;
  /** Hex SHA-256. */
  readonly digest: string;
}

/** What a site must hold, by key. The demo keeps it by itself: the engine is not asked whether it was right. */
export type Content = Map<string, Body>;

export interface Difference {
  readonly key: string;
  readonly kind: 'lacks' | 'must not have' | 'has other bytes in';
}

export function bodyOf(bytes: Uint8Array): Body {
  return { size: bytes.length, digest: createHash('sha256').update(bytes).digest('hex') };
}

export function bytesIn(content: Content): number {
  let bytes = 0;
  for (const { size } of content.values()) bytes += size;
  return bytes;
}

/**
 * Reads `folder` with plain file calls and tells what is not as in `expected`: names and sizes first, and only when
 * these agree every byte of every file.
 */
export async function differencesAt(
  folder: string,
  expected: Content,
  signal: AbortSignal,
): Promise<Difference[]> {
  const sizes = await sizesIn(folder);
  const differences: Difference[] = [];
  for (const [key, { size }] of expected) {
    const found = sizes.get(key);
    if (found === undefined) differences.push({ key, kind: 'lacks' });
    else if (found !== size) differences.push({ key, kind: 'has other bytes in' });
  }
  for (const key of sizes.keys()) if (!expected.has(key)) differences.push({ key, kind: 'must not have' });
  if (differences.length > 0) return differences.sort((a, b) => compareKeys(a.key, b.key));
  for (const [key, { digest }] of expected) {
    if ((await digestOfFile(join(folder, key), signal)) !== digest) {
      differences.push({ key, kind: 'has other bytes in' });
    }
  }
  return differences;
}

/** Sizes of all files by key; Isobar's own, below `.isobar/`, are no content. */
async function sizesIn(folder: string): Promise<Map<string, number>> {
  const sizes = new Map<string, number>();
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const key = relative(folder, path).replaceAll(sep, '/');
    if (!entry.isFile() || key.startsWith(reservedPrefix)) continue;
    const size = await orGone(stat(path).then((found) => found.size));
    if (size !== undefined) sizes.set(key, size);
  }
  return sizes;
}

/** Undefined when the file is gone. */
async function digestOfFile(path: string, signal: AbortSignal): Promise<string | undefined> {
  const hash = createHash('sha256');
  const read = async (): Promise<string> => {
    for await (const piece of createReadStream(path, { signal, highWaterMark: 1024 * 1024 }))
      hash.update(piece);
    return hash.digest('hex');
  };
  return orGone(read());
}

/** A file may be replaced between two looks. */
async function orGone<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (failure) {
    if ((failure as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw failure;
  }
}
