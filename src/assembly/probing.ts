import { StoreFailure } from '../model/failure.ts';
import type { Capabilities, DriverStore } from '../ports/object-store.ts';
import type { World } from '../ports/world.ts';
import { probe } from './probe.ts';

const longestMs = 20_000;
/** So long a failed probe answers for the next one: keys that wait side by side ask the site once. */
const holdMs = 2_000;
/** What is under way at the end may finish. */
const graceMs = 2_000;

/**
 * Finds out what the store of a site promises, once, while its listings are read already. A site that cannot be probed
 * is not believed: whatever rests on its promises fails as the probe did, and is probed again with the next try.
 */
export class Probing {
  readonly #store: DriverStore;
  readonly #world: World;
  readonly #found: (found: Capabilities, isComplete: boolean) => Promise<void>;
  readonly #closing = new AbortController();
  #isSettled = false;
  /** Whether removals were tried, too; if not, a removal tries again, and is refused by the store itself. */
  #isComplete = false;
  #stillDenied: ((signal: AbortSignal) => Promise<boolean>) | undefined;
  #underWay: Promise<void> | undefined;
  /** Nobody waits for what a probe left to be removed, but the end. */
  #rest = Promise.resolve();
  #failure: unknown;
  #againMs = Number.NEGATIVE_INFINITY;

  /** `found` settles the store, and remembers what is complete. */
  constructor(
    store: DriverStore,
    world: World,
    found: (found: Capabilities, isComplete: boolean) => Promise<void>,
  ) {
    this.#store = store;
    this.#world = world;
    this.#found = found;
  }

  /** Undefined once it is known. Rejects with the store's own failure, or the signal's reason. */
  ready(need: 'write' | 'removal', signal: AbortSignal): Promise<void> | undefined {
    if (this.#isComplete || (this.#isSettled && need === 'write')) return undefined;
    if (this.#world.monotonicMs() < this.#againMs)
      return this.#isSettled ? undefined : Promise.reject(this.#failure);
    this.#underWay ??= this.#probe().finally(() => {
      this.#underWay = undefined;
    });
    return unlessAborted(this.#underWay, signal);
  }

  /** Nothing of a probe is under way when it resolves. */
  async close(): Promise<void> {
    const ended = this.#ended();
    const late = new AbortController();
    const grace = this.#world.sleep(graceMs, late.signal).catch(() => {});
    await Promise.race([ended, grace]);
    late.abort();
    this.#closing.abort(new Error('closed'));
    await ended;
  }

  async #ended(): Promise<void> {
    await this.#underWay?.catch(() => {});
    await this.#rest;
  }

  async #probe(): Promise<void> {
    try {
      const signal = AbortSignal.any([AbortSignal.timeout(longestMs), this.#closing.signal]);
      if (await this.#stillDenied?.(signal)) return;
      const { capabilities, removalTried, stillDenied, cleaned } = await probe(
        this.#store,
        this.#world,
        signal,
      );
      this.#stillDenied = removalTried ? undefined : stillDenied;
      this.#rest = cleaned;
      await this.#found(capabilities, removalTried);
      this.#isSettled = true;
      this.#isComplete = removalTried;
    } catch (failure) {
      this.#failure = told(failure);
      throw this.#failure;
    } finally {
      this.#againMs = this.#world.monotonicMs() + holdMs;
    }
  }
}

function told(failure: unknown): unknown {
  if (!(failure instanceof Error) || failure.name !== 'TimeoutError') return failure;
  const seconds = longestMs / 1_000;
  return new StoreFailure('unavailable', `what the site promises could not be tried within ${seconds} s`);
}

function unlessAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abandon = () => reject(signal.reason as Error);
    if (signal.aborted) abandon();
    signal.addEventListener('abort', abandon, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abandon));
  });
}
