import type { ObjectHead, Token } from '../../ports/object-store.ts';

/** Typically 1 KiB each; more than two pages of a listing. */
const maxHeads = 2048;

/**
 * The newest heads seen. A token names a body and its metadata for ever, so what is kept for it cannot be stale;
 * it says nothing about what is there now.
 */
export class HeadCache {
  readonly #heads = new Map<string, ObjectHead>();

  put(head: ObjectHead): void {
    this.#heads.delete(head.key);
    this.#heads.set(head.key, head);
    if (this.#heads.size <= maxHeads) return;
    const oldest = this.#heads.keys().next();
    if (!oldest.done) this.#heads.delete(oldest.value);
  }

  get(key: string, token: Token): ObjectHead | undefined {
    const head = this.#heads.get(key);
    return head?.token === token ? head : undefined;
  }
}
