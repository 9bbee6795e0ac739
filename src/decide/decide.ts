import { type KeyRecord, type Replica, sameContent } from '../model/record.ts';
import { relate, type SiteId } from '../model/version.ts';
import type { Condition, Token } from '../ports/object-store.ts';
import { newestOf } from './resolve.ts';

/** What to do about one key at one target. Skipping is a decision, never an error. */
export type Decision =
  | { readonly kind: 'skip'; readonly because: 'nothing-known' | 'current' }
  /** The target already holds the same content, or the same absence: only the ledger has to learn it. */
  | { readonly kind: 'note'; readonly newest: Replica; readonly because: 'same-content' | 'absent-already' }
  /** Two writes of equal size met, and only reading both bodies can tell whether they are one. */
  | { readonly kind: 'compare'; readonly sites: readonly SiteId[] }
  | {
      readonly kind: 'copy';
      readonly newest: Replica;
      /** Any of these can serve the body. */
      readonly from: readonly SiteId[];
      readonly condition: Condition;
      /** What the copy would bury although it never saw it: kept first. */
      readonly loser?: Replica;
    }
  | { readonly kind: 'remove'; readonly newest: Replica; readonly token: Token; readonly loser?: Replica };

export function decide(record: KeyRecord, target: SiteId): Decision {
  const newest = newestOf(record);
  if (!newest) return { kind: 'skip', because: 'nothing-known' };
  const held = record.replicas[target];
  const winner = newest.replica;
  if (held && relate(held.version, winner.version) === 'same') return { kind: 'skip', because: 'current' };
  const live = held && !held.version.deleted ? held : undefined;
  if (winner.version.deleted) {
    if (!live) return { kind: 'note', newest: winner, because: 'absent-already' };
    return { kind: 'remove', newest: winner, token: live.token!, ...loserOf(live, winner) };
  }
  if (!live) return { kind: 'copy', newest: winner, from: newest.sites, condition: { kind: 'absent' } };
  if (relate(live.version, winner.version) === 'concurrent') {
    const same = sameContent(live, winner);
    if (same) return { kind: 'note', newest: winner, because: 'same-content' };
    if (same === undefined) return { kind: 'compare', sites: unclear(record, target, newest.sites[0]!) };
  }
  return {
    kind: 'copy',
    newest: winner,
    from: newest.sites,
    condition: { kind: 'match', token: live.token! },
    ...loserOf(live, winner),
  };
}

function loserOf(held: Replica, winner: Replica): { loser?: Replica } {
  return relate(held.version, winner.version) === 'concurrent' ? { loser: held } : {};
}

/** The sites whose body or metadata must be read before the two contents can be compared. */
function unclear(record: KeyRecord, ...sites: readonly SiteId[]): SiteId[] {
  return sites.filter((site) => {
    const replica = record.replicas[site]!;
    return replica.digest === undefined || replica.traits === undefined;
  });
}
