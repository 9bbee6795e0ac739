/** Runs one asynchronous action after the other for items that arrive by callback. */
export class Queue<T> {
  readonly #action: (item: T) => Promise<void>;
  #tail: Promise<void> = Promise.resolve();
  #failure: { readonly error: unknown } | undefined;

  constructor(action: (item: T) => Promise<void>) {
    this.#action = action;
  }

  push(item: T): void {
    this.#tail = this.#tail
      .then(() => (this.#failure === undefined ? this.#action(item) : undefined))
      .catch((error: unknown) => {
        this.#failure ??= { error };
      });
  }

  /** Rejects with the first failure of an action. */
  async drained(): Promise<void> {
    await this.#tail;
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}
