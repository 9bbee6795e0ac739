/** What is delivered and not yet taken by the consumer; the sender bounds how much that is. */
export class DeliveryQueue<T> {
  readonly #items: T[] = [];
  #wake: () => void = () => undefined;
  #end: { readonly failure: Error | undefined } | undefined;

  push(item: T): void {
    this.#items.push(item);
    this.#wake();
  }

  /** The consumer's iteration ends at once, or throws `failure`; what it has not taken is dropped. */
  end(failure?: Error): void {
    this.#end ??= { failure };
    this.#wake();
  }

  /** Undefined at the end. */
  async next(): Promise<T | undefined> {
    for (;;) {
      if (this.#end?.failure !== undefined) throw this.#end.failure;
      if (this.#end !== undefined) return undefined;
      const item = this.#items.shift();
      if (item !== undefined) return item;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
