import { setTimeout as sleep } from 'node:timers/promises';
import type { Backlog, Delivered, Held, Sink, Subscription } from '../buses/subscription.ts';
import type { Change } from '../model/change.ts';
import type { CommitResult, IdRange, LedgerWrite, Row, Table } from '../ports/ledger.ts';
import { OwnerGone, type Page, type StateAccess } from './access.ts';
import { type Entered, enter, type Role } from './claim.ts';
import { unavailable } from './failures.ts';

interface Subscribed {
  readonly subscription: Subscription;
  readonly sink: Sink;
  /** Delivered and not acknowledged, by sequence. */
  readonly held: Map<number, Held>;
  readonly heldKeys: Set<string>;
  /** Delivered by a new owner while a change of its key, delivered by the old one, is still under way here. */
  early: Delivered[];
}

/** A folder whose owners die faster than this many operations can be answered needs a person. */
const maxAttempts = 20;

/**
 * The state as its users see it: the same before and after its owner died. Then the first one that needs it
 * becomes the owner in place; what was under way is asked again, and subscriptions go on with what they hold.
 */
export class State implements StateAccess {
  readonly #folder: string;
  #entering: Promise<Entered> | undefined;
  #role: Role;
  readonly #subscribed = new Map<string, Subscribed>();
  #closed = false;

  private constructor(folder: string, entered: Entered) {
    this.#folder = folder;
    this.#entering = Promise.resolve(entered);
    this.#role = entered.role;
  }

  static async open(folder: string): Promise<State> {
    return new State(folder, await enter(folder));
  }

  get role(): Role {
    return this.#role;
  }

  getMany(table: Table, ids: readonly string[]): Promise<readonly (Row | undefined)[]> {
    return this.#ask((access) => access.getMany(table, ids));
  }

  commit(writes: readonly LedgerWrite[]): Promise<CommitResult> {
    return this.#ask((access) => access.commit(writes));
  }

  page(table: Table, range: IdRange, limit: number): Promise<Page> {
    return this.#ask((access) => access.page(table, range, limit));
  }

  count(table: Table, range: IdRange): Promise<number> {
    return this.#ask((access) => access.count(table, range));
  }

  publish(changes: readonly Change[]): Promise<void> {
    return this.#ask((access) => access.publish(changes));
  }

  backlog(dataset: string): Promise<Backlog> {
    return this.#ask((access) => access.backlog(dataset));
  }

  async subscribe(subscription: Subscription, sink: Sink): Promise<void> {
    const subscribed = { subscription, sink, held: new Map(), heldKeys: new Set<string>(), early: [] };
    this.#subscribed.set(subscription.id, subscribed);
    try {
      await this.#ask((access) => this.#subscribeAt(access, subscribed));
    } catch (failure) {
      this.#subscribed.delete(subscription.id);
      throw failure;
    }
  }

  async unsubscribe(id: string): Promise<void> {
    if (!this.#subscribed.delete(id) || this.#closed) return;
    try {
      await (await this.#entering)?.access.unsubscribe(id);
    } catch {
      // Whoever owns the state ends the subscription when this process leaves; until then it stays bounded.
    }
  }

  async ack(id: string, dataset: string, sequence: number): Promise<void> {
    await this.#ask((access) => access.ack(id, dataset, sequence));
    letGo(this.#subscribed.get(id), sequence);
  }

  async release(id: string, dataset: string, sequence: number): Promise<void> {
    letGo(this.#subscribed.get(id), sequence);
    await this.#ask((access) => access.release(id, dataset, sequence));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const { sink } of this.#subscribed.values()) {
      sink.fail(unavailable(`The state folder ${this.#folder} is closed.`));
    }
    this.#subscribed.clear();
    const entered = await this.#entering?.catch(() => undefined);
    await entered?.leave();
  }

  async #ask<T>(operation: (access: StateAccess) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const { entering, entered } = await this.#current();
      try {
        return await operation(entered.access);
      } catch (failure) {
        if (!(failure instanceof OwnerGone)) throw failure;
        if (attempt >= maxAttempts)
          throw unavailable(`The owner of the state folder ${this.#folder} keeps dying.`);
        if (this.#entering === entering) this.#entering = undefined;
      }
    }
  }

  /** An attempt to enter that failed is tried again by the next operation. */
  async #current(): Promise<{ entering: Promise<Entered>; entered: Entered }> {
    if (this.#closed) throw unavailable(`The state folder ${this.#folder} is closed.`);
    this.#entering ??= this.#enterAgain();
    const entering = this.#entering;
    try {
      return { entering, entered: await entering };
    } catch (failure) {
      if (this.#entering === entering) this.#entering = undefined;
      throw failure;
    }
  }

  async #enterAgain(): Promise<Entered> {
    await sleep(5 + Math.random() * 20);
    const entered = await enter(this.#folder);
    this.#role = entered.role;
    return entered;
  }

  #subscribeAt(access: StateAccess, subscribed: Subscribed): Promise<void> {
    const { subscription, sink, held } = subscribed;
    const { id } = subscription;
    // Not handed on yet: whoever is the owner now delivers them again.
    subscribed.early = [];
    return access.subscribe(
      { ...subscription, held: [...held.values()] },
      {
        deliver: (delivered) => {
          if (subscribed.heldKeys.has(delivered.change.key)) subscribed.early.push(delivered);
          else hand(subscribed, delivered);
        },
        fail: (failure) => {
          if (failure instanceof OwnerGone) void this.#subscribeAgain(id);
          else if (this.#subscribed.delete(id)) sink.fail(failure);
        },
      },
    );
  }

  async #subscribeAgain(id: string): Promise<void> {
    const subscribed = this.#subscribed.get(id);
    if (subscribed === undefined || this.#closed) return;
    try {
      await this.#ask((access) => this.#subscribeAt(access, subscribed));
    } catch (failure) {
      if (this.#subscribed.delete(id)) subscribed.sink.fail(failure as Error);
    }
  }
}

function hand(subscribed: Subscribed, delivered: Delivered): void {
  const { sequence, attempt, change } = delivered;
  subscribed.held.set(sequence, { sequence, attempt, key: change.key });
  subscribed.heldKeys.add(change.key);
  subscribed.sink.deliver(delivered);
}

function letGo(subscribed: Subscribed | undefined, sequence: number): void {
  const held = subscribed?.held.get(sequence);
  if (subscribed === undefined || held === undefined) return;
  subscribed.held.delete(sequence);
  subscribed.heldKeys.delete(held.key);
  const at = subscribed.early.findIndex(({ change }) => change.key === held.key);
  const [next] = at < 0 ? [] : subscribed.early.splice(at, 1);
  // The same one again: it is settled by what let it go.
  if (next !== undefined && next.sequence !== sequence) hand(subscribed, next);
}
