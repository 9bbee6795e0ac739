import { StoreFailure } from '../model/failure.ts';
import type { World } from '../ports/world.ts';

export interface BreakerSettings {
  /** So many failures in a row open it. */
  readonly failures: number;
  /** Requests that got no answer for this long, with none answered meanwhile, open it. */
  readonly stallMs: number;
  readonly firstPauseMs: number;
  readonly longestPauseMs: number;
}

export const defaultBreakerSettings: BreakerSettings = {
  failures: 5,
  stallMs: 3_000,
  firstPauseMs: 500,
  longestPauseMs: 15_000,
};

/** Keeps a sick site from holding anybody up: while open, calls fail at once; one at a time tries whether it is well. */
export class Breaker {
  readonly #world: World;
  readonly #settings: BreakerSettings;
  readonly #begun = new Set<{ readonly atMs: number }>();
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
    this.#noticeStall();
    return !this.#open;
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

  async run<T>(call: () => Promise<T>): Promise<T> {
    const trial = !this.closed;
    if (trial && !this.passable) throw this.#away();
    if (trial) this.#trying = true;
    const mark = { atMs: this.#world.monotonicMs() };
    this.#begun.add(mark);
    try {
      const result = await call();
      this.#answered();
      return result;
    } catch (failure) {
      this.#failed(failure);
      throw failure;
    } finally {
      this.#begun.delete(mark);
      if (trial) this.#trying = false;
    }
  }

  #answered(): void {
    this.#lastAnswerMs = this.#world.monotonicMs();
    this.#failuresInRow = 0;
    this.#open = false;
    this.#pauseMs = this.#settings.firstPauseMs;
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

  #noticeStall(): void {
    if (this.#open || this.#begun.size === 0) return;
    const now = this.#world.monotonicMs();
    const [oldest] = this.#begun;
    const silentMs = now - Math.max(this.#lastAnswerMs, oldest!.atMs);
    if (silentMs < this.#settings.stallMs) return;
    this.#lastError = `no answer to ${this.#begun.size} requests for ${Math.round(silentMs / 1000)} s`;
    this.#trip();
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
    );
  }
}

/** Failures that say something about the site, not about one key. */
function isSickness(failure: unknown): failure is StoreFailure {
  if (!(failure instanceof StoreFailure)) return false;
  return ['unavailable', 'denied', 'misplaced', 'full', 'throttled'].includes(failure.code);
}
