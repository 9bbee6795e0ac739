import type { KeyRecord } from '../model/record.ts';
import { relate, type SiteId } from '../model/version.ts';

export interface Retention {
  /** When this pass began. Milliseconds since 1970. */
  readonly nowMs: number;
  readonly retentionMs: number;
}

/**
 * What to do about a key that no site lists, where all sites were listed: `mark` when from now on every site is known
 * to hold the deletion, `collect` when that has been so for the whole retention.
 */
export function collection(
  record: KeyRecord,
  sites: readonly SiteId[],
  { nowMs, retentionMs }: Retention,
): 'keep' | 'mark' | 'collect' {
  if (!isGoneEverywhere(record, sites)) return 'keep';
  if (record.goneMs === undefined || record.goneMs > nowMs) return 'mark';
  return nowMs - record.goneMs >= retentionMs ? 'collect' : 'keep';
}

/** Every site holds one and the same deletion. */
function isGoneEverywhere({ replicas }: KeyRecord, sites: readonly SiteId[]): boolean {
  if (sites.some((site) => replicas[site]?.token !== undefined)) return false;
  const [first, ...others] = sites.map((site) => replicas[site]?.version);
  if (!first?.deleted) return false;
  return others.every((version) => version !== undefined && relate(version, first) === 'same');
}

/** The greatest count of any dot that is forgotten with the record. */
export function countsOf({ replicas, floor = 0 }: KeyRecord): number {
  const counts = Object.values(replicas).flatMap(({ version, seen = {} }) => [
    version.dot.count,
    ...Object.values(version.past),
    ...Object.values(seen),
  ]);
  return Math.max(floor, ...counts);
}

/**
 * Until when what was decided at `decidedMs` may be carried out. A worker that slept meanwhile decides again: what it
 * still holds for absent or current may have been deleted, and the deletion collected.
 */
export function freshUntilMs(decidedMs: number, retentionMs: number): number {
  return decidedMs + retentionMs / 2;
}
