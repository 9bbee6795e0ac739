import { type FileCalls, unless } from './calls.ts';
import { markOf } from './identity.ts';
import type { SiteFolder } from './site-folder.ts';

/** A file that Isobar moved out of the way and did not delete, because somebody wrote it meanwhile. */
export interface KeptFile {
  /** Undefined when it was found after a crash. */
  readonly key: string | undefined;
  /** Where it is now. */
  readonly path: string;
  readonly because: string;
}

interface Waiting {
  readonly path: string;
  readonly mark: string;
  readonly key: string | undefined;
  readonly dueMs: number;
}

/** At most so many replaced bodies wait for their end. */
const maxWaiting = 512;

/**
 * Bodies that were replaced or removed wait here for a moment before they are deleted: a program that had the
 * file open for writing may still write into it. A body that changed meanwhile is kept and reported.
 */
export class Retired {
  readonly #site: SiteFolder;
  readonly #calls: FileCalls;
  readonly #graceMs: number;
  readonly #onKept: (kept: KeptFile) => void;
  readonly #waiting: Waiting[] = [];
  #timer: NodeJS.Timeout | undefined;
  #ending: Promise<void> = Promise.resolve();
  #count = 0;

  constructor(site: SiteFolder, calls: FileCalls, graceMs: number, onKept: (kept: KeptFile) => void) {
    this.#site = site;
    this.#calls = calls;
    this.#graceMs = graceMs;
    this.#onKept = onKept;
  }

  /** Takes over the file at `path`, which was last seen with `mark`. */
  async add(ownerId: string, path: string, mark: string, key: string): Promise<void> {
    const waiting = this.#site.own('retired', `${ownerId}~${mark}~${this.#count++}`);
    const moved = await unless(
      ['ENOENT'],
      this.#calls.rename(path, waiting).then(() => true),
    );
    if (!moved) return;
    this.#waiting.push({ path: waiting, mark, key, dueMs: performance.now() + this.#graceMs });
    if (this.#waiting.length > maxWaiting) await this.#end(this.#waiting.shift()!);
    this.#schedule();
  }

  /** Moves the file at `path` to where it stays until a person deletes it. */
  async keep(ownerId: string, path: string, key: string | undefined, because: string): Promise<void> {
    const kept = this.#site.own('kept', `${ownerId}~${this.#count++}`);
    const moved = await unless(
      ['ENOENT'],
      this.#calls.rename(path, kept).then(() => true),
    );
    if (!moved) return;
    await this.#site.syncPath(this.#site.own('kept'));
    this.#onKept({ key, path: kept, because });
  }

  /** Ends what a dead process left waiting. */
  async mend(deadOwnerId: string): Promise<void> {
    const { entries } = await this.#calls.names(this.#site.own('retired'));
    for (const name of entries) {
      const [ownerId, mark] = name.split('~');
      if (ownerId !== deadOwnerId || mark === undefined) continue;
      await this.#end({ path: this.#site.own('retired', name), mark, key: undefined, dueMs: 0 });
    }
  }

  /** Ends all that waits, now. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#ending;
    for (const waiting of this.#waiting.splice(0)) await this.#end(waiting);
  }

  #schedule(): void {
    const next = this.#waiting[0];
    if (next === undefined || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => this.#endDue(), Math.max(0, next.dueMs - performance.now()));
    this.#timer.unref();
  }

  #endDue(): void {
    const now = performance.now();
    const firstLater = this.#waiting.findIndex((waiting) => waiting.dueMs > now);
    const due = this.#waiting.splice(0, firstLater < 0 ? this.#waiting.length : firstLater);
    const work = async () => {
      for (const waiting of due) await this.#end(waiting);
    };
    // What cannot be deleted now is deleted when the next process opens the store.
    this.#ending = work().catch(() => undefined);
    void this.#ending.then(() => {
      this.#timer = undefined;
      this.#schedule();
    });
  }

  async #end(waiting: Waiting): Promise<void> {
    const stat = await unless(['ENOENT'], this.#calls.lstat(waiting.path));
    if (stat === undefined) return;
    if (markOf(stat) === waiting.mark) {
      await unless(['ENOENT'], this.#calls.unlink(waiting.path));
      return;
    }
    const because = 'a program had the replaced file open and wrote into it afterwards';
    await this.keep(waiting.path.split('/').at(-1)!.replaceAll('~', '-'), waiting.path, waiting.key, because);
  }
}
