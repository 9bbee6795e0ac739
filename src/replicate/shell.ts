import type { Policy, RuleOf } from '../model/policy.ts';
import type { SiteId, Version } from '../model/version.ts';
import type { Bus } from '../ports/bus.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import type { World } from '../ports/world.ts';
import type { BodyPool } from './body-pool.ts';
import type { Breaker } from './breaker.ts';
import type { DamageGuard } from './damage-guard.ts';
import type { DeletionGuard } from './deletion-guard.ts';
import type { MergeFor } from './merge.ts';
import type { Records } from './records.ts';
import type { Semaphore } from './semaphore.ts';
import type { SharedReads } from './shared-reads.ts';

/** One place that holds replicas, as the engine sees it. */
export interface Site {
  readonly id: SiteId;
  /** Guarded: retries, breaker, bounded concurrency. */
  readonly store: ObjectStore;
  readonly breaker: Breaker;
}

/** What is told to whoever watches: logs, metrics, progress. Never changes what happens. */
export interface Events {
  readonly copied?: (event: {
    site: SiteId;
    key: string;
    bytes: number;
    outcome: 'copied' | 'noted' | 'removed' | 'merged';
    version: Version;
  }) => void;
  /** A native write or deletion was found at the site. */
  readonly adopted?: (event: { site: SiteId; key: string; version: Version }) => void;
  readonly failed?: (event: { site: SiteId; key?: string; error: Error }) => void;
  /** A store left something alone, or kept something aside. */
  readonly noticed?: (event: { site: SiteId; text: string }) => void;
  readonly lost?: (event: { site: SiteId; key: string; keptAs: string }) => void;
}

export interface Settings {
  /** Bodies up to this size travel in one piece; larger ones in parts of at least this size. A multiple of a leaf. */
  readonly partSizeBytes: number;
  /** Bodies and parts under way to one target, over all its objects. */
  readonly partBytesInFlight: number;
  /** Keys under way to one target: some are read or confirmed while others are written. */
  readonly keysInFlight: number;
  /** After this long a change is handed to the target's debts, so that nobody waits for a slow site. */
  readonly patienceMs: number;
  /** Observing and deciding again, before the key is left to a later try. */
  readonly rounds: number;
}

export const defaultSettings: Settings = {
  partSizeBytes: 8 * 1024 * 1024,
  partBytesInFlight: 40 * 1024 * 1024,
  keysInFlight: 128,
  patienceMs: 1_000,
  rounds: 6,
};

/** Everything that the path needs for one dataset. */
export interface Shell {
  readonly policy: Policy;
  /** The conflict rule of the policy for a key. */
  readonly ruleOf: RuleOf;
  readonly merges: MergeFor;
  readonly sites: ReadonlyMap<SiteId, Site>;
  readonly records: Records;
  readonly bus: Bus;
  readonly reads: SharedReads;
  readonly pool: BodyPool;
  /** Bytes of bodies that are read before it is decided that they are copied. */
  readonly ahead: Semaphore;
  readonly deletions: DeletionGuard;
  readonly damage: DamageGuard;
  /** Uploads in parts that this worker has in hand: `site\0key`. */
  readonly uploading: Set<string>;
  /** Who only reads writes nothing to any site. */
  readonly onlooking?: true;
  /** Sites that turned out to be the places they were, and not otherwise since. See marker.ts. */
  readonly proved: Set<SiteId>;
  readonly world: World;
  readonly events: Events;
  readonly settings: Settings;
}

export function siteOf(shell: Shell, id: SiteId): Site {
  const site = shell.sites.get(id);
  if (!site) throw new Error(`no site ${id} in dataset ${shell.policy.dataset}`);
  return site;
}
