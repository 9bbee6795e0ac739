import type { BigIntStats } from 'node:fs';
import { StoreFailure } from '../../model/failure.ts';
import type { ListEntry, ListRequest } from '../../ports/object-store.ts';
import { type FileCalls, type FolderNames, type NamesWanted, unless } from './calls.ts';
import type { Commits } from './commit.ts';
import type { Folder, Folders } from './folders.ts';
import { tokenOf } from './identity.ts';
import type { Locks } from './locks.ts';
import { bytesOfKey, oddFolder, plainPlace, reservedFolder } from './names.ts';
import type { Places } from './places.ts';
import type { SiteFolder } from './site-folder.ts';
import {
  type Candidate,
  merged,
  oddTree,
  plainTree,
  type Skipped,
  type Span,
  type WalkParts,
  walk,
} from './walk.ts';

/** Files looked at in parallel; the system's thread pool is small, and other sites use it too. */
const statsAtOnce = 32;
const maxPageSize = 1000;
/** How often a directory that changes while it is read is read again. */
const maxReadings = 3;

export interface ListingParts {
  readonly site: SiteFolder;
  readonly folders: Folders;
  readonly places: Places;
  readonly commits: Commits;
  readonly locks: Locks;
  readonly calls: FileCalls;
  readonly onSkipped: (skipped: Skipped) => void;
  /** Waits for the end of the moment in which a key has no name. */
  readonly settle: (key: string, signal: AbortSignal) => Promise<void>;
  /** Put before every key. */
  readonly prefix: string;
}

/** Pages of everything that `request` names, as `ObjectStore.list` promises. */
export async function* listing(
  parts: ListingParts,
  request: ListRequest,
  signal: AbortSignal,
): AsyncGenerator<readonly ListEntry[]> {
  const { site, prefix } = parts;
  await site.open();
  await site.verify();
  const span = spanOf(prefix, request);
  const pageSize = Math.max(1, Math.min(request.pageSize ?? maxPageSize, maxPageSize));
  let last: string | undefined;
  for await (const candidates of paged(await everything(parts, span), pageSize)) {
    signal.throwIfAborted();
    for (const { bytes, key } of candidates) {
      if (last !== undefined && bytes <= last) throw outOfOrder(key);
      last = bytes;
    }
    const page = await entriesOf(parts, candidates, signal);
    if (page.length > 0) yield page;
  }
  // An unmounted disk looks like a folder from which everything was deleted.
  await site.verify();
  signal.throwIfAborted();
}

function outOfOrder(key: string): StoreFailure {
  return new StoreFailure('broken-listing', `the walk came to ${JSON.stringify(key)} out of order`);
}

function spanOf(prefix: string, request: ListRequest): Span {
  const bytes = (key: string | undefined) => (key === undefined ? undefined : bytesOfKey(prefix + key));
  const reserved = `${reservedFolder}/`;
  return {
    prefix: bytesOfKey(prefix + (request.prefix ?? '')),
    after: bytes(request.after),
    until: bytes(request.until),
    hidden: request.prefix?.startsWith(reserved) ? undefined : bytesOfKey(prefix + reserved),
  };
}

async function everything(parts: ListingParts, span: Span): Promise<AsyncGenerator<Candidate[]>> {
  const { site, folders, calls, onSkipped } = parts;
  const hasPeers = await hasOtherWriters(parts);
  const walkParts: WalkParts = {
    folders,
    calls,
    onSkipped,
    onVanished: () => site.verify(),
    readNames: (folder, path, wanted) => namesIn(parts, folder, path, wanted, hasPeers),
  };
  const plain = plainWalk(parts, walkParts, span);
  const oddRoot = [site.root, reservedFolder, oddFolder].join('/');
  const hasOdd = (await unless(['ENOENT', 'ENOTDIR'], calls.lstat(oddRoot))) !== undefined;
  if (!hasOdd) return plain;
  return merged(plain, walk(walkParts, oddTree, [reservedFolder, oddFolder], '', span), onSkipped);
}

/** Begins at the deepest directory that the prefix names. */
async function* plainWalk(
  parts: ListingParts,
  walkParts: WalkParts,
  span: Span,
): AsyncGenerator<Candidate[]> {
  const base = span.prefix.slice(0, span.prefix.lastIndexOf('/') + 1);
  const baseKey = Buffer.from(base, 'latin1').toString('utf8');
  // Any name does: it is the directory that is asked for.
  const start = plainPlace(`${baseKey}x`, parts.site.traits);
  const isReservedRoot = baseKey === `${reservedFolder}/`;
  if (start !== undefined || isReservedRoot) {
    yield* walk(walkParts, plainTree, start?.folder ?? [reservedFolder], base, span);
  }
}

async function hasOtherWriters({ site, locks, commits }: ListingParts): Promise<boolean> {
  if (!site.isPrepared) return false;
  return (await locks.hasOthers()) || (await commits.keysAside()).length > 0;
}

/**
 * The names in a directory, and those of keys that had none just while it was read, because they were being
 * replaced. What this process replaces is known exactly; what others do shows in the directory's times.
 */
async function namesIn(
  parts: ListingParts,
  folder: Folder,
  path: readonly string[],
  wanted: NamesWanted,
  hasPeers: boolean,
): Promise<FolderNames> {
  const { commits, calls } = parts;
  const read = () => (hasPeers ? namesAtRest(calls, folder, wanted) : calls.names(folder.at('.'), wanted));
  const { result, gaps } = await commits.watchingGaps(read);
  const aside = hasPeers ? await commits.keysAside() : [];
  const missing = [...gaps, ...aside].flatMap((key) => namesAt(parts, key, path));
  const isWanted = (name: string) =>
    (wanted.after === undefined || name > wanted.after) && (wanted.accept?.(name) ?? true);
  return withNames(result, { ...result, isCut: false, entries: missing.filter(isWanted) });
}

/** All names of both; where one was cut, only as far as that one reaches. */
function withNames(first: FolderNames, second: FolderNames): FolderNames {
  if (second.entries.length === 0) return first;
  const ends = [first, second].filter((names) => names.isCut).map((names) => names.entries.at(-1)!);
  const end = ends.sort()[0];
  const entries = [...new Set([...first.entries, ...second.entries])].sort();
  return {
    ...second,
    entries: end === undefined ? entries : entries.filter((name) => name <= end),
    isCut: end !== undefined,
  };
}

async function namesAtRest(calls: FileCalls, folder: Folder, wanted: NamesWanted): Promise<FolderNames> {
  let before = await calls.lstat(folder.at('.'));
  let all = await calls.names(folder.at('.'), wanted);
  for (let reading = 1; reading < maxReadings; reading++) {
    const after = await calls.lstat(folder.at('.'));
    if (after.mtimeNs === before.mtimeNs && after.ctimeNs === before.ctimeNs) return all;
    before = after;
    all = withNames(all, await calls.names(folder.at('.'), wanted));
  }
  return all;
}

function namesAt({ places }: ListingParts, key: string, path: readonly string[]): string[] {
  const here = path.join('/');
  return places
    .candidates(key)
    .filter((place) => place.folder.join('/') === here)
    .map((place) => bytesOfKey(place.name));
}

async function* paged(batches: AsyncGenerator<Candidate[]>, size: number): AsyncGenerator<Candidate[]> {
  let page: Candidate[] = [];
  for await (const batch of batches) {
    for (const candidate of batch) {
      page.push(candidate);
      if (page.length < size) continue;
      yield page;
      page = [];
    }
  }
  if (page.length > 0) yield page;
}

async function entriesOf(
  parts: ListingParts,
  candidates: readonly Candidate[],
  signal: AbortSignal,
): Promise<ListEntry[]> {
  const found: (ListEntry | undefined)[] = new Array(candidates.length).fill(undefined);
  const opened = new OpenedFolders(parts.folders);
  try {
    let next = 0;
    const look = async () => {
      for (let at = next++; at < candidates.length; at = next++) {
        found[at] = await entryOf(parts, candidates[at]!, opened, signal);
      }
    };
    const lookers = Array.from({ length: Math.min(statsAtOnce, candidates.length) }, look);
    const outcomes = await Promise.allSettled(lookers);
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  } finally {
    await opened.close();
  }
  return found.filter((entry) => entry !== undefined);
}

async function entryOf(
  parts: ListingParts,
  { key, folder: path, name }: Candidate,
  opened: OpenedFolders,
  signal: AbortSignal,
): Promise<ListEntry | undefined> {
  const folder = await opened.get(path);
  if (typeof folder !== 'string') {
    const stat = await unless(['ENOENT'], parts.calls.lstat(folder.at(name)));
    if (stat?.isFile()) return listEntry(key.slice(parts.prefix.length), stat);
  }
  // It vanished: deleted by somebody, or in the middle of being replaced.
  if (!(await parts.commits.isAside(key))) return undefined;
  await parts.settle(key, signal);
  const found = await parts.places.locate(key);
  return found && listEntry(key.slice(parts.prefix.length), found.stat);
}

export function listEntry(key: string, stat: BigIntStats): ListEntry {
  return {
    key,
    size: Number(stat.size),
    token: tokenOf(stat),
    lastModifiedMs: Number(stat.mtimeNs / 1_000_000n),
    digests: {},
  };
}

/** The directories of one page, each opened once; candidates come directory by directory. */
class OpenedFolders {
  readonly #folders: Folders;
  readonly #byPath = new Map<readonly string[], ReturnType<Folders['open']>>();

  constructor(folders: Folders) {
    this.#folders = folders;
  }

  /** A walk hands out the same array for all files of one directory. */
  get(path: readonly string[]): ReturnType<Folders['open']> {
    let folder = this.#byPath.get(path);
    if (folder === undefined) {
      folder = this.#folders.open(path);
      this.#byPath.set(path, folder);
    }
    return folder;
  }

  async close(): Promise<void> {
    for (const opening of this.#byPath.values()) {
      const folder = await opening.catch(() => 'absent' as const);
      if (typeof folder !== 'string') await folder.close();
    }
  }
}
