import { relate, type SiteId, type Version } from '../model/version.ts';

/** A site that is known to hold the key. */
export interface Candidate {
  readonly site: SiteId;
  readonly version: Version;
  readonly healthy: boolean;
}

export interface ReadWish {
  /** Replicas that do not hold this version, or one that covers it, are left out. */
  readonly atLeast: Version;
  /** In [0, 1): balances reads over the healthy replicas. Absent: the nearest first. */
  readonly draw?: number;
}

/**
 * In which order to try the replicas that are new enough, from `candidates` in order of nearness. Those that are not
 * healthy come last: they may be well again. With a draw from a uniform distribution each healthy one is first equally
 * often, whatever stands between them.
 */
export function readOrder(candidates: readonly Candidate[], { atLeast, draw = 0 }: ReadWish): SiteId[] {
  const fresh = candidates.filter(({ version }) => isNewEnough(version, atLeast));
  const healthy = fresh.filter((one) => one.healthy);
  const start = Math.floor(draw * healthy.length);
  const away = fresh.filter((one) => !one.healthy);
  return [...healthy.slice(start), ...healthy.slice(0, start), ...away].map(({ site }) => site);
}

function isNewEnough(version: Version, atLeast: Version): boolean {
  const relation = relate(version, atLeast);
  return relation === 'same' || relation === 'dominates';
}
