const most = 4_096;

/**
 * Names of the last one or two windows, each with the key it stands for. Bounded: when a window has too many, its
 * first ones stay, for a pass comes by again in the same order.
 */
export class RecentKeys {
  readonly #windowMs: number;
  #startMs = 0;
  #now = new Map<string, string>();
  #before = new Map<string, string>();

  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  get(name: string): string | undefined {
    return this.#now.get(name) ?? this.#before.get(name);
  }

  add(name: string, key: string, nowMs: number): void {
    if (nowMs - this.#startMs >= this.#windowMs) {
      this.#before = nowMs - this.#startMs < 2 * this.#windowMs ? this.#now : new Map();
      this.#now = new Map();
      this.#startMs = nowMs;
    }
    if (this.#now.size < most) this.#now.set(name, key);
  }
}
