import { compareKeys } from '../model/key.ts';
import type { Shell } from '../replicate/shell.ts';

/** A page of a listing: shards are listed side by side, pages only one after the other. */
const keysPerShard = 1_000;
const mostShards = 4;
const mostSamples = 64;

export interface Shard {
  /** Exclusive. */
  readonly after?: string;
  /** Inclusive. */
  readonly until?: string;
}

/** Cuts the key space where the last pass found about equal numbers of keys. */
export async function shardsOf(shell: Shell): Promise<readonly Shard[]> {
  const { boundaries = [] } = await shell.records.siteState(shell.policy.sites[0]!);
  return [...boundaries, undefined].map((until, index) => ({
    ...(index === 0 ? {} : { after: boundaries[index - 1]! }),
    ...(until === undefined ? {} : { until }),
  }));
}

/** Samples keys evenly without knowing how many there will be: when full, every other sample goes. */
export class BoundarySampler {
  #samples: string[] = [];
  #every = 1;
  keys = 0;

  add(key: string): void {
    if (this.keys++ % this.#every === 0) this.#samples.push(key);
    if (this.#samples.length < mostSamples) return;
    this.#samples = this.#samples.filter((_, index) => index % 2 === 0);
    this.#every *= 2;
  }

  /** Keys that cut what was seen into shards of about equal size, in order. */
  boundaries(): string[] {
    const shards = Math.min(mostShards, Math.floor(this.keys / keysPerShard) + 1);
    const sorted = [...this.#samples].sort(compareKeys);
    return Array.from(
      { length: shards - 1 },
      (_, index) => sorted[Math.floor(((index + 1) * sorted.length) / shards)]!,
    );
  }
}
