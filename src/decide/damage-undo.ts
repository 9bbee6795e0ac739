import { type KeyRecord, type Replica, sameContent } from '../model/record.ts';
import { stampOf } from '../model/stamp.ts';
import { compareVersions, relate, type SiteId } from '../model/version.ts';

/** A body of before that a site still has: under its key, or kept aside as `keptAs`. */
export interface Former {
  readonly site: SiteId;
  readonly keptAs?: string;
  readonly stamp: string;
  readonly size: number;
}

/** A body that was put aside when something was written over it. */
export interface Aside extends Former {
  readonly keptAs: string;
  /** When that was. Milliseconds since 1970. */
  readonly sinceMs: number;
}

/** What becomes of one key when everything since `sinceMs` is taken back. */
export type Undoing =
  | { readonly kind: 'leave'; readonly because: 'unchanged' | 'created-since' }
  | { readonly kind: 'restore'; readonly from: Former }
  /** It was changed, and nobody holds what stood there before. */
  | { readonly kind: 'lost' };

/**
 * For a key whose newest write was made since. Of what stood there before only the latest counts: an older one was not
 * there at that time, nor was what had been put aside by then.
 */
export function undoing(
  record: KeyRecord,
  newest: Replica,
  asides: readonly Aside[],
  sinceMs: number,
): Undoing {
  const isBefore = (stamp: string) => stamp < stampOf(sinceMs);
  const held = Object.entries(record.replicas)
    .filter(([, { version }]) => !version.deleted && relate(version, newest.version) !== 'same')
    .filter(([, { version }]) => isBefore(version.stamp))
    .sort(([, a], [, b]) => compareVersions(a.version, b.version))
    .map(([site, { version, size }]): Former => ({ site, stamp: version.stamp, size }));
  const kept = asides
    .filter((aside) => aside.sinceMs >= sinceMs && isBefore(aside.stamp))
    .map(({ site, keptAs, stamp, size }): Former => ({ site, keptAs, stamp, size }));
  const latest = [...kept, ...held].reduce<Former | undefined>(
    (best, one) => (best === undefined || one.stamp >= best.stamp ? one : best),
    undefined,
  );
  const there = latest?.keptAs === undefined && latest ? record.replicas[latest.site] : undefined;
  if (there && sameContent(there, newest)) return { kind: 'leave', because: 'unchanged' };
  if (latest) return { kind: 'restore', from: latest };
  const isFirst = Object.keys(newest.version.past).length === 0;
  return isFirst ? { kind: 'leave', because: 'created-since' } : { kind: 'lost' };
}
