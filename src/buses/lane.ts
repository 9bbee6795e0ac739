import type { Change } from '../model/change.ts';
import type { Held, Sink } from './subscription.ts';

/** The durable log of one dataset, read on. Sequences grow and never come twice. */
export interface LaneLog {
  /** In order, from behind `after`; fewer than `limit` only at the end. */
  read(after: number, limit: number): readonly LogEntry[];
  fetch(sequence: number): Change | undefined;
}

export interface LogEntry {
  readonly sequence: number;
  readonly change: Change;
}

export interface LaneOptions {
  /** Lets others run before a long look ahead goes on. */
  readonly defer: (task: () => void) => void;
  /** How many changes may wait behind a change of their own key before looking ahead stops: 16 bytes each. */
  readonly maxHeldBack?: number;
}

interface KeyQueue {
  head: number;
  flying: boolean;
  /** Known later changes of this key, in order, from `behindFrom` on. */
  readonly behind: number[];
  behindFrom: number;
}

const readAhead = 256;
const maxReadsPerTurn = 8;
const defaultMaxHeldBack = 262_144;

/**
 * Hands out the changes of one dataset: in order per key, never two of a key at once, any number of
 * subscribers side by side. It never decides what is durable; it is told.
 *
 * The log is read once, from front to back. A change whose key is already known waits behind it as a bare
 * sequence number, so that acknowledging the head finds its successor without a search. Memory is bounded by
 * what is in flight, one read-ahead of ready changes, and `maxHeldBack` numbers; when those are used up, the
 * lane reads on only after a key has moved.
 */
export class Lane {
  readonly #log: LaneLog;
  readonly #defer: (task: () => void) => void;
  readonly #maxHeldBack: number;
  readonly #keys = new Map<string, KeyQueue>();
  readonly #ready: { sequence: number; key: string; change: Change | undefined }[] = [];
  readonly #subscribers = new Set<LaneSubscriber>();
  /** Of what was delivered and is not acknowledged. */
  readonly #attempts = new Map<number, number>();
  #readUpTo = 0;
  #heldBack = 0;
  #pumping = false;

  constructor(log: LaneLog, options: LaneOptions) {
    this.#log = log;
    this.#defer = options.defer;
    this.#maxHeldBack = options.maxHeldBack ?? defaultMaxHeldBack;
  }

  /** `held` is what the subscriber works on already, from before this lane existed. */
  subscribe(maxInFlight: number, sink: Sink, held: readonly Held[] = []): LaneSubscriber {
    const subscriber: LaneSubscriber = { maxInFlight, sink, flying: new Map() };
    this.#subscribers.add(subscriber);
    for (const { sequence, key, attempt } of held) this.#adopt(subscriber, sequence, key, attempt);
    this.#wake();
    return subscriber;
  }

  /** What it has not acknowledged is ready again. */
  unsubscribe(subscriber: LaneSubscriber): void {
    if (!this.#subscribers.delete(subscriber)) return;
    for (const [sequence, key] of [...subscriber.flying].sort(([a], [b]) => a - b)) {
      subscriber.flying.delete(sequence);
      this.#land(sequence, key);
    }
    if (this.#subscribers.size === 0) this.#forget();
    else this.#wake();
  }

  /** The log has grown. */
  published(): void {
    this.#wake();
  }

  /** It is durably gone from the log, whoever acknowledged it. */
  acknowledged(sequence: number, key: string): void {
    this.#attempts.delete(sequence);
    for (const subscriber of this.#subscribers) subscriber.flying.delete(sequence);
    const queue = this.#keys.get(key);
    if (queue?.head !== sequence) return;
    this.#advance(key, queue);
    this.#wake();
  }

  release(subscriber: LaneSubscriber, sequence: number): void {
    const key = subscriber.flying.get(sequence);
    if (key === undefined) return;
    subscriber.flying.delete(sequence);
    this.#land(sequence, key);
    this.#wake();
  }

  #adopt(subscriber: LaneSubscriber, sequence: number, key: string, attempt: number): void {
    if (this.#log.fetch(sequence) === undefined) return;
    const queue = this.#keys.get(key) ?? { head: sequence, flying: false, behind: [], behindFrom: 0 };
    if (queue.head !== sequence || queue.flying) return;
    queue.flying = true;
    this.#keys.set(key, queue);
    this.#attempts.set(sequence, attempt);
    subscriber.flying.set(sequence, key);
  }

  #land(sequence: number, key: string): void {
    const queue = this.#keys.get(key);
    if (queue?.head !== sequence) return;
    queue.flying = false;
    this.#ready.push({ sequence, key, change: undefined });
  }

  #advance(key: string, queue: KeyQueue): void {
    const next = nextBehind(queue);
    if (next === undefined) {
      this.#keys.delete(key);
      return;
    }
    this.#heldBack--;
    queue.head = next;
    queue.flying = false;
    this.#ready.push({ sequence: next, key, change: undefined });
  }

  /** Nobody listens: the next subscriber reads the log from its front. */
  #forget(): void {
    this.#keys.clear();
    this.#ready.length = 0;
    this.#readUpTo = 0;
    this.#heldBack = 0;
  }

  #wake(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    this.#defer(() => {
      this.#pumping = false;
      try {
        this.#pump();
      } catch (failure) {
        this.#fail(failure instanceof Error ? failure : new Error(String(failure)));
      }
    });
  }

  #fail(failure: Error): void {
    for (const subscriber of [...this.#subscribers]) {
      this.unsubscribe(subscriber);
      subscriber.sink.fail(failure);
    }
  }

  #pump(): void {
    let reads = 0;
    for (let subscriber = this.#idlest(); subscriber !== undefined; subscriber = this.#idlest()) {
      const next = this.#ready.shift();
      if (next !== undefined) this.#hand(subscriber, next);
      else if (++reads > maxReadsPerTurn) {
        this.#wake();
        return;
      } else if (!this.#readOn()) return;
    }
  }

  #idlest(): LaneSubscriber | undefined {
    let best: LaneSubscriber | undefined;
    for (const subscriber of this.#subscribers) {
      const room = subscriber.maxInFlight - subscriber.flying.size;
      if (room > 0 && (best === undefined || room > best.maxInFlight - best.flying.size)) best = subscriber;
    }
    return best;
  }

  #hand(
    subscriber: LaneSubscriber,
    next: { sequence: number; key: string; change: Change | undefined },
  ): void {
    const queue = this.#keys.get(next.key);
    if (queue?.head !== next.sequence || queue.flying) return;
    const change = next.change ?? this.#log.fetch(next.sequence);
    if (change === undefined) {
      this.#advance(next.key, queue);
      return;
    }
    queue.flying = true;
    subscriber.flying.set(next.sequence, next.key);
    const attempt = (this.#attempts.get(next.sequence) ?? 0) + 1;
    this.#attempts.set(next.sequence, attempt);
    subscriber.sink.deliver({ sequence: next.sequence, change, attempt });
  }

  /** False when there is nothing more to read, or too much is held back already. */
  #readOn(): boolean {
    if (this.#heldBack >= this.#maxHeldBack) return false;
    const entries = this.#log.read(this.#readUpTo, readAhead);
    for (const entry of entries) this.#take(entry);
    return entries.length > 0;
  }

  #take({ sequence, change }: LogEntry): void {
    this.#readUpTo = sequence;
    const queue = this.#keys.get(change.key);
    if (queue === undefined) {
      this.#keys.set(change.key, { head: sequence, flying: false, behind: [], behindFrom: 0 });
      this.#ready.push({ sequence, key: change.key, change });
    } else if (queue.head < sequence) {
      queue.behind.push(sequence);
      this.#heldBack++;
    }
  }
}

/** Array.shift would move all the rest, which is quadratic for a hot key. */
function nextBehind(queue: KeyQueue): number | undefined {
  const next = queue.behind[queue.behindFrom];
  if (next === undefined) return undefined;
  queue.behindFrom++;
  if (queue.behindFrom >= 1024 && queue.behindFrom * 2 > queue.behind.length) {
    queue.behind.splice(0, queue.behindFrom);
    queue.behindFrom = 0;
  }
  return next;
}

/** One who takes deliveries; only its lane changes it. */
export interface LaneSubscriber {
  readonly maxInFlight: number;
  readonly sink: Sink;
  /** Sequence to key, of what it has not acknowledged. */
  readonly flying: Map<number, string>;
}
