import { StoreFailure } from '../../model/failure.ts';
import type { FileCalls, FolderNames, NamesWanted } from './calls.ts';
import type { Folder, Folders } from './folders.ts';
import { keyOfBytes, oddFolder, oddNameBytes, reservedFolder, storeFolder } from './names.ts';

/** Something in the folder that is no object: it is left alone and never deleted. */
export interface Skipped {
  /** Below the root, `/` between names. Bytes that are no UTF-8 are shown as `\xNN`. */
  readonly path: string;
  readonly because:
    | 'symlink'
    /** A socket, pipe or device. */
    | 'special-file'
    | 'name-is-not-utf-8'
    /** In the odd tree: a name that the escape table never makes. */
    | 'name-is-not-escaped'
    /** In the odd tree: the key's plain path holds a file as well, and that one is the object. */
    | 'shadowed';
}

/** Which keys are wanted, all as Latin-1 strings of bytes. */
export interface Span {
  readonly prefix: string;
  /** Exclusive. */
  readonly after: string | undefined;
  /** Inclusive. */
  readonly until: string | undefined;
  /** Keys that begin with this are left out. */
  readonly hidden: string | undefined;
}

/** A file that was seen in a directory; whether it is still there is looked at later. */
export interface Candidate {
  /** Latin-1 string of the key's bytes. */
  readonly bytes: string;
  readonly key: string;
  readonly folder: readonly string[];
  readonly name: string;
}

export interface WalkParts {
  readonly folders: Folders;
  readonly calls: FileCalls;
  /** Reads a directory's names, and those that were gone only for the moment of a replacement. */
  readonly readNames: (folder: Folder, path: readonly string[], wanted: NamesWanted) => Promise<FolderNames>;
  readonly onSkipped: (skipped: Skipped) => void;
  /** A directory that was seen is gone: throws when the whole folder is. */
  readonly onVanished: () => Promise<void>;
}

/** One way of naming: what an entry of a directory adds to the key, or why it is no object. */
export interface Tree {
  readonly nameBytes: (entry: string, path: readonly string[]) => string | Skipped['because'] | 'own';
}

export const plainTree: Tree = {
  nameBytes: (entry, path) => {
    const isOwn = path.length === 1 && path[0] === reservedFolder;
    if (isOwn && (entry === `${storeFolder}/` || entry === `${oddFolder}/`)) return 'own';
    return keyOfBytes(entry) === undefined ? 'name-is-not-utf-8' : entry;
  },
};

export const oddTree: Tree = {
  nameBytes: (entry) => {
    const isFolder = entry.endsWith('/');
    return oddNameBytes(isFolder ? entry.slice(0, -1) : entry, isFolder) ?? 'name-is-not-escaped';
  },
};

/** Candidates per batch. */
const batchSize = 1000;
/** Names of one directory in memory, once again as many while it is read. A larger one is read several times. */
const namesAtOnce = 100_000;

/**
 * All files below `path` whose keys lie in `span`, in the order of their keys' bytes. In memory: the names of the
 * directories between root and current file. A directory that cannot be read throws; one that is gone is empty.
 */
export async function* walk(
  parts: WalkParts,
  tree: Tree,
  path: readonly string[],
  base: string,
  span: Span,
): AsyncGenerator<Candidate[]> {
  let batch: Candidate[] = [];
  for await (const { entry, bytes } of entriesOf(parts, tree, path, base, span)) {
    if (!entry.endsWith('/')) {
      const key = keyOfBytes(bytes);
      if (key !== undefined) batch.push({ bytes, key, folder: path, name: textOf(entry) });
      else parts.onSkipped({ path: shown(path, entry), because: 'name-is-not-utf-8' });
      if (batch.length < batchSize) continue;
    }
    if (batch.length > 0) yield batch;
    batch = [];
    if (!entry.endsWith('/')) continue;
    yield* walk(parts, tree, [...path, textOf(entry.slice(0, -1))], bytes, span);
  }
  if (batch.length > 0) yield batch;
}

interface Entry {
  /** As on disk, with `/` behind a directory. */
  readonly entry: string;
  /** What every key below it begins with; the whole key of a file. */
  readonly bytes: string;
}

async function* entriesOf(
  parts: WalkParts,
  tree: Tree,
  path: readonly string[],
  base: string,
  span: Span,
): AsyncGenerator<Entry> {
  const isPlain = tree === plainTree;
  const wanted = isPlain
    ? { accept: (entry: string) => reaches(base + entry, span), limit: namesAtOnce }
    : {};
  for (let after: string | undefined, isFirst = true; ; isFirst = false) {
    const folder = await parts.folders.open(path);
    if (folder === 'absent') await parts.onVanished();
    if (typeof folder === 'string') return;
    const names = await parts.readNames(folder, path, { ...wanted, after }).finally(() => folder.close());
    if (isFirst) report(parts, path, names);
    yield* isPlain ? plainEntries(parts, path, base, names) : oddEntries(parts, path, base, span, names);
    if (!names.isCut) return;
    after = names.entries.at(-1);
  }
}

/** Sorted as they are: no object per name is made before its turn. */
function* plainEntries(
  parts: WalkParts,
  path: readonly string[],
  base: string,
  names: FolderNames,
): Generator<Entry> {
  for (const entry of names.entries.sort()) {
    const bytes = plainTree.nameBytes(entry, path);
    if (bytes === 'own') continue;
    if (bytes === 'name-is-not-utf-8') parts.onSkipped({ path: shown(path, entry), because: bytes });
    else yield { entry, bytes: base + entry };
  }
}

function oddEntries(
  parts: WalkParts,
  path: readonly string[],
  base: string,
  span: Span,
  names: FolderNames,
): Entry[] {
  const found: Entry[] = [];
  for (const entry of names.entries) {
    const bytes = oddTree.nameBytes(entry, path);
    if (bytes === 'name-is-not-escaped') parts.onSkipped({ path: shown(path, entry), because: bytes });
    else if (reaches(base + bytes, span, entry.endsWith('/'))) found.push({ entry, bytes: base + bytes });
  }
  return found.sort((a, b) => (a.bytes < b.bytes ? -1 : 1));
}

/** Whether the key `bytes`, or any key that begins with it when it stands for a folder, can lie in the span. */
function reaches(bytes: string, span: Span, isFolder = bytes.endsWith('/')): boolean {
  const { prefix, after, until, hidden } = span;
  if (hidden !== undefined && bytes.startsWith(hidden)) return false;
  if (!bytes.startsWith(prefix) && !(isFolder && prefix.startsWith(bytes))) return false;
  if (until !== undefined && bytes > until) return false;
  return after === undefined || bytes > after || (isFolder && after.startsWith(bytes));
}

function report(parts: WalkParts, path: readonly string[], names: FolderNames): void {
  for (const name of names.symlinks) parts.onSkipped({ path: shown(path, name), because: 'symlink' });
  for (const name of names.specials) parts.onSkipped({ path: shown(path, name), because: 'special-file' });
}

function textOf(name: string): string {
  return Buffer.from(name, 'latin1').toString('utf8');
}

/** A path for people: what is no UTF-8 is spelled out byte by byte. */
function shown(path: readonly string[], name: string): string {
  const spelled =
    keyOfBytes(name) ?? name.replace(/[\x80-\xff]/g, (byte) => `\\x${byte.charCodeAt(0).toString(16)}`);
  return [...path, spelled].join('/').replace(/\/$/, '');
}

/** Two walks as one. Where both have a key, the first one's file is the object. */
export async function* merged(
  first: AsyncGenerator<Candidate[]>,
  second: AsyncGenerator<Candidate[]>,
  onSkipped: (skipped: Skipped) => void,
): AsyncGenerator<Candidate[]> {
  const [a, b] = [new Reader(first), new Reader(second)];
  try {
    await b.fill();
    while (await a.fill()) {
      if (b.next === undefined) {
        yield a.takeRest();
        continue;
      }
      const batch: Candidate[] = [];
      while (a.next !== undefined && b.next !== undefined) {
        batch.push(a.next.bytes <= b.next.bytes ? takeBoth(a, b, onSkipped) : b.take());
        if (b.next === undefined) await b.fill();
      }
      yield batch;
    }
    while (await b.fill()) yield b.takeRest();
  } finally {
    await Promise.all([first.return(undefined), second.return(undefined)]);
  }
}

function takeBoth(a: Reader, b: Reader, onSkipped: (skipped: Skipped) => void): Candidate {
  const taken = a.take();
  if (b.next?.bytes === taken.bytes) {
    const shadowed = b.take();
    onSkipped({ path: [...shadowed.folder, shadowed.name].join('/'), because: 'shadowed' });
  }
  return taken;
}

class Reader {
  readonly #source: AsyncGenerator<Candidate[]>;
  #batch: Candidate[] = [];
  #at = 0;

  constructor(source: AsyncGenerator<Candidate[]>) {
    this.#source = source;
  }

  get next(): Candidate | undefined {
    return this.#batch[this.#at];
  }

  /** False at the end. */
  async fill(): Promise<boolean> {
    while (this.#at >= this.#batch.length) {
      const answer = await this.#source.next();
      if (answer.done) return false;
      this.#batch = answer.value;
      this.#at = 0;
    }
    return true;
  }

  take(): Candidate {
    const taken = this.#batch[this.#at];
    if (taken === undefined) throw new StoreFailure('broken-listing', 'a walk was read beyond its end');
    this.#at++;
    return taken;
  }

  takeRest(): Candidate[] {
    const rest = this.#batch.slice(this.#at);
    this.#at = this.#batch.length;
    return rest;
  }
}
