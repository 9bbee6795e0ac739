import type { DamageRule } from './damage-rule.ts';
import { matcherOf, type Pattern } from './pattern.ts';
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

/** Merges a kind of value that stands at a JSON pointer. */
export type CrdtType = (typeof crdtTypes)[number];

export const crdtTypes = ['counter', 'set', 'map', 'register', 'multi-register'] as const;

/** Somebody's own program that is asked: an HTTP endpoint, or a module. */
export interface Hook {
  readonly url?: string;
  /** Absolute path of a module. */
  readonly module?: string;
  readonly timeoutMs: number;
}

/** Rules that make one body out of two. */
export type MergingRule =
  | 'merge-json'
  /** JSON pointer to type; `yjs`: whole documents of Yjs. */
  | { readonly crdt: 'yjs' | Readonly<Record<string, CrdtType>> }
  | { readonly hook: Hook };

/** What becomes of writes that were made without knowing of each other. */
export type ConflictRule =
  | 'last-writer-wins'
  /** A write at this site wins, and whatever was written on top of it. */
  | { readonly prefer: SiteId }
  /** The last writer keeps the key, the other gets one beside it. */
  | 'keep-both'
  | MergingRule;

/** One rule for every key, or the first whose pattern matches; last writer wins where none does. */
export type Conflicts = ConflictRule | readonly { readonly match: Pattern; readonly rule: ConflictRule }[];

/** The rule for a key: asked only where writes met. */
export type RuleOf = (key: string) => ConflictRule;

export interface Guards {
  readonly maxDeletes: DeleteLimit;
  readonly damage?: readonly DamageRule[];
  /** What replication overwrites or removes stays at its site for so long; so many bytes at each. */
  readonly keep?: { readonly forMs: number; readonly bytes: number };
}

/** How one dataset is replicated. Plain data, read from the configuration. */
export interface Policy {
  readonly dataset: string;
  /** In order of preference: the first is the nearest. */
  readonly sites: readonly SiteId[];
  readonly write: WriteMode;
  readonly reads: 'nearest' | 'balanced';
  readonly conflicts: Conflicts;
  readonly guards: Guards;
  /** How long a deletion is remembered once every site holds it; by default `defaultRetentionMs`. */
  readonly deletions?: { readonly retentionMs: number };
}

export const defaultRetentionMs = 30 * 24 * 3_600_000;

/**
 * The shortest that a configuration may say: a decision may be half as old when it is carried out, and what it sent
 * may be in flight for half an hour (`longestInFlightMs`).
 */
export const leastRetentionMs = 3_600_000;

export function retentionOf({ deletions }: Policy): number {
  return deletions?.retentionMs ?? defaultRetentionMs;
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

/** Compiled once. Throws for a pattern that is malformed. */
export function conflictRules(conflicts: Conflicts): RuleOf {
  if (!Array.isArray(conflicts)) return () => conflicts as ConflictRule;
  const choices = (conflicts as readonly { match: Pattern; rule: ConflictRule }[]).map(({ match, rule }) => ({
    matches: matcherOf(match),
    rule,
  }));
  return (key) => choices.find(({ matches }) => matches(key))?.rule ?? 'last-writer-wins';
}

export function isMerging(rule: ConflictRule): rule is MergingRule {
  return rule === 'merge-json' || (typeof rule === 'object' && ('crdt' in rule || 'hook' in rule));
}
