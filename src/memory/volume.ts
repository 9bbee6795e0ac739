import { StateFailure } from '../model/failure.ts';
import { compareKeys } from '../model/key.ts';

export interface VolumeFaults {
  /** How long a flush takes; by default one turn of the microtask queue. */
  readonly sync?: () => Promise<void>;
  /** True: the device says "flushed" and has only kept it in its cache, which a crash loses. */
  readonly skipSync?: () => boolean;
  /** In [0, 1): which of the writes that a crash interrupts are kept (below 0.5). By default none. */
  readonly random?: () => number;
}

interface Write {
  readonly table: string;
  readonly id: string;
  readonly value: unknown;
}

/** Reads what is visible and what earlier plans of the same flush write. */
export interface VolumePlan {
  get(table: string, id: string): unknown;
  /** Undefined removes. */
  put(table: string, id: string, value: unknown): void;
}

interface Waiting {
  readonly run: (plan: VolumePlan) => void;
  readonly done: () => void;
  readonly failed: (failure: Error) => void;
}

/**
 * A device in memory that several workers share: ordered tables, group commit, and a power switch. Written,
 * visible and durable are three states of it, so that a simulated crash loses exactly what a real one may:
 * whatever was not flushed, any subset of what was being flushed.
 */
export class Volume {
  readonly #faults: VolumeFaults;
  #visible = new Map<string, SortedTable>();
  #durable = new Map<string, SortedTable>();
  /** Written or visible, and not durable; in order. */
  #unsynced: Write[] = [];
  #waiting: Waiting[] = [];
  #flushing: readonly Waiting[] = [];
  #running = false;
  /** Flushes that began before a crash must not finish after it. */
  #powerCycle = 0;

  constructor(faults: VolumeFaults = {}) {
    this.#faults = faults;
  }

  get(table: string, id: string): unknown {
    return this.#visible.get(table)?.get(id);
  }

  page(table: string, from: string, to: string, limit: number): readonly (readonly [string, unknown])[] {
    return this.#visible.get(table)?.page(from, to, limit) ?? [];
  }

  count(table: string, from: string, to: string): number {
    return this.#visible.get(table)?.count(from, to) ?? 0;
  }

  /** Resolves when what `plan` wrote is durable, as far as the device says. When it throws, nothing is written. */
  apply<T>(plan: (plan: VolumePlan) => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      let result: T;
      this.#waiting.push({
        run: (view) => {
          result = plan(view);
        },
        done: () => resolve(result),
        failed: reject,
      });
      if (!this.#running) void this.#drain(this.#powerCycle);
    });
  }

  /** Power is lost and comes back: what waited fails with `unavailable`, what was not durable is gone. */
  crash(): void {
    this.#powerCycle++;
    for (const write of this.#unsynced) {
      if (this.#faults.random !== undefined && this.#faults.random() < 0.5) put(this.#durable, write);
    }
    this.#unsynced = [];
    this.#visible = new Map([...this.#durable].map(([name, table]) => [name, table.copy()]));
    const failed = [...this.#flushing, ...this.#waiting];
    this.#flushing = [];
    this.#waiting = [];
    this.#running = false;
    for (const waiting of failed) waiting.failed(crashed());
  }

  async #drain(powerCycle: number): Promise<void> {
    this.#running = true;
    // One turn, so that what is asked for side by side shares a flush.
    await Promise.resolve();
    while (powerCycle === this.#powerCycle && this.#waiting.length > 0) await this.#flush(powerCycle);
    if (powerCycle === this.#powerCycle) this.#running = false;
  }

  async #flush(powerCycle: number): Promise<void> {
    const writes = this.#runPlans();
    this.#unsynced.push(...writes);
    const upTo = this.#unsynced.length;
    await (this.#faults.sync?.() ?? Promise.resolve());
    if (powerCycle !== this.#powerCycle) return;
    for (const write of writes) put(this.#visible, write);
    if (this.#faults.skipSync?.() !== true) {
      for (const write of this.#unsynced.splice(0, upTo)) put(this.#durable, write);
    }
    for (const member of this.#flushing) member.done();
    this.#flushing = [];
  }

  #runPlans(): Write[] {
    const overlay = new Map<string, Write>();
    const members: Waiting[] = [];
    for (const waiting of this.#waiting.splice(0)) {
      const own = new Map<string, Write>();
      try {
        waiting.run({
          get: (table, id) => {
            const written = own.get(nameOf(table, id)) ?? overlay.get(nameOf(table, id));
            return written === undefined ? this.get(table, id) : written.value;
          },
          put: (table, id, value) => own.set(nameOf(table, id), { table, id, value }),
        });
        for (const [name, write] of own) overlay.set(name, write);
        members.push(waiting);
      } catch (failure) {
        waiting.failed(failure as Error);
      }
    }
    this.#flushing = members;
    return [...overlay.values()];
  }
}

export function crashed(): StateFailure {
  return new StateFailure(
    'unavailable',
    'The device lost power while it was asked; it may have kept some of it.',
  );
}

function nameOf(table: string, id: string): string {
  return `${table}\0${id}`;
}

function put(tables: Map<string, SortedTable>, { table, id, value }: Write): void {
  let rows = tables.get(table);
  if (rows === undefined) {
    rows = new SortedTable();
    tables.set(table, rows);
  }
  rows.put(id, value);
}

/** Ids in the order of UTF-8 bytes. */
class SortedTable {
  #ids: string[] = [];
  #values = new Map<string, unknown>();

  get(id: string): unknown {
    return this.#values.get(id);
  }

  put(id: string, value: unknown): void {
    if (value === undefined) {
      if (this.#values.delete(id)) this.#ids.splice(this.#firstFrom(id), 1);
      return;
    }
    if (!this.#values.has(id)) this.#ids.splice(this.#firstFrom(id), 0, id);
    this.#values.set(id, value);
  }

  page(from: string, to: string, limit: number): (readonly [string, unknown])[] {
    const start = this.#firstFrom(from);
    const end = Math.min(this.#firstFrom(to), start + limit);
    return this.#ids.slice(start, end).map((id) => [id, this.#values.get(id)] as const);
  }

  count(from: string, to: string): number {
    return Math.max(0, this.#firstFrom(to) - this.#firstFrom(from));
  }

  copy(): SortedTable {
    const copy = new SortedTable();
    copy.#ids = [...this.#ids];
    copy.#values = new Map(this.#values);
    return copy;
  }

  #firstFrom(id: string): number {
    let low = 0;
    let high = this.#ids.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareKeys(this.#ids[middle]!, id) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
