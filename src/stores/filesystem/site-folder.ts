import { randomBytes } from 'node:crypto';
import { type BigIntStats, constants } from 'node:fs';
import { StoreFailure } from '../../model/failure.ts';
import { errnoOf, type FileCalls, unless } from './calls.ts';
import { type NameRules, reservedFolder, storeFolder } from './names.ts';

const ownFolders = ['tmp', 'meta', 'locks', 'owners', 'uploads', 'aside', 'retired', 'kept'] as const;
export type OwnFolder = (typeof ownFolders)[number];

export interface DiskTraits extends NameRules {
  /**
   * Opened directories can be addressed as `/proc/self/fd/N`: whatever happens to the path meanwhile, a name is
   * then looked up in the directory that was checked.
   */
  readonly anchored: boolean;
}

/** The folder of one site: where it is, whether it is still the one it was, and the driver's own folders in it. */
export class SiteFolder {
  readonly #given: string;
  readonly #calls: FileCalls;
  readonly #forcedTraits: Partial<DiskTraits>;
  #opened: Promise<void> | undefined;
  #prepared: Promise<void> | undefined;
  #root = '';
  #device = '';
  #id: string | undefined;
  #traits: DiskTraits = { windows: process.platform === 'win32', folds: false, anchored: false };

  constructor(given: string, calls: FileCalls, forcedTraits: Partial<DiskTraits>) {
    this.#given = given;
    this.#calls = calls;
    this.#forcedTraits = forcedTraits;
  }

  /** Absolute, without symlinks. Known once opened. */
  get root(): string {
    return this.#root;
  }

  get traits(): DiskTraits {
    return this.#traits;
  }

  /** Whether the driver has ever written here: if not, it holds no metadata and nothing was moved aside. */
  get isPrepared(): boolean {
    return this.#id !== undefined;
  }

  own(folder: OwnFolder, ...names: readonly string[]): string {
    return [this.#root, reservedFolder, storeFolder, folder, ...names].join('/');
  }

  /** Finds the folder; `misplaced` when it is not there. Writes nothing. */
  async open(): Promise<void> {
    this.#opened ??= this.#open();
    try {
      await this.#opened;
      // Another process may have begun to write here since.
      this.#id ??= await this.#readId();
    } catch (cause) {
      this.#opened = undefined;
      throw cause;
    }
  }

  /** Makes the driver's own folders; needed before anything is written. True for the call that made them. */
  async prepare(): Promise<boolean> {
    await this.open();
    const isFirst = this.#prepared === undefined;
    this.#prepared ??= this.#prepare();
    try {
      await this.#prepared;
    } catch (cause) {
      this.#prepared = undefined;
      throw cause;
    }
    return isFirst;
  }

  /**
   * Throws `misplaced` unless the folder is the one that was opened: an unmounted disk leaves an empty directory
   * behind, in which every object would seem deleted.
   */
  async verify(): Promise<void> {
    const stat = await unless(['ENOENT', 'ENOTDIR'], this.#calls.lstat(this.#root || '/'));
    const device = stat && `${stat.dev}.${stat.ino}`;
    if (device !== undefined && device === this.#device) return;
    const id = await this.#readId();
    if (device === undefined || id === undefined || id !== this.#id) throw this.#gone();
    // The same disk, mounted again.
    this.#device = device;
  }

  #gone(): StoreFailure {
    return new StoreFailure(
      'misplaced',
      `the folder ${this.#given} is not there any more, or another one stands in its place; ` +
        'mount the disk again, or correct the path of the site',
    );
  }

  async #open(): Promise<void> {
    const root = await unless(['ENOENT', 'ENOTDIR'], this.#calls.realpath(this.#given));
    const stat = root === undefined ? undefined : await this.#calls.lstat(root);
    if (root === undefined || !stat?.isDirectory()) {
      throw new StoreFailure(
        'misplaced',
        `the folder ${this.#given} does not exist or is no directory; create it, mount its disk, or correct the path`,
      );
    }
    this.#root = root.replace(/\/$/, '');
    this.#device = `${stat.dev}.${stat.ino}`;
    this.#id = await this.#readId();
    this.#traits = await this.#probe();
  }

  /** Reads only: asks for our own folder under another spelling. */
  async #probe(): Promise<DiskTraits> {
    const exists = await this.#look(`${this.#root}/${reservedFolder}`);
    const other = await this.#look(`${this.#root}/${reservedFolder.toUpperCase()}`);
    const unknown = exists === undefined && (process.platform === 'darwin' || process.platform === 'win32');
    const descriptors = process.platform === 'linux' ? await this.#look('/proc/self/fd') : undefined;
    return {
      windows: process.platform === 'win32',
      folds: unknown || (exists !== undefined && other !== undefined && other.ino === exists.ino),
      anchored: descriptors !== undefined,
      ...this.#forcedTraits,
    };
  }

  #look(path: string): Promise<BigIntStats | undefined> {
    return unless(['ENOENT', 'EACCES'], this.#calls.lstat(path));
  }

  async #prepare(): Promise<void> {
    for (const names of [[], [storeFolder], ...ownFolders.map((folder) => [storeFolder, folder])]) {
      await this.#makeOwn([this.#root, reservedFolder, ...names].join('/'));
    }
    if (this.#id === undefined) {
      await this.#makeMetadataFolders();
      await this.#writeId();
    }
    await this.#demandHardLinks();
    for (const names of [[reservedFolder, storeFolder], [reservedFolder], []]) {
      await this.syncPath([this.#root, ...names].join('/'));
    }
    this.#traits = await this.#probe();
  }

  /** All at once, so that none must be made durable later: 0 to f, by the first digit of a key's hash. */
  async #makeMetadataFolders(): Promise<void> {
    const names = [...'0123456789abcdef'];
    await Promise.all(names.map((name) => unless(['EEXIST'], this.#calls.mkdir(this.own('meta', name)))));
    await this.syncPath(this.own('meta'));
  }

  async #makeOwn(path: string): Promise<void> {
    const made = await unless(
      ['EEXIST'],
      this.#calls.mkdir(path).then(() => true),
    );
    if (made) return;
    const stat = await this.#calls.lstat(path);
    if (stat.isDirectory()) return;
    throw new StoreFailure(
      'misplaced',
      `${path} is no directory, but Isobar keeps its own files there; move it away`,
    );
  }

  get #idPath(): string {
    return [this.#root, reservedFolder, storeFolder, 'folder-id'].join('/');
  }

  async #readId(): Promise<string | undefined> {
    const bytes = await unless(['ENOENT', 'ENOTDIR'], this.#calls.readFile(this.#idPath));
    return bytes === undefined || bytes.length === 0 ? undefined : bytes.toString('utf8');
  }

  async #writeId(): Promise<void> {
    const draft = this.own('tmp', `id.${randomBytes(8).toString('hex')}`);
    await this.writeFile(draft, Buffer.from(randomBytes(16).toString('hex')));
    await unless(['EEXIST'], this.#calls.link(draft, this.#idPath));
    await this.#calls.unlink(draft);
    this.#id = await this.#readId();
  }

  async #demandHardLinks(): Promise<void> {
    const other = this.own('tmp', `link.${randomBytes(8).toString('hex')}`);
    try {
      await this.#calls.link(this.#idPath, other);
      await this.#calls.unlink(other);
    } catch (cause) {
      if (errnoOf(cause) !== 'EPERM') throw cause;
      const why = 'has no hard links, without which nothing can be created safely; use another file system';
      throw new StoreFailure('unsupported', `the disk of ${this.#given} ${why}`, { cause });
    }
  }

  /** A new file with these bytes, durable once its directory is. */
  async writeFile(path: string, bytes: Uint8Array): Promise<void> {
    const fd = await this.#calls.open(path, newFile);
    try {
      await this.#calls.write(fd, bytes, 0);
      await this.#calls.sync(fd);
    } finally {
      await this.#calls.close(fd);
    }
  }

  async syncPath(folder: string): Promise<void> {
    const fd = await this.#calls.open(folder, directoryToSync);
    try {
      await this.syncFolder(fd);
    } finally {
      await this.#calls.close(fd);
    }
  }

  /** Windows makes names durable by itself and refuses to sync a directory. */
  async syncFolder(fd: number): Promise<void> {
    if (process.platform !== 'win32') await this.#calls.sync(fd);
  }
}

const { O_CREAT, O_DIRECTORY = 0, O_EXCL, O_NOFOLLOW = 0, O_RDONLY, O_RDWR } = constants;
export const newFile = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW;
export const directoryToSync = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
