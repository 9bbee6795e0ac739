import type { Change } from '../model/change.ts';

/** A change on its way to a subscriber. Sequences grow along a dataset's log and never come twice. */
export interface Delivered {
  readonly sequence: number;
  readonly attempt: number;
  readonly change: Change;
}

export interface Sink {
  deliver(delivered: Delivered): void;
  /** The subscription is over, not by its own wish. */
  fail(failure: Error): void;
}

export interface Subscription {
  /** Unique for ever. */
  readonly id: string;
  readonly dataset: string;
  readonly maxInFlight: number;
  /** What it works on already, from before this log was opened: not delivered to anybody else meanwhile. */
  readonly held: readonly Held[];
}

export interface Held {
  readonly sequence: number;
  readonly key: string;
  readonly attempt: number;
}

export interface Backlog {
  readonly changes: number;
  readonly oldestMs: number | undefined;
}

/** A durable log of changes per dataset, and who works on it. */
export interface SharedLog {
  publish(changes: readonly Change[]): Promise<void>;
  backlog(dataset: string): Promise<Backlog>;
  subscribe(subscription: Subscription, sink: Sink): Promise<void>;
  /** What it has not acknowledged is delivered again to others. Unknown ids are no error. */
  unsubscribe(subscription: string): Promise<void>;
  /** Resolves when durable. */
  ack(subscription: string, dataset: string, sequence: number): Promise<void>;
  release(subscription: string, dataset: string, sequence: number): Promise<void>;
}
