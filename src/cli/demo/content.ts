import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { lstat, readdir, readFile } from 'node:fs/promises';
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

/** What was read before, by path: a file whose inode, size and times are the same is not read again. */
export type ReadBefore = Map<string, { readonly identity: string; readonly digest: string }>;

/**
 * Reads `folder` with plain file calls and tells what is not as in `expected`: names and sizes first, and only when
 * these agree the bytes of every file.
 */
export async function differencesAt(
  folder: string,
  expected: Content,
  signal: AbortSignal,
  before: ReadBefore = new Map(),
): Promise<Difference[]> {
  const found = await filesIn(folder);
  const differences: Difference[] = [];
  for (const [key, { size }] of expected) {
    const file = found.get(key);
    if (file === undefined) differences.push({ key, kind: 'lacks' });
    else if (file.size !== size) differences.push({ key, kind: 'has other bytes in' });
  }
  for (const key of found.keys()) if (!expected.has(key)) differences.push({ key, kind: 'must not have' });
  if (differences.length > 0) return differences.sort((a, b) => compareKeys(a.key, b.key));
  await atOnce(expected, async ([key, { digest }]) => {
    if ((await digestOf(found.get(key)!, before, signal)) === digest) return;
    differences.push({ key, kind: 'has other bytes in' });
  });
  return differences;
}

interface FoundFile {
  readonly path: string;
  readonly size: number;
  readonly identity: string;
}

/** All files by key; Isobar's own, below `.isobar/`, are no content. */
async function filesIn(folder: string): Promise<Map<string, FoundFile>> {
  const found = new Map<string, FoundFile>();
  // A folder that is removed while it is read is looked at again with the next call.
  const entries = (await orGone(readdir(folder, { recursive: true, withFileTypes: true }))) ?? [];
  await atOnce(entries, async (entry) => {
    const path = join(entry.parentPath, entry.name);
    const key = relative(folder, path).replaceAll(sep, '/');
    if (!entry.isFile() || key.startsWith(reservedPrefix)) return;
    const stats = await orGone(lstat(path, { bigint: true }));
    if (stats === undefined) return;
    const identity = `${stats.ino} ${stats.size} ${stats.mtimeNs} ${stats.ctimeNs}`;
    found.set(key, { path, size: Number(stats.size), identity });
  });
  return found;
}

/** Undefined when the file is gone. */
async function digestOf(
  { path, size, identity }: FoundFile,
  before: ReadBefore,
  signal: AbortSignal,
): Promise<string | undefined> {
  const known = before.get(path);
  if (known?.identity === identity) return known.digest;
  const digest = await orGone(size <= pieceBytes ? digestOfSmall(path, signal) : digestOfLarge(path, signal));
  if (digest !== undefined) before.set(path, { identity, digest });
  return digest;
}

const pieceBytes = 1024 * 1024;

async function digestOfSmall(path: string, signal: AbortSignal): Promise<string> {
  return bodyOf(await readFile(path, { signal })).digest;
}

async function digestOfLarge(path: string, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of createReadStream(path, { signal, highWaterMark: pieceBytes })) hash.update(piece);
  return hash.digest('hex');
}

const filesAtOnce = 8;

async function atOnce<T>(items: Iterable<T>, work: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items].values();
  const worker = async (): Promise<void> => {
    for (const item of queue) await work(item);
  };
  await Promise.all(Array.from({ length: filesAtOnce }, worker));
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
