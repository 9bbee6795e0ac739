import { hash } from 'node:crypto';

/** A stream of random numbers from a seed (sfc32, Doty-Humphrey). The same name forks the same stream. */
export class Random {
  readonly #seed: string;
  readonly #state: Uint32Array;

  constructor(seed: string | number) {
    this.#seed = String(seed);
    const digest = hash('sha256', this.#seed, 'buffer');
    this.#state = new Uint32Array(digest.buffer.slice(digest.byteOffset, digest.byteOffset + 16));
  }

  /** A stream of its own: drawing from one leaves the others as they are. */
  fork(name: string): Random {
    return new Random(`${this.#seed}/${name}`);
  }

  /** In [0, 1). */
  next(): number {
    const s = this.#state;
    const sum = (s[0]! + s[1]! + s[3]!) >>> 0;
    s[3] = s[3]! + 1;
    s[0] = s[1]! ^ (s[1]! >>> 9);
    s[1] = s[2]! + (s[2]! << 3);
    s[2] = ((s[2]! << 21) | (s[2]! >>> 11)) + sum;
    return sum / 2 ** 32;
  }

  /** A whole number from `from` (inclusive) to `to` (exclusive). */
  between(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from));
  }

  chance(probability: number): boolean {
    return probability > 0 && this.next() < probability;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.between(0, from.length)]!;
  }

  /** As `World.uniqueId`: 22 characters. */
  id(): string {
    const bytes = Uint8Array.from({ length: 16 }, () => this.between(0, 256));
    return Buffer.from(bytes).toString('base64url');
  }
}
