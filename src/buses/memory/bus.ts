import { crashed, Volume, type VolumeFaults } from '../../memory/volume.ts';
import type { Change } from '../../model/change.ts';
import { StateFailure } from '../../model/failure.ts';
import type { Bus } from '../../ports/bus.ts';
import { Lane, type LaneLog, type LaneSubscriber } from '../lane.ts';
import { LogBus } from '../log-bus.ts';
import type { Backlog, SharedLog, Sink, Subscription } from '../subscription.ts';

interface Subscribed {
  readonly dataset: string;
  readonly subscriber: LaneSubscriber;
  readonly sink: Sink;
}

/** What the buses of several simulated workers share; deterministic for deterministic faults. */
export class MemoryBusBacking implements SharedLog {
  readonly #volume: Volume;
  readonly #lanes = new Map<string, Lane>();
  readonly #subscribed = new Map<string, Subscribed>();
  #sequences = 0;
  #ids = 0;

  constructor(faults?: VolumeFaults) {
    this.#volume = new Volume(faults);
  }

  newId(): string {
    return `${++this.#ids}`;
  }

  /**
   * Drops what was not durable. Operations under way fail with `unavailable`, and so do subscriptions; what
   * they had not acknowledged is delivered to the next ones.
   */
  crash(): void {
    this.#volume.crash();
    const subscribed = [...this.#subscribed.values()];
    this.#subscribed.clear();
    this.#lanes.clear();
    for (const { sink } of subscribed) sink.fail(crashed());
  }

  async publish(changes: readonly Change[]): Promise<void> {
    const copies = changes.map((change) => JSON.parse(JSON.stringify(change)) as Change);
    await this.#volume.apply((plan) => {
      for (const change of copies) plan.put(change.dataset, idOf(++this.#sequences), change);
    });
    for (const dataset of new Set(changes.map((change) => change.dataset)))
      this.#lanes.get(dataset)?.published();
  }

  async backlog(dataset: string): Promise<Backlog> {
    const changes = this.#volume.page(dataset, '', end, Number.POSITIVE_INFINITY);
    let oldestMs: number | undefined;
    for (const [, change] of changes) oldestMs = Math.min(oldestMs ?? Infinity, (change as Change).atMs);
    return { changes: changes.length, oldestMs };
  }

  async subscribe({ id, dataset, maxInFlight, held }: Subscription, sink: Sink): Promise<void> {
    const subscriber = this.#lane(dataset).subscribe(maxInFlight, sink, held);
    this.#subscribed.set(id, { dataset, subscriber, sink });
  }

  async unsubscribe(id: string): Promise<void> {
    const subscribed = this.#subscribed.get(id);
    if (subscribed === undefined) return;
    this.#subscribed.delete(id);
    this.#lane(subscribed.dataset).unsubscribe(subscribed.subscriber);
  }

  async ack(_id: string, dataset: string, sequence: number): Promise<void> {
    const key = await this.#volume.apply((plan) => {
      const change = plan.get(dataset, idOf(sequence)) as Change | undefined;
      plan.put(dataset, idOf(sequence), undefined);
      return change?.key;
    });
    if (key !== undefined) this.#lanes.get(dataset)?.acknowledged(sequence, key);
  }

  async release(id: string, dataset: string, sequence: number): Promise<void> {
    const subscribed = this.#subscribed.get(id);
    if (subscribed !== undefined) this.#lane(dataset).release(subscribed.subscriber, sequence);
  }

  #lane(dataset: string): Lane {
    let lane = this.#lanes.get(dataset);
    if (lane === undefined) {
      lane = new Lane(this.#log(dataset), { defer: queueMicrotask });
      this.#lanes.set(dataset, lane);
    }
    return lane;
  }

  #log(dataset: string): LaneLog {
    return {
      read: (after, limit) =>
        this.#volume
          .page(dataset, idOf(after + 1), end, limit)
          .map(([id, change]) => ({ sequence: Number(id), change: change as Change })),
      fetch: (sequence) => this.#volume.get(dataset, idOf(sequence)) as Change | undefined,
    };
  }
}

/** One worker's bus in memory; closing it ends its subscriptions. */
export function memoryBus(backing: MemoryBusBacking = new MemoryBusBacking()): Bus {
  const worker = new Worker(backing);
  return new LogBus(
    worker,
    () => backing.newId(),
    () => worker.close(),
  );
}

class Worker implements SharedLog {
  readonly #backing: MemoryBusBacking;
  readonly #sinks = new Map<string, Sink>();
  #closed = false;

  constructor(backing: MemoryBusBacking) {
    this.#backing = backing;
  }

  async publish(changes: readonly Change[]): Promise<void> {
    return this.#open().publish(changes);
  }

  async backlog(dataset: string): Promise<Backlog> {
    return this.#open().backlog(dataset);
  }

  async subscribe(subscription: Subscription, sink: Sink): Promise<void> {
    await this.#open().subscribe(subscription, sink);
    this.#sinks.set(subscription.id, sink);
  }

  async unsubscribe(id: string): Promise<void> {
    this.#sinks.delete(id);
    await this.#backing.unsubscribe(id);
  }

  async ack(id: string, dataset: string, sequence: number): Promise<void> {
    return this.#open().ack(id, dataset, sequence);
  }

  async release(id: string, dataset: string, sequence: number): Promise<void> {
    return this.#open().release(id, dataset, sequence);
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const [id, sink] of [...this.#sinks]) {
      await this.unsubscribe(id);
      sink.fail(closed());
    }
  }

  #open(): MemoryBusBacking {
    if (this.#closed) throw closed();
    return this.#backing;
  }
}

function closed(): StateFailure {
  return new StateFailure('unavailable', 'The bus is closed.');
}

const end = '\u{10ffff}';

function idOf(sequence: number): string {
  return String(sequence).padStart(16, '0');
}
