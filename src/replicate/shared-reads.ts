/** Something that was read, lent to one reader. */
export interface Lease<T> {
  readonly value: T;
  /** The reader is done with it. Not called where it may still be in use, as after a failed request. */
  release(): void;
}

/** What belongs to its reader alone. */
export function owned<T>(value: T): Lease<T> {
  return { value, release: () => {} };
}

interface Kept<T> {
  readonly value: Promise<T>;
  readonly bytes: number;
  readonly free: (value: T) => void;
  readsLeft: number;
  lent: number;
  isDropped: boolean;
}

/**
 * Lets several targets share one read of the source. What was read stays for the others while the budget lasts;
 * a target that falls behind finds it gone and reads alone.
 */
export class SharedReads {
  readonly #kept = new Map<string, Kept<unknown>>();
  readonly #budgetBytes: number;
  #bytes = 0;

  constructor(budgetBytes: number) {
    this.#budgetBytes = budgetBytes;
  }

  /**
   * `readers`: how many targets may want it. `id` names the read, token included. `free` is called when nobody has
   * it any more and every reader has released it.
   */
  async get<T>(
    id: string,
    bytes: number,
    readers: number,
    load: () => Promise<T>,
    free: (value: T) => void,
  ): Promise<Lease<T>> {
    const kept = this.#kept.get(id) as Kept<T> | undefined;
    if (kept) {
      kept.readsLeft -= 1;
      kept.lent += 1;
      if (kept.readsLeft <= 0) this.#drop(id);
      return lease(kept, await kept.value);
    }
    const first: Kept<T> = { value: load(), bytes, free, readsLeft: readers - 1, lent: 1, isDropped: false };
    if (readers <= 1 || bytes > this.#budgetBytes) first.isDropped = true;
    else {
      this.#keep(id, first);
      first.value.catch(() => this.#drop(id));
    }
    return lease(first, await first.value);
  }

  /** What a writer has in hand need not be read again by the targets. */
  offer<T>(id: string, bytes: number, readers: number, value: T): void {
    if (readers < 1 || bytes > this.#budgetBytes) return;
    this.#drop(id);
    const free = () => {};
    this.#keep(id, {
      value: Promise.resolve(value),
      bytes,
      free,
      readsLeft: readers,
      lent: 0,
      isDropped: false,
    });
  }

  #keep<T>(id: string, kept: Kept<T>): void {
    this.#kept.set(id, kept as Kept<unknown>);
    this.#bytes += kept.bytes;
    for (const oldest of this.#kept.keys()) {
      if (this.#bytes <= this.#budgetBytes) break;
      this.#drop(oldest);
    }
  }

  #drop(id: string): void {
    const kept = this.#kept.get(id);
    if (!kept) return;
    this.#kept.delete(id);
    this.#bytes -= kept.bytes;
    kept.isDropped = true;
    if (kept.lent === 0) kept.value.then(kept.free, () => {});
  }
}

function lease<T>(kept: Kept<T>, value: T): Lease<T> {
  return {
    value,
    release: () => {
      kept.lent -= 1;
      if (kept.isDropped && kept.lent === 0) kept.free(value);
    },
  };
}
