import { Lane, type LaneSubscriber } from '../buses/lane.ts';
import type { Backlog, Sink, Subscription } from '../buses/subscription.ts';
import type { Change } from '../model/change.ts';
import type { CommitResult, IdRange, LedgerWrite, Row, Table } from '../ports/ledger.ts';
import { OwnerGone, type Page, type StateAccess } from './access.ts';
import { stateFailure } from './failures.ts';
import { ChangeLog } from './log.ts';
import type { OpenEnvironment } from './open-environment.ts';
import { Rows } from './rows.ts';

interface Subscribed {
  readonly dataset: string;
  readonly subscriber: LaneSubscriber;
  readonly sink: Sink;
}

/** The state, in the process that owns it. */
export class Owner implements StateAccess {
  readonly #environment: OpenEnvironment;
  readonly #rows: Rows;
  readonly #log: ChangeLog;
  readonly #lanes = new Map<string, Lane>();
  readonly #subscribed = new Map<string, Subscribed>();

  readonly #deliverFromMs: number;
  #gone = false;

  /**
   * Deliveries begin after `graceMs`; `lost` is called once, when it turns out that another process has taken
   * the folder over.
   */
  constructor(environment: OpenEnvironment, opening: number, graceMs: number, lost: () => void) {
    this.#deliverFromMs = performance.now() + graceMs;
    const { tables } = environment;
    const commits = environment.commits(opening, () => {
      this.#abandon();
      lost();
    });
    this.#environment = environment;
    this.#rows = new Rows(tables.rows, commits, opening);
    this.#log = new ChangeLog(tables, commits);
  }

  async getMany(table: Table, ids: readonly string[]): Promise<(Row | undefined)[]> {
    return this.#read(() => this.#rows.getMany(table, ids));
  }

  async commit(writes: readonly LedgerWrite[]): Promise<CommitResult> {
    return this.#rows.commit(writes);
  }

  async page(table: Table, range: IdRange, limit: number): Promise<Page> {
    return this.#read(() => this.#rows.page(table, range, limit));
  }

  async count(table: Table, range: IdRange): Promise<number> {
    if (this.#gone) throw this.#ownerGone();
    try {
      return await this.#rows.count(table, range);
    } catch (failure) {
      throw stateFailure(this.#environment.folder, failure);
    }
  }

  async publish(changes: readonly Change[]): Promise<void> {
    await this.#log.publish(changes);
    for (const dataset of new Set(changes.map((change) => change.dataset)))
      this.#lanes.get(dataset)?.published();
  }

  async backlog(dataset: string): Promise<Backlog> {
    return this.#read(() => this.#log.backlog(dataset));
  }

  async subscribe(subscription: Subscription, sink: Sink): Promise<void> {
    const { id, dataset, maxInFlight, held } = subscription;
    const translating: Sink = {
      deliver: (delivered) => sink.deliver(delivered),
      fail: (failure) => {
        this.#subscribed.delete(id);
        sink.fail(stateFailure(this.#environment.folder, failure));
      },
    };
    const subscriber = this.#read(() => this.#lane(dataset).subscribe(maxInFlight, translating, held));
    this.#subscribed.set(id, { dataset, subscriber, sink });
  }

  async unsubscribe(id: string): Promise<void> {
    const subscribed = this.#subscribed.get(id);
    if (subscribed === undefined) return;
    this.#subscribed.delete(id);
    this.#lane(subscribed.dataset).unsubscribe(subscribed.subscriber);
  }

  async ack(_subscription: string, dataset: string, sequence: number): Promise<void> {
    const key = await this.#log.remove(dataset, sequence);
    if (key !== undefined) this.#lanes.get(dataset)?.acknowledged(sequence, key);
  }

  async release(id: string, dataset: string, sequence: number): Promise<void> {
    const subscribed = this.#subscribed.get(id);
    if (subscribed !== undefined) this.#lanes.get(dataset)?.release(subscribed.subscriber, sequence);
  }

  /** Waits for what is under way. */
  async close(): Promise<void> {
    for (const id of [...this.#subscribed.keys()]) await this.unsubscribe(id);
    await this.#environment.close();
  }

  /** Somebody else owns the folder: whoever is served here finds that one. */
  #abandon(): void {
    this.#gone = true;
    const subscribed = [...this.#subscribed.values()];
    for (const id of [...this.#subscribed.keys()]) void this.unsubscribe(id);
    for (const { sink } of subscribed) sink.fail(this.#ownerGone());
  }

  #lane(dataset: string): Lane {
    let lane = this.#lanes.get(dataset);
    if (lane === undefined) {
      lane = new Lane(this.#log.lane(dataset), { defer: (task) => this.#defer(task) });
      this.#lanes.set(dataset, lane);
    }
    return lane;
  }

  #defer(task: () => void): void {
    const restMs = this.#deliverFromMs - performance.now();
    if (restMs > 0) setTimeout(task, restMs);
    else setImmediate(task);
  }

  #ownerGone(): OwnerGone {
    return new OwnerGone(`Another process has taken over the state folder ${this.#environment.folder}.`);
  }

  #read<T>(read: () => T): T {
    if (this.#gone) throw this.#ownerGone();
    try {
      return read();
    } catch (failure) {
      throw stateFailure(this.#environment.folder, failure);
    }
  }
}
