import type { SiteId } from '../model/version.ts';
import type { Accepted, Head, Versioned } from './head.ts';
import { nothing } from './moves.ts';
import { type Ballot, compareBallots, compareTags, sameTag, stepsOn, type Tag, zeroTag } from './tag.ts';

/** What was seen of each site that answered; undefined: it has no head. */
export type Heads = ReadonlyMap<SiteId, Head | undefined>;

export function majorityOf(sites: number): number {
  return Math.floor(sites / 2) + 1;
}

export type Judgement =
  /** A majority has it and nothing was accepted on top, or a majority accepted it: what the key holds. */
  | { readonly kind: 'decided'; readonly by: 'tag' | 'ballot'; readonly held: Base; readonly base: Base }
  /** The newest write is not at a majority yet. */
  | { readonly kind: 'behind'; readonly base: Base }
  /** Something was accepted on top of the newest write, and may have been chosen. */
  | { readonly kind: 'undecided'; readonly base: Base };

export interface Base extends Versioned {
  /** A removal that is about to be collected: nothing may be built on it. */
  readonly retired?: true;
}

/** Pure: what follows from the heads of (at least) a majority of `sites`. */
export function judge(heads: Heads, sites: number): Judgement {
  const base = newest(heads);
  const majority = majorityOf(sites);
  const bare: (Head | undefined)[] = [];
  const accepted: Accepted[] = [];
  for (const head of heads.values()) {
    if (!holds(head, base)) continue;
    if (head?.accepted) accepted.push(head.accepted);
    else bare.push(head);
  }
  if (bare.length >= majority) return { kind: 'decided', by: 'tag', held: base, base };
  const chosen = mostAgreed(accepted, majority);
  if (chosen) return { kind: 'decided', by: 'ballot', held: chosen, base };
  return { kind: accepted.length > 0 ? 'undecided' : 'behind', base };
}

/** The write with the highest tag; where there is none, nothing, or the removal that is about to be collected. */
function newest(heads: Heads): Base {
  const seen = [...heads.values()];
  const live = seen.filter((head) => head && !head.retired) as Head[];
  const [first, ...rest] = live;
  if (first) return rest.reduce((max, head) => (compareTags(head.tag, max.tag) > 0 ? head : max), first);
  // An absence beside what is retired: every site had retired it, for longer than any operation lasts.
  const [retired] = seen.filter((head) => head !== undefined);
  if (!retired || seen.includes(undefined)) return nothing;
  return { tag: retired.tag, value: retired.value, retired: true };
}

function holds(head: Head | undefined, base: Versioned): boolean {
  if (compareTags(base.tag, zeroTag) === 0)
    return !head || !!head.retired || compareTags(head.tag, zeroTag) === 0;
  return head !== undefined && compareTags(head.tag, base.tag) === 0;
}

/** What a proposal made on top of `base` came to, as far as what was seen tells. */
export type Fate = 'open' | 'chosen' | 'dead' | 'unclear';

/**
 * `dead`: another was chosen in its place, or a majority went on without having it. `open`: nothing later than `base`
 * was seen, so that the next ballot tells.
 */
export function fateOf(proposal: Tag, base: Tag, heads: Heads, sites: number): Fate {
  let without = 0;
  let passed = false;
  const accepted: Pick<Accepted, 'tag' | 'ballot'>[] = [];
  for (const head of heads.values()) {
    if (!head || head.retired) continue;
    const step = [head.tag, head.closed?.tag].find((tag) => tag && stepsOn(tag, base));
    if (step) return sameTag(step, proposal) ? 'chosen' : 'dead';
    const order = compareTags(head.tag, base);
    passed ||= order > 0;
    const stood = order > 0 ? head.closed : head;
    const since = compareTags(stood?.tag ?? head.tag, base);
    const last = since === 0 ? stood?.accepted : undefined;
    if (last) accepted.push(last);
    // Where less stood, `base` was passed over. Another that was accepted last is of a higher ballot than any at which
    // this one was accepted there, and would not have been proposed had this one been chosen.
    if (order > 0 && since <= 0 && !(last && sameTag(last.tag, proposal))) without += 1;
  }
  const majority = majorityOf(sites);
  const chosen = mostAgreed(accepted, majority);
  if (chosen) return sameTag(chosen.tag, proposal) ? 'chosen' : 'dead';
  if (!passed) return 'open';
  return without >= majority ? 'dead' : 'unclear';
}

function mostAgreed<T extends { readonly ballot: Ballot }>(
  accepted: readonly T[],
  majority: number,
): T | undefined {
  return accepted.find(
    ({ ballot }) => accepted.filter((other) => compareBallots(ballot, other.ballot) === 0).length >= majority,
  );
}
