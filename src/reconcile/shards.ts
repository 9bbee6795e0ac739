import { compareKeys } from '../model/key.ts';
import type { Shell } from '../replicate/shell.ts';

/** A page of a listing: shards are listed side by side, pages only one after the other. */
const keysPerShard = 1_000;
/** No store gives more at once without being asked. */
const keysPerPage = 2_000;
/** Keys that came since may stand in any shard. */
const growth = 1.1;
const mostShards = 4;
const mostSamples = 64;

export interface Shard {
  /** Exclusive. */
  readonly after?: string;
  /** Inclusive. */
  readonly until?: string;
  /** About as many keys as it holds: a larger page would reach into the next one, and be read there again. */
  readonly pageSize?: number;
}

/** Cuts the key space where the last pass found about equal numbers of keys. */
export async function shardsOf(shell: Shell): Promise<readonly Shard[]> {
  const { boundaries = [], knownKeys = 0 } = await shell.records.siteState(shell.policy.sites[0]!);
  const pageSize = pageSizeFor(knownKeys / (boundaries.length + 1));
  return [...boundaries, undefined].map((until, index) => ({
    ...(index === 0 ? {} : { after: boundaries[index - 1]! }),
    ...(until === undefined ? {} : { until, pageSize }),
  }));
}

/** Another site may hold more keys than the one that was counted: its pages are not to be tiny. */
function pageSizeFor(keys: number): number {
  return Math.max(keysPerShard / 2, Math.min(Math.ceil(keys * growth), keysPerPage));
}

/** Samples keys evenly without knowing how many there will be: when full, every other sample goes. */
export class BoundarySampler {
  #samples: string[] = [];
  #every = 1;
  keys = 0;

  add(key: string): void {
    // A copy: what is cut out of a page keeps all of it in memory.
    if (this.keys++ % this.#every === 0) this.#samples.push(Buffer.from(key).toString());
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
