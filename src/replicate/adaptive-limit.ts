/**
 * How many requests may be under way at one site. Grows by one per answer while it is used to the full
 * (as TCP's slow start), shrinks by a third when the site throttles, and by a tenth when small requests take
 * several times as long as they did at best.
 */
export interface AdaptiveSettings {
  readonly start: number;
  readonly most: number;
  /** Small requests this many times slower than the best shrink the limit. */
  readonly slowFactor: number;
}

export const defaultAdaptiveSettings: AdaptiveSettings = { start: 32, most: 96, slowFactor: 8 };

export class AdaptiveLimit {
  readonly #settings: AdaptiveSettings;
  readonly #waiting: { grant: () => void; signal: AbortSignal }[] = [];
  #limit: number;
  #inUse = 0;
  readonly #best = new WindowedLeast(bestOver);
  #usualMs = 0;
  #answersSinceShrink = 0;
  #inUseAtShrink = 0;

  constructor(settings: AdaptiveSettings = defaultAdaptiveSettings) {
    this.#settings = settings;
    this.#limit = Math.min(settings.start, settings.most);
  }

  get limit(): number {
    return Math.floor(this.#limit);
  }

  get inUse(): number {
    return this.#inUse;
  }

  async enter(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#inUse < this.limit) {
      this.#inUse += 1;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const abandon = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        reject(signal.reason as Error);
      };
      const waiter = {
        signal,
        grant: () => {
          signal.removeEventListener('abort', abandon);
          resolve();
        },
      };
      signal.addEventListener('abort', abandon, { once: true });
      this.#waiting.push(waiter);
    });
  }

  /** `smallMs`: how long a request with a small body took; undefined for others. */
  leave(outcome: { readonly throttled: boolean; readonly smallMs?: number | undefined }): void {
    this.#answersSinceShrink += 1;
    if (outcome.throttled) this.#shrink(2 / 3, Math.max(this.#limit / 2, this.#inUseAtShrink));
    else this.#learn(outcome.smallMs);
    this.#inUse -= 1;
    while (this.#inUse < this.limit && this.#waiting.length > 0) {
      this.#inUse += 1;
      this.#waiting.shift()!.grant();
    }
  }

  #learn(smallMs: number | undefined): void {
    if (smallMs !== undefined) {
      this.#best.add(smallMs);
      this.#usualMs = this.#usualMs === 0 ? smallMs : this.#usualMs * 0.9 + smallMs * 0.1;
    }
    const isSlow = this.#usualMs > this.#best.value * this.#settings.slowFactor + 20;
    // Other requests tell nothing new of how slow it is: only a small one may shrink the limit.
    if (isSlow && smallMs !== undefined) this.#shrink(0.9, this.#limit / 2);
    else if (!isSlow && this.#inUse >= this.limit)
      this.#limit = Math.min(this.#settings.most, this.#limit + 1);
  }

  /** Not before so many answers: what was under way at the last time tells nothing new, and one burst would starve the site. */
  #shrink(factor: number, answers: number): void {
    if (this.#answersSinceShrink < answers) return;
    this.#answersSinceShrink = 0;
    this.#inUseAtShrink = this.#inUse;
    this.#limit = Math.max(4, this.#limit * factor);
  }
}

/** Answers of which the fastest is the best: a site that moved further away is judged anew before long. */
const bestOver = 500;

/** The least of the last values, between `span` and twice as many. */
class WindowedLeast {
  readonly #span: number;
  #earlier = Number.POSITIVE_INFINITY;
  #now = Number.POSITIVE_INFINITY;
  #count = 0;

  constructor(span: number) {
    this.#span = span;
  }

  get value(): number {
    return Math.max(1, Math.min(this.#earlier, this.#now));
  }

  add(value: number): void {
    this.#now = Math.min(this.#now, value);
    this.#count += 1;
    if (this.#count < this.#span) return;
    this.#earlier = this.#now;
    this.#now = Number.POSITIVE_INFINITY;
    this.#count = 0;
  }
}
