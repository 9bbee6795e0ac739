import { hash } from 'node:crypto';
import { compareKeys } from './key.ts';
import type { Stamp } from './stamp.ts';

/** As named in the configuration: `[a-z][a-z0-9-]{0,31}`. */
export type SiteId = string;

/** One write: the `count`-th of this key at this site. */
export interface Dot {
  readonly site: SiteId;
  readonly count: number;
}

/** How many writes of every site are covered. Sites that are absent count 0. */
export type Vector = Readonly<Record<SiteId, number>>;

/** What orders the writes of a key: a dotted version vector, with a stamp that breaks ties. */
export interface Version {
  readonly stamp: Stamp;
  readonly dot: Dot;
  /** The past of this write: what the site held when it happened. */
  readonly past: Vector;
  /** 22 characters; one per operation, so that a retry knows its own write. */
  readonly operation: string;
  readonly deleted: boolean;
}

export type Relation = 'same' | 'dominates' | 'dominated' | 'concurrent';

/** How `a` stands to `b`. Equal dots of two operations are concurrent: one of them was made up twice. */
export function relate(a: Version, b: Version): Relation {
  if (a.dot.site === b.dot.site && a.dot.count === b.dot.count) {
    return a.operation === b.operation ? 'same' : 'concurrent';
  }
  if (covers(a.past, b.dot)) return 'dominates';
  return covers(b.past, a.dot) ? 'dominated' : 'concurrent';
}

/** `site.count`. */
export function dotName({ site, count }: Dot): string {
  return `${site}.${count}`;
}

export function covers(vector: Vector, dot: Dot): boolean {
  return (vector[dot.site] ?? 0) >= dot.count;
}

/** Everything `version` knows of, itself included. */
export function historyOf(version: Version): Vector {
  return join(version.past, { [version.dot.site]: version.dot.count });
}

export function join(...vectors: readonly Vector[]): Vector {
  const joined: Record<SiteId, number> = {};
  for (const vector of vectors) {
    for (const [site, count] of Object.entries(vector)) joined[site] = Math.max(joined[site] ?? 0, count);
  }
  return joined;
}

/** A total order that agrees with causality: by stamp, then site, then count, then operation. */
export function compareVersions(a: Version, b: Version): number {
  if (a.stamp !== b.stamp) return a.stamp < b.stamp ? -1 : 1;
  if (a.dot.site !== b.dot.site) return compareKeys(a.dot.site, b.dot.site);
  if (a.dot.count !== b.dot.count) return a.dot.count - b.dot.count;
  return compareKeys(a.operation, b.operation);
}

/** Two workers that adopt the same thing give it the same operation id. */
export function derivedOperation(...parts: readonly string[]): string {
  return hash('sha256', parts.join('\0'), 'buffer').subarray(0, 16).toString('base64url');
}
