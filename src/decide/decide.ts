import { isMerging, type MergingRule, type RuleOf } from '../model/policy.ts';
import { type KeyRecord, type Replica, sameContent } from '../model/record.ts';
import { compareVersions, covers, relate, type SiteId } from '../model/version.ts';
import type { Condition, Token } from '../ports/object-store.ts';
import { type Newest, newestOf } from './resolve.ts';

/** What to do about one key at one target. Skipping is a decision, never an error. */
export type Decision =
  | { readonly kind: 'skip'; readonly because: 'nothing-known' | 'current' }
  /** The target already holds the same content, or the same absence: only the ledger has to learn it. */
  | { readonly kind: 'note'; readonly newest: Replica; readonly because: 'same-content' | 'absent-already' }
  /** Two writes met, and only reading them can tell whether they are one, or what they are. */
  | { readonly kind: 'compare'; readonly sites: readonly SiteId[] }
  | CopyDecision
  | RemoveDecision
  | MergeDecision;

export interface CopyDecision extends Losing {
  readonly kind: 'copy';
  readonly newest: Replica;
  /** Any of these can serve the body. */
  readonly from: readonly SiteId[];
  readonly condition: Condition;
}

export interface RemoveDecision extends Losing {
  readonly kind: 'remove';
  readonly newest: Replica;
  readonly token: Token;
}

interface Losing {
  /** What would be buried although the winner never saw it: kept first. */
  readonly loser?: Replica;
  /** It gets a key of its own. */
  readonly beside?: true;
  /** Why it lost, where the rule for the key is another than that. */
  readonly because?: string;
}

/** Two live writes become one, which is written over the one that the target holds. */
export interface MergeDecision {
  readonly kind: 'merge';
  readonly rule: MergingRule;
  readonly held: Replica;
  readonly newest: Replica;
  /** Any of these can serve the body of `newest`. */
  readonly from: readonly SiteId[];
  /** The latest write that both know of, where a site still holds it. */
  readonly base?: { readonly site: SiteId; readonly replica: Replica };
}

export function decide(record: KeyRecord, target: SiteId, ruleOf: RuleOf): Decision {
  const newest = newestOf(record, ruleOf);
  if (!newest) return { kind: 'skip', because: 'nothing-known' };
  const held = record.replicas[target];
  const winner = newest.replica;
  // Under a deletion something may lie that came too late: it is cleared away first.
  const isStray = held?.late !== undefined && held.version.deleted;
  if (held && !isStray && relate(held.version, winner.version) === 'same')
    return { kind: 'skip', because: 'current' };
  const live = held && (isStray || !held.version.deleted) ? held : undefined;
  if (winner.version.deleted) {
    if (!live) return { kind: 'note', newest: winner, because: 'absent-already' };
    return { kind: 'remove', newest: winner, token: live.token!, ...losing(record, live, winner, ruleOf) };
  }
  if (!live) return { kind: 'copy', newest: winner, from: newest.sites, condition: { kind: 'absent' } };
  if (isStray) return { ...overwrite(live, newest), ...losing(record, live, winner, ruleOf) };
  return relate(live.version, winner.version) === 'concurrent'
    ? settle(record, target, live, newest, ruleOf)
    : overwrite(live, newest);
}

/** What to do where the target holds a write that never saw the winner, nor the winner it. */
function settle(
  record: KeyRecord,
  target: SiteId,
  held: Replica,
  newest: Newest,
  ruleOf: RuleOf,
): Exclude<Decision, { kind: 'skip' }> {
  const winner = newest.replica;
  const same = sameContent(held, winner);
  if (same) return { kind: 'note', newest: winner, because: 'same-content' };
  const readFirst = unclear(record, target, newest.sites[0]!);
  if (same === undefined) return { kind: 'compare', sites: readFirst };
  const rule = ruleOf(record.key);
  if (!isMerging(rule)) return { ...overwrite(held, newest), ...losing(record, held, winner, ruleOf) };
  if (held.unread || winner.unread) return { kind: 'compare', sites: readFirst };
  return { kind: 'merge', rule, held, newest: winner, from: newest.sites, ...baseOf(record, held, winner) };
}

function overwrite(held: Replica, { replica, sites }: Newest): CopyDecision {
  return { kind: 'copy', newest: replica, from: sites, condition: { kind: 'match', token: held.token! } };
}

function losing({ key }: KeyRecord, held: Replica, winner: Replica, ruleOf: RuleOf): Losing {
  if (held.late) return { loser: { ...held, version: held.late } };
  if (relate(held.version, winner.version) !== 'concurrent') return {};
  return ruleOf(key) === 'keep-both' ? { loser: held, beside: true } : { loser: held };
}

/** Instead of a merge that cannot be: the last writer wins, and the other is kept. */
export function withoutMerge(decision: MergeDecision, because: string): CopyDecision {
  const { held, newest, from } = decision;
  return { ...overwrite(held, { replica: newest, sites: from }), loser: held, because };
}

/** Instead of a merge that somebody did not want: the other gets a key of its own. */
export function besides({ held, newest, from }: MergeDecision): CopyDecision {
  return { ...overwrite(held, { replica: newest, sites: from }), loser: held, beside: true };
}

function baseOf({ replicas }: KeyRecord, a: Replica, b: Replica): Pick<MergeDecision, 'base'> {
  const known = Object.keys(replicas).filter((site) => {
    const { version, unread, token } = replicas[site]!;
    const isBefore = covers(a.version.past, version.dot) && covers(b.version.past, version.dot);
    return isBefore && !unread && token !== undefined;
  });
  const [site] = known.sort((x, y) => compareVersions(replicas[y]!.version, replicas[x]!.version));
  return site === undefined ? {} : { base: { site, replica: replicas[site]! } };
}

/** The sites whose body or metadata must be read before the two contents can be compared. */
function unclear(record: KeyRecord, ...sites: readonly SiteId[]): SiteId[] {
  return sites.filter((site) => {
    const replica = record.replicas[site]!;
    return replica.digest === undefined || replica.traits === undefined || replica.unread;
  });
}
