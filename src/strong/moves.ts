import { type Accepted, type Head, removal, type Versioned } from './head.ts';
import { type Ballot, compareBallots, compareTags, zeroTag } from './tag.ts';

/** What a site's head becomes, or why it stays. Pure: a failed compare-and-set asks again about what is there now. */
export type Move =
  | { readonly kind: 'to'; readonly head: Head }
  /**
   * `held`: it is so already. `later`: a later write stands there. `outvoted`: a higher ballot was promised.
   * `retired`: what this would build on is about to be collected.
   */
  | { readonly kind: 'stay'; readonly because: 'held' | 'later' | 'outvoted' | 'retired' };

const stay = (because: 'held' | 'later' | 'outvoted' | 'retired'): Move => ({ kind: 'stay', because });

/** The write `next`, or one that was already chosen: put there unless something later is. */
export function store(key: string, head: Head | undefined, next: Versioned): Move {
  const order = standing(head, next);
  if (order === 0) return stay('held');
  if (order > 0) return stay('later');
  return { kind: 'to', head: raised(key, head, next) };
}

/** Promises to accept no lower ballot on top of `base`; brings `base` here where less is. */
export function prepare(key: string, head: Head | undefined, base: Versioned, ballot: Ballot): Move {
  const order = standing(head, base);
  if (order > 0) return stay('later');
  if (order === 0 && head) {
    if (head.retired) return stay('retired');
    const higher = compareBallots(head.promised, ballot);
    if (higher === 0) return stay('held');
    return higher > 0 ? stay('outvoted') : { kind: 'to', head: { ...head, promised: ballot } };
  }
  return { kind: 'to', head: { ...raised(key, head, base), promised: ballot } };
}

/** Accepts `proposal` on top of `base`, unless a higher ballot was promised. */
export function accept(key: string, head: Head | undefined, base: Versioned, proposal: Accepted): Move {
  const { ballot } = proposal;
  const order = standing(head, base);
  if (order > 0) return stay('later');
  if (order === 0 && head) {
    if (head.retired) return stay('retired');
    if (compareBallots(head.promised, ballot) > 0) return stay('outvoted');
    if (compareBallots(head.accepted?.ballot, ballot) === 0) return stay('held');
    return { kind: 'to', head: { ...head, promised: ballot, accepted: proposal } };
  }
  return { kind: 'to', head: { ...raised(key, head, base), promised: ballot, accepted: proposal } };
}

/** Ends a removal that every site has. */
export function retire(head: Head | undefined, removed: Versioned): Move {
  if (!head || compareTags(head.tag, removed.tag) !== 0 || head.accepted) return stay('later');
  if (head.retired) return stay('held');
  const { key, tag, value } = head;
  return { kind: 'to', head: { key, tag, value, retired: true } };
}

/**
 * How what stands at a site is ordered to `other`. What is retired comes before everything but itself: a lower tag
 * beside it belongs to the key's next life, because every site had the removal before any site retired it.
 */
function standing(head: Head | undefined, other: Versioned): number {
  const order = compareTags(head?.tag ?? zeroTag, other.tag);
  return head?.retired && order !== 0 ? -1 : order;
}

function raised(key: string, head: Head | undefined, next: Versioned): Head {
  const { tag, value } = next;
  if (!head && compareTags(tag, zeroTag) === 0) return { key, tag, value };
  if (!head || head.retired) return { key, tag, value, closed: { tag: zeroTag } };
  const { accepted } = head;
  const over = accepted && { accepted: { tag: accepted.tag, ballot: accepted.ballot } };
  return { key, tag, value, closed: { tag: head.tag, ...over } };
}

export const nothing: Versioned = { tag: zeroTag, value: removal };
