import fs, { type BigIntStats } from 'node:fs';
import { opendir } from 'node:fs/promises';
import { promisify } from 'node:util';

/**
 * What one directory holds. Names are Latin-1 strings of the raw bytes on disk: exact even where they are no
 * valid UTF-8, compact, and `<` on them is the order of the bytes.
 */
export interface FolderNames {
  /** Ordinary files as they are, directories with `/` behind them: sorted, this is the order of keys. */
  readonly entries: string[];
  readonly symlinks: string[];
  /** Sockets, pipes, devices. */
  readonly specials: string[];
  /** There are more entries, all greater than the last of these, which are sorted then. */
  readonly isCut: boolean;
}

/** Which entries of a directory are wanted; by default all. */
export interface NamesWanted {
  /** Only greater ones. */
  readonly after?: string | undefined;
  readonly accept?: (entry: string) => boolean;
  /** The smallest so many, at least: a directory of any size is read in this much memory. */
  readonly limit?: number;
}

/**
 * The few calls of the file system that this driver makes, so that a test can trace them, end the process
 * between any two of them, or play a disk of another kind. Errors are Node's own, with `code`.
 */
export interface FileCalls {
  open(path: string, flags: number): Promise<number>;
  close(fd: number): Promise<void>;
  /** Bytes read; 0 at the end. */
  read(fd: number, into: Uint8Array, position: number): Promise<number>;
  /** Writes all of `bytes`. */
  write(fd: number, bytes: Uint8Array, position: number): Promise<void>;
  sync(fd: number): Promise<void>;
  syncData(fd: number): Promise<void>;
  truncate(fd: number, size: number): Promise<void>;
  chmod(fd: number, mode: number): Promise<void>;
  fstat(fd: number): Promise<BigIntStats>;
  lstat(path: string): Promise<BigIntStats>;
  realpath(path: string): Promise<string>;
  readlink(path: string): Promise<string>;
  readFile(path: string): Promise<Buffer>;
  link(existing: string, path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  mkdir(path: string): Promise<void>;
  rmdir(path: string): Promise<void>;
  /** Sets the times to now. */
  touch(path: string): Promise<void>;
  names(path: string, wanted?: NamesWanted): Promise<FolderNames>;
  /** Without giving up the thread: the moment in which an object has no name must stay microseconds long. */
  renameNow(from: string, to: string): void;
  linkNow(existing: string, path: string): void;
  lstatNow(path: string): BigIntStats;
}

const open = promisify(fs.open);
const read = promisify(fs.read);
const write = promisify(fs.write);
const utimes = promisify(fs.utimes);
const fstat = promisify<number, { bigint: true }, BigIntStats>(fs.fstat);
const lstat = promisify<string, { bigint: true }, BigIntStats>(fs.lstat);
const mkdir = promisify((path: string, done: fs.NoParamCallback) => fs.mkdir(path, (error) => done(error)));

export const nodeCalls: FileCalls = {
  open: (path, flags) => open(path, flags, 0o666),
  close: promisify(fs.close),
  read: async (fd, into, position) => (await read(fd, into, 0, into.length, position)).bytesRead,
  write: writeAll,
  sync: promisify(fs.fsync),
  syncData: promisify(fs.fdatasync),
  truncate: promisify<number, number>(fs.ftruncate),
  chmod: promisify(fs.fchmod),
  fstat: (fd) => fstat(fd, { bigint: true }),
  lstat: (path) => lstat(path, { bigint: true }),
  realpath: promisify<string, string>((path, done) => fs.realpath.native(path, done)),
  readlink: promisify<string, string>((path, done) => fs.readlink(path, done)),
  readFile: promisify<string, Buffer>((path, done) => fs.readFile(path, done)),
  link: promisify(fs.link),
  rename: promisify(fs.rename),
  unlink: promisify(fs.unlink),
  mkdir,
  rmdir: promisify((path: string, done: fs.NoParamCallback) => fs.rmdir(path, done)),
  touch: async (path) => {
    const now = new Date();
    await utimes(path, now, now);
  },
  names,
  renameNow: fs.renameSync,
  linkNow: fs.linkSync,
  lstatNow: (path) => fs.lstatSync(path, { bigint: true }),
};

async function writeAll(fd: number, bytes: Uint8Array, position: number): Promise<void> {
  let done = 0;
  while (done < bytes.length) {
    const { bytesWritten } = await write(fd, bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}

async function names(path: string, wanted: NamesWanted = {}): Promise<FolderNames> {
  const entries = new SmallestNames(wanted);
  const [symlinks, specials]: [string[], string[]] = [[], []];
  for await (const entry of await opendir(path, { encoding: 'latin1' as 'utf8', bufferSize: 1024 })) {
    if (entry.isFile()) entries.add(entry.name);
    else if (entry.isDirectory()) entries.add(`${entry.name}/`);
    else if (entry.isSymbolicLink()) symlinks.push(entry.name);
    else specials.push(entry.name);
  }
  return { entries: entries.names, symlinks, specials, isCut: entries.isCut };
}

/** Keeps the smallest of many names: at twice the limit, the greater half goes. */
class SmallestNames {
  readonly names: string[] = [];
  isCut = false;
  readonly #wanted: NamesWanted;
  readonly #limit: number;
  #below: string | undefined;

  constructor(wanted: NamesWanted) {
    this.#wanted = wanted;
    this.#limit = wanted.limit ?? Number.POSITIVE_INFINITY;
  }

  add(name: string): void {
    const { after, accept } = this.#wanted;
    if (after !== undefined && name <= after) return;
    if (this.#below !== undefined && name > this.#below) return;
    if (accept !== undefined && !accept(name)) return;
    this.names.push(name);
    if (this.names.length >= this.#limit * 2) this.#cut();
  }

  #cut(): void {
    this.names.sort();
    this.names.length = this.#limit;
    this.#below = this.names.at(-1);
    this.isCut = true;
  }
}

/** The system's code of a failed call (`ENOENT`), or undefined when `cause` is something else. */
export function errnoOf(cause: unknown): string | undefined {
  if (!(cause instanceof Error) || !('syscall' in cause || 'errno' in cause)) return undefined;
  return 'code' in cause && typeof cause.code === 'string' ? cause.code : undefined;
}

/** Runs `call`, and answers undefined when it fails with one of `codes`. */
export async function unless<T>(codes: readonly string[], call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (cause) {
    const code = errnoOf(cause);
    if (code !== undefined && codes.includes(code)) return undefined;
    throw cause;
  }
}

/** Deletes a file, or a directory of files, if it is there. */
export async function discard(calls: FileCalls, path: string): Promise<void> {
  const names = await unless(['ENOENT', 'ENOTDIR'], calls.names(path));
  for (const name of names?.entries ?? []) await unless(['ENOENT'], calls.unlink(`${path}/${name}`));
  const removal = names === undefined ? calls.unlink(path) : calls.rmdir(path);
  await unless(['ENOENT'], removal);
}
