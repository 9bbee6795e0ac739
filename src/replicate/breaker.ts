import { StoreFailure } from '../model/failure.ts';
import type { World } from '../ports/world.ts';

export interface BreakerSettings {
  /** So many failures in a row open it. */
  readonly failures: number;
  /** Brief requests that got no answer for this long, with none answered meanwhile, open it. */
  readonly stallMs: number;
  /** The same for this long, and for `silentFactor` times what brief requests usually take: writers try elsewhere. */
  readonly silentMs: number;
  readonly silentFactor: number;
  readonly firstPauseMs: number;
  readonly longestPauseMs: number;
}

export const defaultBreakerSettings: BreakerSettings = {
  failures: 5,
  stallMs: 3_000,
  silentMs: 200,
  silentFactor: 8,
  firstPauseMs: 500,
  longestPauseMs: 15_000,
};

/** What the time that a request takes says of the site. */
export type RequestKind =
  /** Soon answered when the site is well; may be given up, its answer is of no use to anybody later. */
  | 'brief'
  /** Soon answered, but its answer holds a connection: never given up. */
  | 'opening'
  /** Takes as long as its body is large. */
  | 'long';

interface Mark {
  readonly atMs: number;
  giveUp?: (failure: StoreFailure) => void;
}

/** Silence is counted in steps, so that time in which this process itself stood still counts as one step. */
const stepMs = 50;
const never = new AbortController().signal;

/** Keeps a sick site from holding anybody up: while open, calls fail at once; one at a time tries whether it is well. */
export class Breaker {
  readonly #world: World;
  readonly #settings: BreakerSettings;
  /** Requests that should be answered soon, oldest first. */
  readonly #begun = new Set<Mark>();
  readonly #listeners = new Set<() => void>();
  #watching = false;
  #quietMs = 0;
  #usualMs: number | undefined;
  #failuresInRow = 0;
  #lastAnswerMs = 0;
  #openUntilMs = 0;
  #open = false;
  #trying = false;
  #pauseMs: number;
  #lastError = '';
  readonly #site: string;

  constructor(site: string, world: World, settings: BreakerSettings = defaultBreakerSettings) {
    this.#site = site;
    this.#world = world;
    this.#settings = settings;
    this.#pauseMs = settings.firstPauseMs;
    this.#lastAnswerMs = world.monotonicMs();
  }

  /** False while calls would fail at once. */
  get closed(): boolean {
    return !this.#open;
  }

  /** True while requests wait and nothing has been answered for much longer than usual. */
  get silent(): boolean {
    const { silentMs, silentFactor, stallMs } = this.#settings;
    const usual = this.#usualMs === undefined ? stallMs : this.#usualMs * silentFactor;
    return this.#quietMs >= Math.min(stallMs, Math.max(silentMs, usual));
  }

  /** Calls back once, when the site is or falls silent; the answer withdraws that. */
  whenSilent(call: () => void): () => void {
    this.#listeners.add(call);
    if (this.silent) this.#tellListeners();
    return () => this.#listeners.delete(call);
  }

  /** True when a call would be let through, if only to try. */
  get passable(): boolean {
    return this.closed || (!this.#trying && this.#world.monotonicMs() >= this.#openUntilMs);
  }

  /** How long until somebody may try again; 0 when closed. */
  get waitMs(): number {
    return this.closed ? 0 : Math.max(0, this.#openUntilMs - this.#world.monotonicMs());
  }

  get lastError(): string {
    return this.#lastError;
  }

  async run<T>(call: () => Promise<T>, kind: RequestKind = 'long'): Promise<T> {
    const trial = !this.closed;
    if (trial && !this.passable) throw this.#away();
    if (trial) this.#trying = true;
    const mark: Mark = { atMs: this.#world.monotonicMs() };
    if (kind !== 'long') this.#watch(mark);
    try {
      return await (kind === 'brief' ? this.#unlessGivenUp(mark, call) : this.#judged(mark, call));
    } finally {
      this.#begun.delete(mark);
      if (trial) this.#trying = false;
    }
  }

  async #judged<T>(mark: Mark, call: () => Promise<T>): Promise<T> {
    const waited = this.#begun.has(mark);
    try {
      const result = await call();
      this.#answered(waited ? mark : undefined);
      return result;
    } catch (failure) {
      // Given up: that was said when the breaker opened.
      if (!waited || this.#begun.has(mark)) this.#failed(failure);
      throw failure;
    }
  }

  /** The request itself goes on, and a late answer still tells that the site is back. */
  #unlessGivenUp<T>(mark: Mark, call: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      mark.giveUp = reject;
      this.#judged(mark, call).then(resolve, reject);
    });
  }

  #answered(mark?: Mark): void {
    this.#lastAnswerMs = this.#world.monotonicMs();
    this.#quietMs = 0;
    this.#failuresInRow = 0;
    this.#open = false;
    this.#pauseMs = this.#settings.firstPauseMs;
    if (mark && this.#begun.has(mark)) {
      const tookMs = this.#lastAnswerMs - mark.atMs;
      this.#usualMs = this.#usualMs === undefined ? tookMs : this.#usualMs * 0.9 + tookMs * 0.1;
    }
  }

  #failed(failure: unknown): void {
    if (!isSickness(failure)) {
      if (failure instanceof StoreFailure) this.#answered();
      return;
    }
    this.#lastError = failure.message;
    this.#failuresInRow += 1;
    if (this.#open || this.#failuresInRow >= this.#settings.failures) this.#trip();
  }

  #watch(mark: Mark): void {
    this.#begun.add(mark);
    if (this.#watching) return;
    this.#watching = true;
    void this.#countSilence();
  }

  async #countSilence(): Promise<void> {
    while (this.#begun.size > 0) {
      const stepFromMs = this.#world.monotonicMs();
      await this.#world.sleep(stepMs, never);
      const [oldest] = this.#begun;
      const waits = oldest !== undefined && oldest.atMs <= stepFromMs && this.#lastAnswerMs <= stepFromMs;
      this.#quietMs = waits ? this.#quietMs + stepMs : 0;
      if (this.silent) this.#tellListeners();
      if (!this.#open && this.#quietMs >= this.#settings.stallMs) this.#stalled();
    }
    this.#quietMs = 0;
    this.#watching = false;
  }

  #tellListeners(): void {
    const listeners = [...this.#listeners];
    this.#listeners.clear();
    for (const call of listeners) call();
  }

  /** Nobody waits for what is not answered: what a write did there turns up when the site is back. */
  #stalled(): void {
    this.#lastError = `no answer to ${this.#begun.size} requests for ${Math.round(this.#quietMs / 1000)} s`;
    this.#trip();
    for (const mark of [...this.#begun]) {
      if (!mark.giveUp) continue;
      this.#begun.delete(mark);
      mark.giveUp(new StoreFailure('unavailable', `site ${this.#site} is away (${this.#lastError})`));
    }
  }

  #trip(): void {
    this.#open = true;
    this.#openUntilMs = this.#world.monotonicMs() + this.#pauseMs * (0.5 + this.#world.random() / 2);
    this.#pauseMs = Math.min(this.#pauseMs * 2, this.#settings.longestPauseMs);
  }

  #away(): StoreFailure {
    return new StoreFailure(
      'unavailable',
      `site ${this.#site} is away (${this.#lastError}); it is tried again by itself`,
      { unsent: true },
    );
  }
}

/** Failures that say something about the site, not about one key. */
function isSickness(failure: unknown): failure is StoreFailure {
  if (!(failure instanceof StoreFailure)) return false;
  return ['unavailable', 'denied', 'misplaced', 'full', 'throttled'].includes(failure.code);
}
