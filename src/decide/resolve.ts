import type { ConflictRule, RuleOf } from '../model/policy.ts';
import type { KeyRecord, Replica } from '../model/record.ts';
import { compareVersions, relate, type SiteId, type Version } from '../model/version.ts';

/** The write that every site should hold, and who holds it. */
export interface Newest {
  readonly replica: Replica;
  /** Sites that hold exactly this version, in no order. */
  readonly sites: readonly SiteId[];
}

/**
 * Of the writes that no other write covers, the one that the key's conflict rule puts first. Every rule is a total
 * order that agrees with causality, so the greatest of all is never one that another covers, and whoever knows of some
 * of the writes alone never ends elsewhere than who knows of all.
 */
export function newestOf(record: KeyRecord, ruleOf: RuleOf): Newest | undefined {
  let newest: Replica | undefined;
  for (const replica of Object.values(record.replicas)) {
    if (!newest || outranks(replica, newest, record.key, ruleOf)) newest = replica;
  }
  if (!newest) return undefined;
  const winner = newest;
  const sites = Object.keys(record.replicas).filter(
    (site) => relate(record.replicas[site]!.version, winner.version) === 'same',
  );
  return { replica: winner, sites };
}

function outranks(a: Replica, b: Replica, key: string, ruleOf: RuleOf): boolean {
  const relation = relate(a.version, b.version);
  if (relation === 'same') return a.digest !== undefined && b.digest === undefined;
  if (relation === 'concurrent') return compareUnder(ruleOf(key), a.version, b.version) > 0;
  return relation === 'dominates';
}

/**
 * A total order that agrees with causality. `prefer`: what knows of more writes at that site is greater, so that a write
 * there beats all that never saw it, and what was written on top of it inherits that. Were only the write itself
 * preferred, it would lose to the one on top of it, that to a later third, and the third to the first: a circle.
 */
export function compareUnder(rule: ConflictRule, a: Version, b: Version): number {
  if (typeof rule === 'object' && 'prefer' in rule) {
    const ahead = writesKnown(a, rule.prefer) - writesKnown(b, rule.prefer);
    if (ahead !== 0) return ahead;
  }
  return compareVersions(a, b);
}

function writesKnown({ dot, past }: Version, site: SiteId): number {
  const before = past[site] ?? 0;
  return dot.site === site ? Math.max(before, dot.count) : before;
}
