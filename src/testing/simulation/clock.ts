import type { World } from '../../ports/world.ts';
import type { Random } from './random.ts';

interface Event {
  readonly atMs: number;
  readonly sequence: number;
  readonly run: () => void;
}

const epochMs = Date.UTC(2026, 0, 1);

/**
 * Virtual time for a whole cluster in one thread: nothing happens between two events, and events come in the order of
 * their time. Whatever runs under it may wait only by promises that such events settle.
 */
export class Clock {
  readonly #queue = new Heap();
  #sequence = 0;
  #elapsedMs = 0;

  /** Since the beginning. */
  get elapsedMs(): number {
    return this.#elapsedMs;
  }

  /** True time, which the clocks of workers may miss: milliseconds since 1970. */
  get nowMs(): number {
    return epochMs + this.#elapsedMs;
  }

  /** Runs `run` in `ms`; the result takes that back. */
  after(ms: number, run: () => void): () => void {
    let wanted = true;
    const atMs = this.#elapsedMs + Math.max(0, ms);
    this.#queue.push({ atMs, sequence: this.#sequence++, run: () => wanted && run() });
    return () => {
      wanted = false;
    };
  }

  /** Rejects with the signal's reason when it aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const abort = () => {
        withdraw();
        reject(signal!.reason);
      };
      const withdraw = this.after(ms, () => {
        signal?.removeEventListener('abort', abort);
        resolve();
      });
      signal?.addEventListener('abort', abort, { once: true });
    });
  }

  /**
   * Lets time pass until `work` settles. Throws `Stuck` when nothing is left that could ever happen, or when
   * `limitMs` of virtual time are over.
   */
  async run<T>(work: Promise<T>, limitMs = Number.POSITIVE_INFINITY): Promise<T> {
    let settled = false;
    const settle = () => {
      settled = true;
    };
    work.then(settle, settle);
    const endMs = this.#elapsedMs + limitMs;
    for (;;) {
      await untilIdle();
      if (settled) return work;
      const event = this.#queue.pop();
      if (!event) throw new Stuck('everybody waits, and nothing is left that could happen');
      if (event.atMs > endMs) throw new Stuck(`not done after ${limitMs} ms of virtual time`);
      this.#elapsedMs = event.atMs;
      event.run();
    }
  }
}

export class Stuck extends Error {
  override readonly name = 'Stuck';
}

/** When this turn comes, no promise is left to run. */
function untilIdle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** One worker's view of the clock; its own may be wrong, and jump. */
export class WorkerWorld implements World {
  readonly worker: string;
  /** How far its wall clock is ahead of the truth, in milliseconds; may be changed at any time. */
  skewMs = 0;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #hasEnded: (worker: string) => boolean;

  constructor(
    worker: string,
    clock: Clock,
    random: Random,
    hasEnded: (worker: string) => boolean = () => false,
  ) {
    this.worker = worker;
    this.#clock = clock;
    this.#random = random;
    this.#hasEnded = hasEnded;
  }

  nowMs(): number {
    return Math.floor(this.#clock.nowMs + this.skewMs);
  }

  monotonicMs(): number {
    return this.#clock.elapsedMs;
  }

  random(): number {
    return this.#random.next();
  }

  uniqueId(): string {
    return this.#random.id();
  }

  hasEnded(worker: string): boolean {
    return this.#hasEnded(worker);
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    return this.#clock.sleep(ms, signal);
  }
}

/** Smallest time first, then in the order of their making. */
class Heap {
  readonly #events: Event[] = [];

  push(event: Event): void {
    const events = this.#events;
    let at = events.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      if (!comesBefore(event, events[parent]!)) break;
      events[at] = events[parent]!;
      at = parent;
    }
    events[at] = event;
  }

  pop(): Event | undefined {
    const events = this.#events;
    const first = events[0];
    const last = events.pop();
    if (first === last || last === undefined) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= events.length) break;
      if (child + 1 < events.length && comesBefore(events[child + 1]!, events[child]!)) child += 1;
      if (!comesBefore(events[child]!, last)) break;
      events[at] = events[child]!;
      at = child;
    }
    events[at] = last;
    return first;
  }
}

function comesBefore(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.sequence < b.sequence);
}
