import { compareKeys } from '../../model/key.ts';

/** A run is split in two when it grows beyond this: small enough to shift quickly, large enough to be few. */
const maxRun = 1_024;

/**
 * Keys in the order of `compareKeys`: runs of sorted keys, so that an insertion shifts at most one run.
 * 10^5 insertions in any order take well under a second.
 */
export class SortedKeys {
  /** Never empty runs; every key of a run comes before every key of the next. */
  readonly #runs: string[][] = [];

  /** Adding a key that is there already changes nothing. */
  add(key: string): void {
    if (this.#runs.length === 0) {
      this.#runs.push([key]);
      return;
    }
    const at = Math.min(this.#runOf(key), this.#runs.length - 1);
    const run = this.#runs[at]!;
    const index = firstNotBefore(run, key);
    if (run[index] === key) return;
    run.splice(index, 0, key);
    if (run.length > maxRun) this.#runs.splice(at + 1, 0, run.splice(maxRun / 2));
  }

  delete(key: string): void {
    const at = this.#runOf(key);
    const run = this.#runs[at];
    if (run === undefined) return;
    const index = firstNotBefore(run, key);
    if (run[index] !== key) return;
    run.splice(index, 1);
    if (run.length === 0) this.#runs.splice(at, 1);
  }

  /** Every key from `start` on, itself included. Not to be changed while it is walked. */
  *from(start: string): Generator<string, void, undefined> {
    let at = this.#runOf(start);
    let index = firstNotBefore(this.#runs[at] ?? [], start);
    for (; at < this.#runs.length; at++, index = 0) {
      const run = this.#runs[at]!;
      for (; index < run.length; index++) yield run[index]!;
    }
  }

  /** The first run whose last key is not before `key`: the one that holds it if any does. */
  #runOf(key: string): number {
    let low = 0;
    let high = this.#runs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareKeys(this.#runs[middle]!.at(-1)!, key) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function firstNotBefore(run: readonly string[], key: string): number {
  let low = 0;
  let high = run.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareKeys(run[middle]!, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
