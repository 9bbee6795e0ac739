import { type BigIntStats, constants } from 'node:fs';
import { StoreFailure } from '../../model/failure.ts';
import { errnoOf, type FileCalls, unless } from './calls.ts';
import { type Folder, type Folders, maxAttempts } from './folders.ts';
import { oddPlace, type Place, plainPlace } from './names.ts';
import type { SiteFolder } from './site-folder.ts';

/** Where the body of a key stands now. */
export interface Found {
  readonly place: Place;
  readonly stat: BigIntStats;
}

export interface OpenFile extends Found {
  readonly fd: number;
}

const { O_NOFOLLOW = 0, O_NONBLOCK = 0, O_RDONLY } = constants;
/** Nonblocking, so that a pipe that took the file's place does not hold a thread for ever. */
const readOnly = O_RDONLY | O_NOFOLLOW | O_NONBLOCK;
const replacedMeanwhile = ['ENOENT', 'ELOOP', 'EMLINK', 'ENXIO'];

/** A name that `put` made; `folder` is open and must be closed. */
export interface Put {
  readonly place: Place;
  readonly folder: Folder;
}

/**
 * Every key has at most two places: its plain path, and the one in the odd tree. A body is at the plain one,
 * except where that is impossible when it is created. It stays where it is until it is removed. Where both
 * exist (somebody created a file at the plain path later), the plain one is the object.
 */
export class Places {
  readonly #site: SiteFolder;
  readonly #folders: Folders;
  readonly #calls: FileCalls;

  constructor(site: SiteFolder, folders: Folders, calls: FileCalls) {
    this.#site = site;
    this.#folders = folders;
    this.#calls = calls;
  }

  candidates(key: string): readonly Place[] {
    const plain = plainPlace(key, this.#site.traits);
    return plain === undefined ? [oddPlace(key)] : [plain, oddPlace(key)];
  }

  async locate(key: string): Promise<Found | undefined> {
    return await this.#first(key, async (folder, place) => {
      const stat = await this.look(folder, place);
      return stat?.isFile() ? { place, stat } : undefined;
    });
  }

  /** As `locate`, with the file open for reading; `fd` must be closed. */
  async open(key: string): Promise<OpenFile | undefined> {
    return await this.#first(key, async (folder, place) => {
      if (!(await this.look(folder, place))?.isFile()) return undefined;
      const fd = await unless(replacedMeanwhile, this.#calls.open(folder.at(place.name), readOnly));
      if (fd === undefined) return undefined;
      const stat = await this.#calls.fstat(fd);
      if (stat.isFile()) return { place, stat, fd };
      await this.#calls.close(fd);
      return undefined;
    });
  }

  async #first<T>(
    key: string,
    look: (folder: Folder, place: Place) => Promise<T | undefined>,
  ): Promise<T | undefined> {
    for (const place of this.candidates(key)) {
      const folder = await this.#folders.open(place.folder);
      if (typeof folder === 'string') continue;
      const found = await look(folder, place).finally(() => folder.close());
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** What has exactly this name; undefined when nothing has. */
  async look(folder: Folder, place: Place): Promise<BigIntStats | undefined> {
    const stat = await unless(['ENOENT', 'ENAMETOOLONG'], this.#calls.lstat(folder.at(place.name)));
    if (stat === undefined) return undefined;
    return (await this.#folders.spelledSo(folder, place.folder, place.name)) ? stat : undefined;
  }

  /**
   * Gives the file at `path` the name of `key` as well, unless a file has it: `taken`. Never replaces anything.
   */
  async put(key: string, path: string): Promise<Put | 'taken'> {
    for (const place of this.candidates(key)) {
      const put = await this.#putAt(place, path);
      if (put !== 'blocked') return put;
    }
    throw new StoreFailure(
      'invalid',
      `there is no place for the key ${JSON.stringify(key)}: something that is no file stands at both its paths, ` +
        `"${this.candidates(key).map(pathOf).join('" and "')}"; move it away`,
    );
  }

  async #putAt(place: Place, path: string): Promise<Put | 'taken' | 'blocked'> {
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const folder = await this.#folders.ensure(place.folder);
      if (folder === 'blocked') return folder;
      const outcome = await this.#linkInto(folder, place, path);
      if (outcome === 'done') return { place, folder };
      await folder.close();
      if (outcome !== 'again') return outcome;
    }
    throw new StoreFailure('unavailable', `"${pathOf(place)}" is deleted as often as it is created`);
  }

  async #linkInto(
    folder: Folder,
    place: Place,
    path: string,
  ): Promise<'done' | 'taken' | 'blocked' | 'again'> {
    try {
      await this.#calls.link(path, folder.at(place.name));
      return 'done';
    } catch (cause) {
      const code = errnoOf(cause);
      // The directory was removed as an empty one before the name was made.
      if (code === 'ENOENT') return 'again';
      if (code === 'ENAMETOOLONG') return 'blocked';
      if (code !== 'EEXIST') {
        await folder.close();
        throw cause;
      }
    }
    const there = await unless(['ENOENT'], this.#calls.lstat(folder.at(place.name)));
    if (there === undefined) return 'again';
    const isThisName = await this.#folders.spelledSo(folder, place.folder, place.name);
    return there.isFile() && isThisName ? 'taken' : 'blocked';
  }
}

export function pathOf(place: Place): string {
  return [...place.folder, place.name].join('/');
}
