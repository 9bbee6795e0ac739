import type { Change } from '../model/change.ts';

export interface Delivery {
  readonly change: Change;
  /** 1 at first; grows with every redelivery that the bus knows of. */
  readonly attempt: number;
  /** The effect is durable: never deliver this again. Acknowledgements may come in any order. */
  ack(): Promise<void>;
  /** Not done: deliver it again, in its place among the changes of its key. */
  release(): Promise<void>;
}

/**
 * Carries changes: durable, at least once, ordered per key. Two changes of one key are never under way at
 * the same time: the second is held back until the first is acknowledged or released.
 */
export interface Bus {
  /** Resolves when every change is durable, in the order given. The same change may be published twice. */
  publish(changes: readonly Change[]): Promise<void>;

  /**
   * Delivers until `signal` aborts; then the iteration ends and what is not acknowledged is delivered again,
   * to whoever subscribes next. `maxInFlight` bounds what is delivered and not yet acknowledged.
   */
  subscribe(
    options: { readonly dataset: string; readonly maxInFlight: number },
    signal: AbortSignal,
  ): AsyncIterable<Delivery>;

  /** What is published and not acknowledged; `oldestMs` is the smallest `atMs` among it. */
  backlog(dataset: string): Promise<{ readonly changes: number; readonly oldestMs: number | undefined }>;

  close(): Promise<void>;
}
