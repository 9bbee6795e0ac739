/** A process that may die at any moment: from then on nothing that it waits for ever comes. */
export class Process {
  readonly name: string;
  readonly died: Promise<void>;
  #alive = true;
  readonly #die: () => void;

  constructor(name: string) {
    this.name = name;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.died = promise;
    this.#die = resolve;
  }

  get alive(): boolean {
    return this.#alive;
  }

  kill(): void {
    this.#alive = false;
    this.#die();
  }

  /** The answer reaches only the living; a dead process calls nobody. */
  through<T>(call: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (!this.#alive) return;
      call().then(
        (value) => this.#alive && resolve(value),
        (error) => this.#alive && reject(error),
      );
    });
  }

  async *each<T>(items: AsyncIterable<T>): AsyncGenerator<T> {
    const iterator = items[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await this.through(() => iterator.next());
        if (next.done) return;
        yield next.value;
      }
    } finally {
      if (this.#alive) await iterator.return?.();
    }
  }
}
