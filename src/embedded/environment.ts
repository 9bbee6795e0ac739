import type { Database } from 'lmdb';
import { StateFailure } from '../model/failure.ts';
import { OwnerGone } from './access.ts';
import { full, stateFailure } from './failures.ts';
import type { Space } from './space.ts';

/** A table of the environment, with keys and values as bytes; keys in the order of their bytes. */
export interface Bytes {
  /** One letter, unique in the environment. */
  readonly tag: string;
  readonly rows: Database<Buffer, Buffer>;
}

/** Reads what is committed and what earlier plans of the same group write; writes join the group. */
export interface Plan {
  get(table: Bytes, key: Buffer): Buffer | undefined;
  put(table: Bytes, key: Buffer, value: Buffer): void;
  remove(table: Bytes, key: Buffer): void;
}

interface Write {
  readonly table: Bytes;
  readonly key: Buffer;
  readonly value: Buffer | undefined;
}

interface Waiting {
  readonly run: (plan: Plan) => void;
  readonly done: () => void;
  readonly failed: (failure: Error) => void;
}

/** Keeps a process from writing that somebody else took for dead. */
export interface Fence {
  /** Writes what `write` asks for in one transaction, or, answering false, nothing: the owner is another. */
  transaction(write: () => void): Promise<boolean>;
  lost(): void;
}

/** LMDB copies every page that it changes: the one of the key, and at most as many above it. */
const copiedBytesPerWrite = 2 * 4096;
/** Bounds how long one transaction may hold up the commits that come after it. */
const maxWritesPerGroup = 20_000;

/**
 * Group commit over one LMDB environment that only this process writes: whatever is asked for while a
 * transaction is being flushed shares the next one. Plans run one after another on the event loop, each on
 * top of the earlier ones, which makes compare-and-set exact without a lock.
 */
export class GroupCommit {
  readonly #folder: string;
  readonly #space: Space;
  readonly #fence: Fence;
  readonly #waiting: Waiting[] = [];
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(folder: string, space: Space, fence: Fence) {
    this.#space = space;
    this.#folder = folder;
    this.#fence = fence;
  }

  /**
   * Runs `plan` and resolves with its result when everything that it wrote, or read of earlier plans, is
   * durable. When it throws, nothing of it is written. It may not await.
   */
  apply<T>(plan: (plan: Plan) => T): Promise<T> {
    if (this.#closed)
      return Promise.reject(new OwnerGone(`The state folder ${this.#folder} is closed here.`));
    return new Promise<T>((resolve, reject) => {
      let result: T;
      this.#waiting.push({
        run: (view) => {
          result = plan(view);
        },
        done: () => resolve(result),
        failed: reject,
      });
      this.#running ??= this.#drain();
    });
  }

  /** Refuses what comes from now on, and resolves when everything before is durable or has failed. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
  }

  async #drain(): Promise<void> {
    // One turn of the event loop, so that commits asked for side by side share the first transaction too.
    await new Promise<void>((resolve) => setImmediate(resolve));
    while (this.#waiting.length > 0) await this.#flush();
    this.#running = undefined;
  }

  async #flush(): Promise<void> {
    const group = new Group();
    const members: Waiting[] = [];
    while (group.size < maxWritesPerGroup) {
      const next = this.#waiting.shift();
      if (next === undefined) break;
      try {
        group.add(next.run);
        members.push(next);
      } catch (failure) {
        next.failed(stateFailure(this.#folder, failure));
      }
    }
    try {
      if (group.size > 0) {
        this.#space.assertFree(group.bytes);
        await this.#write(group.writes());
      }
      for (const member of members) member.done();
    } catch (failure) {
      const translated = this.#translate(await causeOf(failure));
      for (const member of members) member.failed(translated);
    }
  }

  #translate(cause: unknown): Error {
    if (cause instanceof StateFailure) return cause;
    const isIo = cause instanceof Error && /input\/output error/i.test(cause.message);
    const failure =
      isIo && this.#space.isExhausted() ? full(this.#folder, cause) : stateFailure(this.#folder, cause);
    if (failure instanceof StateFailure && failure.code === 'full') this.#space.noteRefusal();
    return failure;
  }

  /** Resolves after fdatasync of the pages and the synchronous write of the meta page (see durable.test.ts). */
  async #write(writes: Iterable<Write>): Promise<void> {
    const isOwner = await this.#fence.transaction(() => {
      for (const { table, key, value } of writes) {
        // Their promises are the transaction's own.
        if (value === undefined) void table.rows.remove(key);
        else void table.rows.put(key, value);
      }
    });
    if (isOwner) return;
    this.#closed = true;
    this.#fence.lost();
    throw new OwnerGone(`Another process has taken over the state folder ${this.#folder}.`);
  }
}

/** The writes of one transaction; the last one of a key wins. */
class Group {
  readonly #writes = new Map<string, Write>();

  get size(): number {
    return this.#writes.size;
  }

  /** How much the file may grow by them. */
  get bytes(): number {
    let bytes = 0;
    for (const { key, value } of this.#writes.values())
      bytes += copiedBytesPerWrite + key.length + (value?.length ?? 0);
    return bytes;
  }

  writes(): Iterable<Write> {
    return this.#writes.values();
  }

  add(run: (plan: Plan) => void): void {
    const own = new Map<string, Write>();
    run({
      get: (table, key) => {
        const name = nameOf(table, key);
        const written = own.get(name) ?? this.#writes.get(name);
        return written === undefined ? table.rows.get(key) : written.value;
      },
      put: (table, key, value) => own.set(nameOf(table, key), { table, key, value }),
      remove: (table, key) => own.set(nameOf(table, key), { table, key, value: undefined }),
    });
    for (const [name, write] of own) this.#writes.set(name, write);
  }
}

function nameOf(table: Bytes, key: Buffer): string {
  return `${table.tag}${key.toString('latin1')}`;
}

/** LMDB rejects with a general error, which carries the promise of the particular one. */
async function causeOf(failure: unknown): Promise<unknown> {
  const particular = (failure as { commitError?: Promise<unknown> } | undefined)?.commitError;
  if (particular === undefined) return failure;
  try {
    await particular;
    return failure;
  } catch (cause) {
    return cause;
  }
}
