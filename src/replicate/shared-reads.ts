interface Kept<T> {
  readonly value: Promise<T>;
  readonly bytes: number;
  readsLeft: number;
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

  /** `readers`: how many targets may want it. `id` names the read, token included. */
  async get<T>(id: string, bytes: number, readers: number, load: () => Promise<T>): Promise<T> {
    const kept = this.#kept.get(id) as Kept<T> | undefined;
    if (kept) {
      kept.readsLeft -= 1;
      if (kept.readsLeft <= 0) this.#drop(id);
      return kept.value;
    }
    if (readers <= 1 || bytes > this.#budgetBytes) return load();
    const value = load();
    this.#keep(id, { value, bytes, readsLeft: readers - 1 });
    value.catch(() => this.#drop(id));
    return value;
  }

  /** What a writer has in hand need not be read again by the targets. */
  offer<T>(id: string, bytes: number, readers: number, value: T): void {
    if (readers < 1 || bytes > this.#budgetBytes) return;
    this.#drop(id);
    this.#keep(id, { value: Promise.resolve(value), bytes, readsLeft: readers });
  }

  #keep(id: string, kept: Kept<unknown>): void {
    this.#kept.set(id, kept);
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
  }
}
