import { StoreFailure } from '../model/failure.ts';
import type { SiteId } from '../model/version.ts';
import type { Accepted, Versioned } from './head.ts';
import { type Advance, advanceAll, collect, headsOf, isDone, type Sightings, sightingsOf } from './heads.ts';
import { type Base, judge, majorityOf } from './judge.ts';
import { accept, prepare, store } from './moves.ts';
import { type Operation, pause, shortOf } from './operation.ts';
import { type Ballot, compareBallots } from './tag.ts';

/** What the key holds: one round trip where a majority agrees, otherwise what is under way is settled first. */
export async function settle(operation: Operation): Promise<Base> {
  const { shell } = operation;
  let seen = await collect(operation);
  for (let round = 0; round < shell.settings.rounds; round++) {
    const judgement = judge(headsOf(seen), shell.sites.size);
    if (judgement.kind === 'decided') return judgement.held;
    if (judgement.kind === 'behind') {
      seen = await raise(operation, judgement.base, seen);
      continue;
    }
    const slot = await decide(operation, judgement.base, seen, () => undefined);
    if (slot.kind === 'chosen') return slot.held;
    if (slot.kind === 'empty') return judgement.base;
    await pause(operation, round);
    seen = await collect(operation);
  }
  throw new StoreFailure('unavailable', `"${operation.key}" changes faster than it can be read; try again`);
}

/** Writes `newest` back to sites that hold less. A later write met on the way is what they are seen to hold. */
export async function raise(operation: Operation, newest: Versioned, seen: Sightings): Promise<Sightings> {
  const majority = majorityOf(operation.shell.sites.size);
  const move = (head: Parameters<typeof store>[1]) => store(operation.key, head, newest);
  const raised = await advanceAll(operation, seen, move, (answers) => answers.size >= majority);
  if (raised.answers.size < majority) throw shortOf(operation, raised);
  return sightingsOf(raised);
}

/** How the step after `base` was decided. */
export type Slot =
  | { readonly kind: 'chosen'; readonly held: Accepted }
  /** A majority holds `base`, nothing was chosen on top, and nothing that was proposed before can be. */
  | { readonly kind: 'empty' }
  /** Others were at it, too. */
  | { readonly kind: 'again' };

/**
 * One ballot of CASPaxos (Rystsov, 2018) about what follows `base`: a majority promises, then accepts what may already
 * have been chosen, or else `mine`. Two round trips.
 */
export async function decide(
  operation: Operation,
  base: Versioned,
  seen: Sightings,
  mine: () => Versioned | undefined,
): Promise<Slot> {
  const { key, shell } = operation;
  const majority = majorityOf(shell.sites.size);
  const conclusive = (answers: ReadonlyMap<SiteId, Advance>) => {
    const done = [...answers.values()].filter(isDone).length;
    return done >= majority || answers.size - done > shell.sites.size - majority;
  };
  const ballot = nextBallot(operation, seen);
  const promises = await advanceAll(operation, seen, (head) => prepare(key, head, base, ballot), conclusive);
  const granted = [...promises.answers].filter(([, one]) => isDone(one));
  if (granted.length < majority) return again(operation);
  const before = granted
    .flatMap(([, { sighting }]) => sighting.head?.accepted ?? [])
    .sort((a, b) => compareBallots(b.ballot, a.ballot))[0];
  const proposed = before ?? mine();
  if (!proposed) return { kind: 'empty' };
  const held: Accepted = { tag: proposed.tag, value: proposed.value, ballot };
  const promised = new Map(granted.map(([site, { sighting }]) => [site, sighting]));
  const accepts = await advanceAll(operation, promised, (head) => accept(key, head, base, held), conclusive);
  if ([...accepts.answers.values()].filter(isDone).length < majority) return again(operation);
  // Only so that heads stay short: who reads a majority that accepted it knows that it was chosen.
  void advanceAll(
    operation,
    sightingsOf(accepts),
    (head) => store(key, head, held),
    () => false,
  );
  return { kind: 'chosen', held };
}

function again(operation: Operation): Slot {
  operation.signal.throwIfAborted();
  return { kind: 'again' };
}

/** Above all that were seen and used. */
function nextBallot(operation: Operation, seen: Sightings): Ballot {
  const rounds = [...seen.values()].map(({ head }) => head?.promised?.round ?? 0);
  operation.ballot = { round: Math.max(operation.ballot.round, ...rounds) + 1, by: operation.id };
  return operation.ballot;
}
