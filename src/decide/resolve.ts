import type { KeyRecord, Replica } from '../model/record.ts';
import { compareVersions, relate, type SiteId } from '../model/version.ts';

/** The write that every site should hold, and who holds it. */
export interface Newest {
  readonly replica: Replica;
  /** Sites that hold exactly this version, in no order. */
  readonly sites: readonly SiteId[];
}

/**
 * Last writer wins: of the writes that no other write covers, the one with the greatest stamp.
 * The order agrees with causality, so the greatest of all is never one that another covers.
 */
export function newestOf(record: KeyRecord): Newest | undefined {
  let newest: Replica | undefined;
  for (const replica of Object.values(record.replicas)) {
    if (!newest || outranks(replica, newest)) newest = replica;
  }
  if (!newest) return undefined;
  const winner = newest;
  const sites = Object.keys(record.replicas).filter(
    (site) => relate(record.replicas[site]!.version, winner.version) === 'same',
  );
  return { replica: winner, sites };
}

function outranks(a: Replica, b: Replica): boolean {
  const relation = relate(a.version, b.version);
  if (relation === 'same') return a.digest !== undefined && b.digest === undefined;
  if (relation === 'concurrent') return compareVersions(a.version, b.version) > 0;
  return relation === 'dominates';
}
