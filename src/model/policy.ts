import type { SiteId } from './version.ts';

/** When a write through Isobar is acknowledged. */
export type WriteMode =
  /** Durable at one site; the others follow. */
  | { readonly kind: 'async' }
  /** Durable at this many sites. */
  | { readonly kind: 'sync'; readonly acks: 'majority' | 'all' | number };

/** By default the larger of the two: an absolute number of keys, a share of the keys known at the site. */
export interface DeleteLimit {
  readonly keys: number;
  /** 0 to 1. */
  readonly share: number;
}

/** How one dataset is replicated. Plain data, read from the configuration. */
export interface Policy {
  readonly dataset: string;
  /** In order of preference: the first is the nearest. */
  readonly sites: readonly SiteId[];
  readonly write: WriteMode;
  readonly reads: 'nearest' | 'balanced';
  readonly conflicts: 'last-writer-wins';
  readonly guards: { readonly maxDeletes: DeleteLimit };
}

/** How many sites must hold a sync write before it is acknowledged. */
export function acksNeeded(mode: WriteMode, sites: number): number {
  if (mode.kind === 'async') return 1;
  if (mode.acks === 'all') return sites;
  return mode.acks === 'majority' ? Math.floor(sites / 2) + 1 : Math.min(mode.acks, sites);
}

export function deletesAllowed(limit: DeleteLimit, known: number): number {
  return Math.max(limit.keys, Math.floor(limit.share * known));
}
