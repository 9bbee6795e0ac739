import { newestOf } from '../decide/resolve.ts';
import { StoreFailure } from '../model/failure.ts';
import type { SiteId } from '../model/version.ts';
import { carry } from './carry.ts';
import type { Target } from './copy.ts';
import { HeldBack } from './damage-guard.ts';
import { type Debt, parkedId } from './records.ts';
import { Semaphore } from './semaphore.ts';
import { type Shell, siteOf } from './shell.ts';

/** How a key left the hands of whoever offered it: done, or durably somebody else's. */
export type Settled =
  | 'done'
  | 'owed'
  | 'parked'
  /** Neither: the lane ended first. Whoever holds the change keeps it. */
  | 'dropped';

interface Task {
  readonly key: string;
  sinceMs: number;
  readonly offeredMs: number;
  bytes: number;
  attempts: number;
  running: boolean;
  /** Offered again while it was running: what the run saw may be old. */
  again: boolean;
  owed: boolean;
  /** Being handed to the debts; a debt written after the copy was confirmed would stay for nothing. */
  handedOver?: Promise<void>;
  waiters: ((settled: Settled) => void)[];
}

const tickMs = 200;
const longestPauseMs = 5 * 60_000;

/**
 * Everything that one target has to receive. A slow or absent target hands its keys to its debts, a durable queue,
 * and whoever offered them goes on; the debts are worked off when it is well.
 */
export class Lane {
  readonly #shell: Shell;
  readonly target: Target;
  readonly #tasks = new Map<string, Task>();
  #ready: Task[] = [];
  readonly #tellOthers: (key: string, sinceMs: number) => void;
  readonly #signal: AbortSignal;
  #running = 0;
  #pumping: Promise<void> | undefined;
  #debtsMayWait = true;
  #idle: (() => void)[] = [];

  constructor(
    shell: Shell,
    site: SiteId,
    tellOthers: (key: string, sinceMs: number) => void,
    signal: AbortSignal,
  ) {
    this.#shell = shell;
    this.target = { site: siteOf(shell, site), partBytes: new Semaphore(shell.settings.partBytesInFlight) };
    this.#tellOthers = tellOthers;
    this.#signal = signal;
  }

  get site(): SiteId {
    return this.target.site.id;
  }

  /** Keys in hand that are not among the debts, and since when the oldest is missing. */
  inHand(): { keys: number; bytes: number; oldestMs: number | undefined } {
    let oldestMs: number | undefined;
    let bytes = 0;
    let keys = 0;
    for (const task of this.#tasks.values()) {
      // Offered again: the run that is under way may settle the debt, and that stands for both writes.
      if (!task.owed || task.again) oldestMs = Math.min(oldestMs ?? task.sinceMs, task.sinceMs);
      if (task.owed) continue;
      keys += 1;
      bytes += task.bytes;
    }
    return { keys, bytes, oldestMs };
  }

  /** Keys in memory, owed ones under way included. */
  get size(): number {
    return this.#tasks.size;
  }

  holds(key: string): boolean {
    return this.#tasks.has(key);
  }

  /** Resolves when the key is at the target, or durably among its debts or the parked. */
  offer(key: string, sinceMs: number, bytes: number): Promise<Settled> {
    // A stamp may be ahead of the clock here, and no write is younger than now.
    const madeMs = Math.min(sinceMs, this.#shell.world.nowMs());
    return new Promise((resolve, reject) => {
      const known = this.#tasks.get(key);
      if (known) {
        known.again = true;
        known.sinceMs = Math.min(known.sinceMs, madeMs);
        known.waiters.push(resolve);
        return;
      }
      const task = this.#newTask(key, madeMs, bytes, 0, [resolve]);
      if (!this.target.site.breaker.closed) {
        this.#owe(task).then(() => this.#finish(task, 'owed'), reject);
        return;
      }
      this.#enqueue(task);
    });
  }

  /** Sweeps and works off debts until the signal aborts. */
  async run(): Promise<void> {
    while (!this.#signal.aborted) {
      await this.#shell.world.sleep(tickMs, this.#signal).catch(() => {});
      if (this.#signal.aborted) break;
      await this.#handOverSlowOnes();
      if (this.#debtsMayWait && this.target.site.breaker.passable) this.#pump();
    }
    await this.#pumping;
    await this.quiet();
  }

  /** Tries everything that is owed and due now; resolves when that has been tried and nothing is in hand. */
  async settleDebts(force: boolean): Promise<void> {
    await this.#pumping;
    await this.#workOff(force);
    await this.quiet();
  }

  /** Resolves when nothing is in hand. */
  quiet(): Promise<void> {
    return this.#tasks.size === 0 ? Promise.resolve() : new Promise((resolve) => this.#idle.push(resolve));
  }

  #newTask(key: string, sinceMs: number, bytes: number, attempts: number, waiters: Task['waiters']): Task {
    const offeredMs = this.#shell.world.monotonicMs();
    const task: Task = {
      key,
      sinceMs,
      offeredMs,
      bytes,
      attempts,
      running: false,
      again: false,
      owed: attempts > 0,
      waiters,
    };
    this.#tasks.set(key, task);
    return task;
  }

  #enqueue(task: Task): void {
    this.#ready.push(task);
    this.#startReady();
  }

  #startReady(): void {
    while (this.#running < this.#shell.settings.keysInFlight && this.#ready.length > 0) {
      const task = this.#ready.shift()!;
      this.#running += 1;
      task.running = true;
      void this.#work(task).finally(() => {
        this.#running -= 1;
        this.#startReady();
      });
    }
  }

  async #work(task: Task): Promise<void> {
    try {
      do {
        if (task.again && task.owed) await this.#owe(task);
        task.again = false;
        const carried = await carry(this.#shell, task.key, this.target, this.#signal);
        if (carried.outcome !== 'current') {
          this.#shell.events.copied?.({
            site: this.site,
            key: task.key,
            bytes: carried.outcome === 'copied' ? carried.replica!.size : 0,
            outcome: carried.outcome,
            version: carried.replica!.version,
          });
        } else if (task.owed) await this.#settleUp(task);
        if (carried.othersMayNeed) this.#tellOthers(task.key, task.sinceMs);
        if (task.handedOver && !task.again) await this.#takeBack(task, task.handedOver);
      } while (task.again);
      this.#finish(task, 'done');
    } catch (failure) {
      await this.#failed(task, failure);
    }
  }

  async #takeBack(task: Task, handedOver: Promise<void>): Promise<void> {
    await handedOver;
    // Offered again meanwhile: whoever offered it may have been told that it is owed, so the debt stays.
    if (task.owed && !task.again) await this.#settleUp(task);
  }

  async #settleUp(task: Task): Promise<void> {
    const { records } = this.#shell;
    await records.commit([
      records.settle(this.site, task.key),
      records.unpark(parkedId(this.site, task.key)),
    ]);
  }

  /** The ledger itself may fail here: then nothing is settled, and whoever offered the key is not told it is. */
  async #failed(task: Task, failure: unknown): Promise<void> {
    if (this.#signal.aborted) return this.#abandon(task);
    const error = failure instanceof Error ? failure : new Error(String(failure));
    if (!(failure instanceof HeldBack))
      this.#shell.events.failed?.({ site: this.site, key: task.key, error });
    try {
      if (failure instanceof StoreFailure && failure.remedy === 'park') {
        await this.#park(task, failure);
        this.#finish(task, 'parked');
      } else {
        // While the site is away its breaker does the waiting: the key must not wait longer once the site is back.
        if (this.target.site.breaker.closed) task.attempts += 1;
        await this.#owe(task, error.message);
        this.#finish(task, 'owed');
      }
    } catch {
      this.#abandon(task);
    }
  }

  async #park(task: Task, failure: StoreFailure): Promise<void> {
    const { records, world } = this.#shell;
    await records.commit([
      records.park({
        id: parkedId(this.site, task.key),
        site: this.site,
        key: task.key,
        ...((await this.#newestOperation(task.key)) ?? {}),
        reason: failure.code,
        detail: failure.message,
        sinceMs: Math.min(task.sinceMs, world.nowMs()),
        keys: 1,
        bytes: task.bytes,
      }),
      records.settle(this.site, task.key),
    ]);
  }

  async #newestOperation(key: string): Promise<{ operation: string } | undefined> {
    const newest = newestOf(await this.#shell.records.read(key), this.#shell.ruleOf);
    return newest && { operation: newest.replica.version.operation };
  }

  async #owe(task: Task, lastError?: string): Promise<void> {
    const { records, world } = this.#shell;
    const earlier = await records.debtOf(this.site, task.key);
    // Known already, and nothing new to say of it: a site that is away is not written to the ledger on every pass.
    if (earlier && lastError === undefined && earlier.sinceMs <= task.sinceMs) {
      task.owed = true;
      this.#debtsMayWait = true;
      return;
    }
    const attempts = Math.max(task.attempts, earlier?.attempts ?? 0);
    const pauseMs =
      attempts === 0 ? 0 : Math.min(500 * 2 ** attempts, longestPauseMs) * (0.5 + world.random() / 2);
    await records.commit([
      records.owe({
        key: task.key,
        site: this.site,
        sinceMs: Math.min(task.sinceMs, earlier?.sinceMs ?? task.sinceMs),
        bytes: task.bytes,
        attempts,
        dueMs: world.nowMs() + pauseMs,
        ...(lastError === undefined ? {} : { lastError }),
      }),
    ]);
    task.owed = true;
    this.#debtsMayWait = true;
  }

  async #handOverSlowOnes(): Promise<void> {
    const { world, settings } = this.#shell;
    const away = !this.target.site.breaker.closed;
    const slow = [...this.#tasks.values()].filter(
      (task) => !task.owed && (away || world.monotonicMs() - task.offeredMs >= settings.patienceMs),
    );
    for (const task of slow) {
      task.handedOver = this.#owe(task).then(
        () => this.#tell(task, 'owed'),
        () => {},
      );
    }
    await Promise.all(slow.map((task) => task.handedOver));
    this.#letGo(slow.filter((task) => task.owed && !task.running));
  }

  /** What only waits for its turn is left to the debts, however many more are offered: memory stays bounded. */
  #letGo(tasks: readonly Task[]): void {
    if (tasks.length === 0) return;
    const gone = new Set(tasks);
    this.#ready = this.#ready.filter((task) => !gone.has(task));
    for (const task of tasks) this.#finish(task, 'owed');
  }

  #pump(): void {
    this.#pumping ??= this.#workOff(false)
      .catch((error: Error) => this.#shell.events.failed?.({ site: this.site, error }))
      .finally(() => {
        this.#pumping = undefined;
      });
  }

  async #workOff(force: boolean): Promise<void> {
    this.#debtsMayWait = false;
    const { records, world } = this.#shell;
    for await (const page of records.debts(this.site)) {
      for (const debt of page) {
        this.#debtsMayWait = true;
        if (this.#signal.aborted || !this.target.site.breaker.passable) return;
        if (!force && debt.dueMs > world.nowMs()) continue;
        const taken = await this.#takeUp(debt);
        // Of a site that is away one key tries: the others would only be read where all is well, again and again.
        if (!this.target.site.breaker.closed) await taken?.settled;
      }
    }
  }

  /** Wrapped: whoever waits for a place in hand does not wait for the work. */
  async #takeUp(debt: Debt): Promise<{ readonly settled: Promise<Settled> } | undefined> {
    if (this.#tasks.has(debt.key)) return undefined;
    while (this.#running >= this.#shell.settings.keysInFlight && !this.#signal.aborted) {
      await this.#shell.world.sleep(5, this.#signal).catch(() => {});
    }
    if (this.#signal.aborted || this.#tasks.has(debt.key)) return undefined;
    return {
      settled: new Promise((resolve) => {
        const task = this.#newTask(debt.key, debt.sinceMs, debt.bytes, debt.attempts, [resolve]);
        task.owed = true;
        this.#enqueue(task);
      }),
    };
  }

  #tell(task: Task, settled: Settled): void {
    for (const resolve of task.waiters.splice(0)) resolve(settled);
  }

  #finish(task: Task, settled: Settled): void {
    this.#tell(task, settled);
    this.#abandon(task);
  }

  /** Not done and not handed over: a bus delivers it again, a debt is still there. */
  #abandon(task: Task): void {
    this.#tell(task, 'dropped');
    this.#tasks.delete(task.key);
    if (this.#tasks.size === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }
}
