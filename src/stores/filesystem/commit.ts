import type { BigIntStats } from 'node:fs';
import type { ObjectMetadata } from '../../model/metadata.ts';
import type { Condition, Token } from '../../ports/object-store.ts';
import { errnoOf, type FileCalls, unless } from './calls.ts';
import { type Folder, type Folders, maxAttempts } from './folders.ts';
import { markOf, tokenAfterNaming, tokenOf } from './identity.ts';
import type { Locks } from './locks.ts';
import { hashOf, type MetadataFiles } from './metadata-files.ts';
import { keyAsNames, namesAsKey, reservedFolder } from './names.ts';
import type { Found, Places, Put } from './places.ts';
import type { Retired } from './retired.ts';
import type { SiteFolder } from './site-folder.ts';

/** A finished body, durable under a name of the driver's own. */
export interface Draft {
  readonly path: string;
  /** Open on it. */
  readonly fd: number;
}

/** What the moment without a name ended with. */
type Gap =
  /** The new body has the name (or, for a removal, nothing has). */
  | 'done'
  /** It was another write than the expected one, and has its name again. */
  | 'put-back'
  /** The expected one; but something else took the name in that moment. */
  | 'expected-but-occupied'
  /** Another write, and something else took the name in that moment. */
  | 'other-and-occupied'
  | 'vanished';

export interface CommitParts {
  readonly site: SiteFolder;
  readonly folders: Folders;
  readonly places: Places;
  readonly locks: Locks;
  readonly metadata: MetadataFiles;
  readonly retired: Retired;
  readonly calls: FileCalls;
}

/**
 * Gives bodies their names and takes them away, one process at a time for each key.
 *
 * Programs that know nothing of our lock are met so: a creation never replaces anything (`link`); a replacement or
 * removal first moves the old file aside, then looks whether it is the expected one, and puts it back if not. In
 * that moment the key has no name; readers of Isobar find the file aside and wait, and after a crash the next
 * process puts it back.
 */
export class Commits {
  readonly #parts: CommitParts;
  /** Keys whose name was gone for a moment while some listing was reading a directory. */
  readonly #gaps: string[] = [];
  /** Keys that the disk left without a name when it failed in such a moment. */
  readonly #stranded = new Set<string>();
  #listings = 0;

  constructor(parts: CommitParts) {
    this.#parts = parts;
  }

  /** The token of the new write; undefined when the condition did not hold. */
  async write(
    key: string,
    draft: Draft,
    metadata: ObjectMetadata,
    condition: Condition,
    signal: AbortSignal,
  ): Promise<Token | undefined> {
    const { places, locks, calls, metadata: files } = this.#parts;
    return await locks.hold(hashOf(key), signal, async () => {
      const current = await places.locate(key);
      if (!holds(condition, current)) return undefined;
      if (current !== undefined) await this.#takeMode(draft, current.stat);
      const before = await calls.fstat(draft.fd);
      await files.write(key, markOf(before), metadata, current && markOf(current.stat));
      signal.throwIfAborted();
      const put = current ? await this.#replace(key, draft, current) : await places.put(key, draft.path);
      if (put === 'taken') return undefined;
      try {
        await calls.unlink(draft.path);
        await put.folder.sync();
        return tokenAfterNaming(before, await calls.fstat(draft.fd));
      } finally {
        await put.folder.close();
      }
    });
  }

  /** False when `token` no longer names what is there. */
  async remove(key: string, token: Token, signal: AbortSignal): Promise<boolean> {
    const { places, locks, metadata: files, folders } = this.#parts;
    return await locks.hold(hashOf(key), signal, async () => {
      const current = await places.locate(key);
      if (current === undefined || !holds({ kind: 'match', token }, current)) return false;
      const folder = await folders.open(current.place.folder);
      if (typeof folder === 'string') return false;
      try {
        if (!(await this.#takeAway(key, folder, current))) return false;
        await folder.sync();
      } finally {
        await folder.close();
      }
      await files.forget(key);
      await folders.prune(current.place.folder, current.place.folder[0] === reservedFolder ? 1 : 0);
      return true;
    });
  }

  /** Whether a key that has no name is only missing it for a moment, or since a crash. */
  async isAside(key: string): Promise<boolean> {
    const { site, calls } = this.#parts;
    if (!site.isPrepared) return false;
    return (await unless(['ENOENT', 'ENOTDIR'], calls.lstat(this.#asidePath(key)))) !== undefined;
  }

  /** Waits for the end of that moment: then look again. */
  async settle(key: string, signal: AbortSignal): Promise<void> {
    await this.#parts.locks.hold(hashOf(key), signal, () => this.#mendAside(key));
  }

  /** Keys that stand aside now: in the moment of a replacement, or left by a crash. */
  async keysAside(): Promise<string[]> {
    if (!this.#parts.site.isPrepared) return [];
    return await this.#keysBelow([]);
  }

  /** Puts back, or ends, what a crash of the whole machine left aside. */
  async mendAll(signal: AbortSignal): Promise<void> {
    for (const key of await this.keysAside()) {
      await this.#parts.locks.hold(hashOf(key), signal, () => this.#mendAside(key));
    }
  }

  /** As `mendAll`, for the keys whose locks a dead process holds: our claim on it is the lock. */
  async mendOf(deadOwnerId: string): Promise<void> {
    for (const key of await this.keysAside()) {
      if (await this.#parts.locks.isHeldBy(hashOf(key), deadOwnerId)) await this.#mendAside(key);
    }
  }

  /** Runs `read`, and answers with it the keys that had no name for a moment meanwhile. */
  async watchingGaps<T>(
    read: () => Promise<T>,
  ): Promise<{ readonly result: T; readonly gaps: readonly string[] }> {
    const from = this.#gaps.length;
    this.#listings++;
    try {
      const result = await read();
      return { result, gaps: [...this.#gaps.slice(from), ...this.#stranded] };
    } finally {
      this.#listings--;
      if (this.#listings === 0) this.#gaps.length = 0;
    }
  }

  async #replace(key: string, draft: Draft, current: Found): Promise<Put | 'taken'> {
    const { folders, places, retired, locks } = this.#parts;
    const folder = await folders.open(current.place.folder);
    if (typeof folder === 'string') return 'taken';
    let put: Put | 'taken' = 'taken';
    try {
      const { gap, aside } = await this.#moveAside(key, folder, current, draft.path);
      if (gap === 'done') put = { place: current.place, folder };
      else if (gap === 'expected-but-occupied') put = await places.put(key, draft.path);
      if (put !== 'taken') await retired.add(locks.ownerId, aside, markOf(current.stat), key);
      else await this.#giveBack(key, gap, aside, folder);
      await this.#removeAsideFolders(key);
      return put;
    } finally {
      if (put === 'taken' || put.folder !== folder) await folder.close();
    }
  }

  async #takeAway(key: string, folder: Folder, current: Found): Promise<boolean> {
    const { retired, locks, site } = this.#parts;
    const { gap, aside } = await this.#moveAside(key, folder, current, undefined);
    if (gap === 'done') await retired.add(locks.ownerId, aside, markOf(current.stat), key);
    else await this.#giveBack(key, gap, aside, folder);
    // Before the removal is acknowledged nothing may be left aside, or a crash would bring the object back.
    await unless(['ENOENT'], site.syncPath(aside.slice(0, aside.lastIndexOf('/'))));
    await this.#removeAsideFolders(key);
    return gap === 'done';
  }

  async #moveAside(key: string, folder: Folder, current: Found, draftPath: string | undefined) {
    for (let attempt = 1; ; attempt++) {
      const aside = await this.#makeAside(key);
      const gap = await this.#swapOrMend(key, () =>
        this.#swap(key, folder.at(current.place.name), aside, current.stat, draftPath),
      );
      // Another key may have removed the folder below `aside/` that they share.
      const isThere =
        gap === 'vanished' && (await this.#parts.places.look(folder, current.place)) !== undefined;
      if (!isThere || attempt === maxAttempts) return { gap, aside };
    }
  }

  /** When the disk fails in the middle, the old file gets its name back; if not even that, listings know of it. */
  async #swapOrMend(key: string, swap: () => Gap): Promise<Gap> {
    try {
      return swap();
    } catch (cause) {
      this.#stranded.add(key);
      await this.#mendAside(key).catch(() => undefined);
      throw cause;
    }
  }

  /** The moment without a name: three calls, and the thread is not given up between them. */
  #swap(
    key: string,
    target: string,
    aside: string,
    expected: BigIntStats,
    draftPath: string | undefined,
  ): Gap {
    const { calls } = this.#parts;
    if (this.#listings > 0) this.#gaps.push(key);
    if (!succeeds(['ENOENT'], () => calls.renameNow(target, aside))) return 'vanished';
    const moved = calls.lstatNow(aside);
    if (moved.isFile() && markOf(moved) === markOf(expected)) {
      if (draftPath === undefined) return 'done';
      return succeeds(['EEXIST'], () => calls.linkNow(draftPath, target)) ? 'done' : 'expected-but-occupied';
    }
    if (moved.isFile()) {
      return succeeds(['EEXIST'], () => calls.linkNow(aside, target)) ? 'put-back' : 'other-and-occupied';
    }
    // A directory or symlink took the file's place. It cannot be linked; it is renamed where nothing stands.
    if (succeeds(['ENOENT'], () => calls.lstatNow(target))) return 'other-and-occupied';
    calls.renameNow(aside, target);
    return 'put-back';
  }

  /** After a swap that did not succeed: whatever stands aside has its name, gets one, or is kept. */
  async #giveBack(key: string, gap: Gap, aside: string, folder: Folder): Promise<void> {
    const { calls, retired, locks } = this.#parts;
    if (gap === 'vanished') return;
    if (gap === 'put-back') {
      await unless(['ENOENT'], calls.unlink(aside));
      await folder.sync();
      return;
    }
    if (gap === 'other-and-occupied' && (await this.#hasNewPlace(key, aside))) return;
    const because = 'it was moved aside to be replaced, and somebody created another one in that moment';
    await retired.keep(locks.ownerId, aside, key, because);
  }

  /** A directory may have taken the name of the file: then the odd place is free. */
  async #hasNewPlace(key: string, aside: string): Promise<boolean> {
    const { places, calls } = this.#parts;
    if (!(await calls.lstat(aside)).isFile()) return false;
    const put = await places.put(key, aside);
    if (put === 'taken') return false;
    await put.folder.sync().finally(() => put.folder.close());
    await calls.unlink(aside);
    return true;
  }

  /** Under the key's lock. What stands aside was left by a process that died in the middle. */
  async #mendAside(key: string): Promise<void> {
    const aside = this.#asidePath(key);
    const stat = await unless(['ENOENT', 'ENOTDIR'], this.#parts.calls.lstat(aside));
    if (stat !== undefined) await this.#mendFile(key, aside, stat);
    await this.#removeAsideFolders(key);
    this.#stranded.delete(key);
  }

  async #mendFile(key: string, aside: string, stat: BigIntStats): Promise<void> {
    const { calls, places, retired, locks, metadata } = this.#parts;
    const current = await places.locate(key);
    if (current?.stat.ino === stat.ino) return await calls.unlink(aside);
    if (current === undefined && (await this.#hasNewPlace(key, aside))) return;
    if (current !== undefined && (await metadata.read(key, markOf(stat))) !== undefined) {
      // The new body has the name, and the old one was Isobar's own: it was replaced as it should be.
      return await retired.add(locks.ownerId, aside, markOf(stat), key);
    }
    const because = 'a crash left it aside, and another file has its name now';
    await retired.keep(locks.ownerId, aside, key, because);
  }

  /** The replaced file's permissions go over to its successor. */
  async #takeMode(draft: Draft, old: BigIntStats): Promise<void> {
    const { calls } = this.#parts;
    const mode = Number(old.mode & 0o777n);
    if (Number((await calls.fstat(draft.fd)).mode & 0o777n) !== mode) await calls.chmod(draft.fd, mode);
  }

  #asidePath(key: string): string {
    return this.#parts.site.own('aside', ...keyAsNames(key));
  }

  async #makeAside(key: string): Promise<string> {
    const names = keyAsNames(key);
    for (let depth = 1; depth < names.length; depth++) {
      const path = this.#parts.site.own('aside', ...names.slice(0, depth));
      await unless(['EEXIST'], this.#parts.calls.mkdir(path));
    }
    return this.#parts.site.own('aside', ...names);
  }

  /** Only long keys have folders there. A folder that another key needs is not empty, or is made again. */
  async #removeAsideFolders(key: string): Promise<void> {
    const names = keyAsNames(key);
    for (let depth = names.length - 1; depth > 0; depth--) {
      const path = this.#parts.site.own('aside', ...names.slice(0, depth));
      await unless(['ENOTEMPTY', 'ENOENT', 'EEXIST'], this.#parts.calls.rmdir(path));
    }
  }

  async #keysBelow(names: readonly string[]): Promise<string[]> {
    const path = this.#parts.site.own('aside', ...names);
    const listed = await unless(['ENOENT'], this.#parts.calls.names(path));
    const keys: string[] = [];
    for (const entry of listed?.entries ?? []) {
      if (entry.endsWith('%c/')) keys.push(...(await this.#keysBelow([...names, entry.slice(0, -1)])));
      const key = entry.endsWith('%c/') ? undefined : namesAsKey([...names, entry.replace(/\/$/, '')]);
      if (key !== undefined) keys.push(key);
    }
    return keys;
  }
}

function holds(condition: Condition, current: Found | undefined): boolean {
  if (condition.kind === 'absent') return current === undefined;
  return current !== undefined && tokenOf(current.stat) === condition.token;
}

function succeeds(codes: readonly string[], call: () => unknown): boolean {
  try {
    call();
    return true;
  } catch (cause) {
    if (codes.includes(errnoOf(cause) ?? '')) return false;
    throw cause;
  }
}
