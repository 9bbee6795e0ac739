/** Hands out `capacity` units, first come first served; a request larger than all gets all. */
export class Semaphore {
  #free: number;
  readonly #waiting: { units: number; grant: () => void }[] = [];
  readonly capacity: number;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#free = capacity;
  }

  /** The release; undefined where that much is not free now. */
  tryAcquire(units: number): (() => void) | undefined {
    if (this.#waiting.length > 0 || this.#free < units) return undefined;
    this.#free -= units;
    return this.#releaseOf(units);
  }

  /** Resolves with the release; rejects with the signal's reason when it aborts first. */
  async acquire(units: number, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    const wanted = Math.min(units, this.capacity);
    if (this.#waiting.length > 0 || this.#free < wanted) await this.#wait(wanted, signal);
    else this.#free -= wanted;
    return this.#releaseOf(wanted);
  }

  #releaseOf(units: number): () => void {
    let released = false;
    return () => {
      if (released) return;
      released = true;
      this.#free += units;
      this.#grant();
    };
  }

  async #wait(units: number, signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const waiter = {
        units,
        grant: () => {
          signal.removeEventListener('abort', abandon);
          resolve();
        },
      };
      const abandon = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        reject(signal.reason as Error);
        this.#grant();
      };
      signal.addEventListener('abort', abandon, { once: true });
      this.#waiting.push(waiter);
    });
  }

  #grant(): void {
    for (let next = this.#waiting[0]; next && next.units <= this.#free; next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#free -= next.units;
      next.grant();
    }
  }
}
