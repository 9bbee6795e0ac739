import type { ObjectMetadata } from './metadata.ts';
import type { Pattern } from './pattern.ts';
import type { SiteId } from './version.ts';

/** Which sites hold which keys. Plain data, read from the configuration (docs/placement.md). */
export type Placement =
  | { readonly kind: 'everywhere' }
  | ({ readonly kind: 'shard' } & Spread)
  | {
      readonly kind: 'geo';
      /** In order: the first that matches a key decides alone. */
      readonly rules: readonly GeoRule[];
      /** Keys that no rule matches. Absent: they are placed nowhere. */
      readonly otherwise?: 'everywhere' | Territory;
    };

/** Some of the sites, chosen by rendezvous hashing. */
export interface Spread {
  /** How many sites hold a key. */
  readonly copies: number;
  /** Keys with equal shard keys stand at the same sites. Default: `key`. */
  readonly by?: ShardKey;
  /** A site's share against the others; 1 where none is given, 0: takes nothing. */
  readonly weights?: Readonly<Record<SiteId, number>>;
}

/**
 * The whole key, one named segment of it (`{tenant}/**`), or a metadata entry. A key whose name does not match, or that
 * has no such entry, is sharded by its whole name.
 */
export type ShardKey = 'key' | { readonly part: Pattern } | { readonly metadata: string };

/** Where keys may be: at sites of any of `jurisdictions` that are also among `sites`; all of them, or `copies`. */
export interface Territory extends Partial<Spread> {
  /** Compared exactly. */
  readonly jurisdictions?: readonly string[];
  readonly sites?: readonly SiteId[];
}

/** Every condition that is given must hold. */
export interface GeoRule extends Territory {
  readonly match?: Pattern;
  /** User metadata: lower-case names, exact values. */
  readonly metadata?: Readonly<Record<string, string>>;
  readonly tags?: Readonly<Record<string, string>>;
}

/** A site, or whatever else bodies and names pass through: the bus, the ledger, a worker. */
export interface Place {
  readonly name: string;
  /** All that it lies in, such as `EU` and `DE`. Empty: unknown. */
  readonly jurisdictions: readonly string[];
}

/** Of the body that is to be placed, be it a loser. A field that is absent is unknown, an empty one known to be empty. */
export type Attributes = Partial<Pick<ObjectMetadata, 'user' | 'tags'>>;

/** What decided: the rule's index from 0, or `otherwise`; `all` without rules. */
export type RuleName = number | 'otherwise' | 'all';

export interface Nowhere {
  readonly kind: 'nowhere';
  /** For a person: why, and what to do. */
  readonly because: string;
}

/** To be asked again with what is missing; nothing is guessed. */
export interface NeedsMetadata {
  readonly kind: 'needs-metadata';
  readonly missing: 'user' | 'tags';
}

/** Lists of sites are in the order of the dataset's: nearest first. */
export type Verdict =
  | {
      readonly kind: 'placed';
      /** May hold the key. */
      readonly allowed: readonly SiteId[];
      /** Should hold it: some of `allowed`, or all. */
      readonly assigned: readonly SiteId[];
      readonly rule: RuleName;
    }
  | Nowhere
  | NeedsMetadata;

/** How the copies of one key move: which sites gain, lose and keep it. */
export interface Rebalance {
  readonly add: readonly SiteId[];
  readonly drop: readonly SiteId[];
  readonly keep: readonly SiteId[];
}

export type PlacementChange =
  /** `forbidden`: those of `drop` that may not hold the key; no new byte of it goes there. */
  | ({ readonly kind: 'move'; readonly forbidden: readonly SiteId[] } & Rebalance)
  /** Nothing is copied or dropped: it is parked where it stands, and named. */
  | { readonly kind: 'stay'; readonly at: readonly SiteId[]; readonly because: Nowhere | NeedsMetadata };
