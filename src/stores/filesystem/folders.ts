import { StoreFailure } from '../../model/failure.ts';
import { errnoOf, type FileCalls, unless } from './calls.ts';
import { bytesOfKey } from './names.ts';
import { directoryToSync, type SiteFolder } from './site-folder.ts';

/** An opened directory of the site that no symlink leads to. Must be closed. */
export interface Folder {
  /** The path of a name in it, for the next call only. */
  at(name: string): string;
  /** Makes creations, renames and removals in it durable. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** `blocked`: a file, a symlink or the like stands where a directory of the path would be. */
export type Opening = Folder | 'absent' | 'blocked';

/** Directories whose names are remembered on a disk that folds names. */
const maxRemembered = 64;

export class Folders {
  readonly #site: SiteFolder;
  readonly #calls: FileCalls;
  /** Directories made, but perhaps not durable yet: who finds one must wait as its maker does. */
  readonly #making = new Map<string, Promise<void>>();
  readonly #remembered = new Map<string, { readonly seen: string; readonly names: ReadonlySet<string> }>();

  constructor(site: SiteFolder, calls: FileCalls) {
    this.#site = site;
    this.#calls = calls;
  }

  async open(names: readonly string[]): Promise<Opening> {
    const path = [this.#site.root, ...names].join('/') || '/';
    if (!this.#site.traits.anchored && !(await this.#leadsThroughDirectories(names))) return 'blocked';
    const fd = await this.#openDirectory(path);
    if (typeof fd === 'string') return fd;
    try {
      const verdict = await this.#check(names, path, fd);
      if (verdict === 'right') return this.#folder(path, fd);
      await this.#calls.close(fd);
      return verdict;
    } catch (cause) {
      await this.#calls.close(fd);
      throw cause;
    }
  }

  /** Like `open`, and makes what is missing, durably. */
  async ensure(names: readonly string[]): Promise<Folder | 'blocked'> {
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const folder = await this.open(names);
      if (folder === 'blocked') return folder;
      if (folder !== 'absent') {
        await this.#untilDurable(names);
        return folder;
      }
      const made = await this.#makeMissing(names);
      if (made === 'blocked') return made;
    }
    throw new StoreFailure(
      'unavailable',
      `the folder ${names.join('/')} is deleted as often as it is created`,
    );
  }

  /** Removes directories that are left empty, from the last of `names` up; `keep` of them stay in any case. */
  async prune(names: readonly string[], keep: number): Promise<void> {
    for (let depth = names.length; depth > keep; depth--) {
      const parent = await this.open(names.slice(0, depth - 1));
      if (typeof parent === 'string') return;
      const removed = await this.#removeEmpty(parent, names[depth - 1]!).finally(() => parent.close());
      if (!removed) return;
    }
  }

  async #removeEmpty(parent: Folder, name: string): Promise<boolean> {
    try {
      await this.#calls.rmdir(parent.at(name));
      return true;
    } catch (cause) {
      // Not empty, somebody's mount point, not permitted, already gone: all are reasons to leave it alone.
      if (errnoOf(cause) !== undefined) return false;
      throw cause;
    }
  }

  /** On a disk that folds names: whether `name` is spelled exactly so in the directory. True on other disks. */
  async spelledSo(folder: Folder, path: readonly string[], name: string): Promise<boolean> {
    if (!this.#site.traits.folds) return true;
    const names = await this.#namesIn(folder, path.join('/'));
    return names.has(bytesOfKey(name));
  }

  async #namesIn(folder: Folder, path: string): Promise<ReadonlySet<string>> {
    const stat = await this.#calls.lstat(folder.at('.'));
    const seen = `${stat.ino}.${stat.mtimeNs}.${stat.ctimeNs}`;
    const known = this.#remembered.get(path);
    if (known?.seen === seen) return known.names;
    const { entries, symlinks, specials } = await this.#calls.names(folder.at('.'));
    const names = new Set([...entries.map((name) => name.replace(/\/$/, '')), ...symlinks, ...specials]);
    this.#remembered.delete(path);
    this.#remembered.set(path, { seen, names });
    const oldest = this.#remembered.keys().next();
    if (this.#remembered.size > maxRemembered && !oldest.done) this.#remembered.delete(oldest.value);
    return names;
  }

  async #openDirectory(path: string): Promise<number | 'absent' | 'blocked'> {
    try {
      return await this.#calls.open(path, directoryToSync);
    } catch (cause) {
      const code = errnoOf(cause);
      if (code === 'ENOENT') return 'absent';
      if (code === 'ENOTDIR' || code === 'ELOOP' || code === 'EMLINK') return 'blocked';
      // A path that this system cannot hold as it is: the odd tree may still take the key.
      if (code === 'ENAMETOOLONG') return 'blocked';
      throw cause;
    }
  }

  /** Whether the opened directory is the one that the path names, every part of it taken literally. */
  async #check(names: readonly string[], path: string, fd: number): Promise<'right' | 'absent' | 'blocked'> {
    if (this.#site.traits.anchored) {
      const real = await this.#calls.readlink(`/proc/self/fd/${fd}`);
      if (real === `${path} (deleted)`) return 'absent';
      if (real !== path) return 'blocked';
    }
    if (!this.#site.traits.folds) return 'right';
    for (let depth = 1; depth <= names.length; depth++) {
      const parent = [this.#site.root, ...names.slice(0, depth - 1)].join('/');
      const above = this.#folder(parent, undefined);
      if (!(await this.spelledSo(above, names.slice(0, depth - 1), names[depth - 1]!))) return 'blocked';
    }
    return 'right';
  }

  /** Where directories cannot be addressed by descriptor: every directory on the way is looked at. */
  async #leadsThroughDirectories(names: readonly string[]): Promise<boolean> {
    for (let depth = 1; depth <= names.length; depth++) {
      const path = [this.#site.root, ...names.slice(0, depth)].join('/');
      const stat = await unless(['ENOENT'], this.#calls.lstat(path));
      if (stat === undefined) return true;
      if (!stat.isDirectory()) return false;
    }
    return true;
  }

  #folder(path: string, fd: number | undefined): Folder {
    const base = this.#site.traits.anchored && fd !== undefined ? `/proc/self/fd/${fd}` : path;
    return {
      at: (name) => `${base}/${name}`,
      sync: async () => {
        if (fd !== undefined) await this.#site.syncFolder(fd);
      },
      close: async () => {
        if (fd !== undefined) await this.#calls.close(fd);
      },
    };
  }

  async #makeMissing(names: readonly string[]): Promise<'made' | 'blocked'> {
    for (let depth = 1; depth <= names.length; depth++) {
      const parent = await this.open(names.slice(0, depth - 1));
      if (parent === 'blocked') return parent;
      if (parent === 'absent') {
        if (depth === 1) await this.#site.verify();
        return 'made';
      }
      try {
        await this.#makeIn(parent, names.slice(0, depth));
      } finally {
        await parent.close();
      }
    }
    return 'made';
  }

  async #makeIn(parent: Folder, names: readonly string[]): Promise<void> {
    const path = names.join('/');
    const running = this.#making.get(path);
    if (running !== undefined) return await running;
    const making = this.#makeDurably(parent, names.at(-1)!);
    this.#making.set(path, making);
    try {
      await making;
    } finally {
      this.#making.delete(path);
    }
  }

  async #makeDurably(parent: Folder, name: string): Promise<void> {
    const made = await unless(
      ['EEXIST', 'ENOENT'],
      this.#calls.mkdir(parent.at(name)).then(() => true),
    );
    if (made) await parent.sync();
  }

  async #untilDurable(names: readonly string[]): Promise<void> {
    for (let depth = names.length; depth > 0 && this.#making.size > 0; depth--) {
      await this.#making.get(names.slice(0, depth).join('/'));
    }
  }
}

/** How often a race with somebody who deletes what we create is run again. */
export const maxAttempts = 8;
