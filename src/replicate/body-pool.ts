import { sharedMemory } from '../hashing/hash.ts';

/** Smaller bodies are cheap to allocate; they may also still be on their way when their request was given up. */
const leastBytes = 128 * 1024;
const mostBytes = 8 * 1024 * 1024;

/**
 * Memory for bodies that is used again: allocating and freeing it for each one takes as long as copying it, and
 * makes the garbage collector run all the time. It is shared, so that other threads can hash it. What is given back must not be in use anywhere any more.
 */
export class BodyPool {
  readonly #idle = new Map<number, Uint8Array[]>();
  readonly #keptBytes: number;
  #bytes = 0;

  /** `keptBytes`: how much idle memory is kept at most. */
  constructor(keptBytes: number) {
    this.#keptBytes = keptBytes;
  }

  /** At least `bytes` long, with anything in it; undefined for sizes that are not worth it. */
  take(bytes: number): Uint8Array | undefined {
    if (bytes < leastBytes) return undefined;
    const size = sizeFor(bytes);
    const idle = this.#idle.get(size)?.pop();
    if (!idle) return sharedMemory(size);
    this.#bytes -= size;
    return idle;
  }

  give(buffer: Uint8Array | undefined): void {
    if (!buffer || this.#bytes + buffer.length > this.#keptBytes) return;
    const same = this.#idle.get(buffer.length);
    if (same) same.push(buffer);
    else this.#idle.set(buffer.length, [buffer]);
    this.#bytes += buffer.length;
  }
}

/** Few sizes, so that one body's memory serves another. */
function sizeFor(bytes: number): number {
  if (bytes > mostBytes) return Math.ceil(bytes / mostBytes) * mostBytes;
  return 2 ** Math.ceil(Math.log2(bytes));
}
