import type { Change } from '../model/change.ts';
import type { Bus, Delivery } from '../ports/bus.ts';
import { DeliveryQueue } from './delivery-queue.ts';
import type { Backlog, Delivered, SharedLog } from './subscription.ts';

/**
 * The bus over a log that several subscribers share: any number of them may work on a dataset, and a key is
 * never under way at two of them. A subscription throws when its log fails or is closed.
 */
export class LogBus implements Bus {
  readonly #log: SharedLog;
  readonly #newId: () => string;
  readonly #leave: () => Promise<void>;

  constructor(log: SharedLog, newId: () => string, leave: () => Promise<void>) {
    this.#log = log;
    this.#newId = newId;
    this.#leave = leave;
  }

  publish(changes: readonly Change[]): Promise<void> {
    return this.#log.publish(changes);
  }

  async *subscribe(
    options: { readonly dataset: string; readonly maxInFlight: number },
    signal: AbortSignal,
  ): AsyncIterable<Delivery> {
    if (signal.aborted) return;
    const id = this.#newId();
    const queue = new DeliveryQueue<Delivered>();
    const stop = () => queue.end();
    signal.addEventListener('abort', stop, { once: true });
    try {
      await this.#log.subscribe(
        { id, ...options, held: [] },
        { deliver: (delivered) => queue.push(delivered), fail: (failure) => queue.end(failure) },
      );
      for (let next = await queue.next(); next !== undefined; next = await queue.next()) {
        yield this.#delivery(id, options.dataset, next);
      }
    } finally {
      signal.removeEventListener('abort', stop);
      await this.#log.unsubscribe(id);
    }
  }

  backlog(dataset: string): Promise<Backlog> {
    return this.#log.backlog(dataset);
  }

  close(): Promise<void> {
    return this.#leave();
  }

  #delivery(subscription: string, dataset: string, { sequence, attempt, change }: Delivered): Delivery {
    return {
      change,
      attempt,
      ack: () => this.#log.ack(subscription, dataset, sequence),
      release: () => this.#log.release(subscription, dataset, sequence),
    };
  }
}
