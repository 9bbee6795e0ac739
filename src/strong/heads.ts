import { StoreFailure } from '../model/failure.ts';
import { noMetadata } from '../model/metadata.ts';
import type { SiteId } from '../model/version.ts';
import type { Condition, ObjectStore, Token } from '../ports/object-store.ts';
import { decodeHead, encodeHead, type Head, headName } from './head.ts';
import { type Heads, majorityOf } from './judge.ts';
import type { Move } from './moves.ts';
import { type Gathered, gather, type Operation, pause, shortOf } from './operation.ts';

/** What one site holds of a key, and the token that a compare-and-set must name. */
export interface Sighting {
  readonly head: Head | undefined;
  readonly token: Token | undefined;
  /** By the store's own clock; only where it was looked at. */
  readonly writtenMs?: number;
}

export type Sightings = ReadonlyMap<SiteId, Sighting>;

const metadata = { ...noMetadata, contentType: 'application/json' };

export async function look(key: string, store: ObjectStore, signal: AbortSignal): Promise<Sighting> {
  const read = await store.read(headName(key), {}, signal);
  if (!read) return { head: undefined, token: undefined };
  const { token, lastModifiedMs } = read.head;
  return { head: decodeHead(key, await read.bytes()), token, writtenMs: lastModifiedMs };
}

/** One round trip: what a majority holds, or as many sites as are asked for. */
export async function collect(
  operation: Operation,
  wanted = majorityOf(operation.shell.sites.size),
): Promise<Sightings> {
  const { key, signal } = operation;
  const gathered = await gather(
    operation,
    (_, store) => look(key, store, signal),
    (answers) => answers.size >= wanted,
    signal,
  );
  if (gathered.answers.size < majorityOf(operation.shell.sites.size)) throw shortOf(operation, gathered);
  return gathered.answers;
}

export function headsOf(sightings: Sightings): Heads {
  return new Map([...sightings].map(([site, { head }]) => [site, head]));
}

export interface Advance {
  readonly kind: 'moved' | Extract<Move, { kind: 'stay' }>['because'];
  readonly sighting: Sighting;
}

export function isDone({ kind }: Advance): boolean {
  return kind === 'moved' || kind === 'held';
}

/**
 * Changes one site's head by compare-and-set; on a failed condition or a lost answer looks and asks `move` again, which
 * is always about the same write. Nobody else's move is undone, whichever arrives late.
 */
export async function advance(
  operation: Operation,
  store: ObjectStore,
  seen: Sighting | undefined,
  move: (head: Head | undefined) => Move,
): Promise<Advance> {
  const { key, signal, shell } = operation;
  let sighting = seen;
  for (let round = 0; round < shell.settings.rounds; round++) {
    try {
      sighting ??= await look(key, store, signal);
      const next = move(sighting.head);
      if (next.kind === 'stay') return { kind: next.because, sighting };
      const body = encodeHead(next.head);
      const condition = conditionOn(sighting);
      const written = await store.write({ key: headName(key), body, metadata, condition }, signal);
      if (written.kind === 'written')
        return { kind: 'moved', sighting: { head: next.head, token: written.token } };
    } catch (failure) {
      signal.throwIfAborted();
      if (!(failure instanceof StoreFailure) || failure.remedy === 'park' || failure.code === 'denied')
        throw failure;
      await pause(operation, round);
    }
    sighting = undefined;
  }
  throw new StoreFailure('unavailable', `the head of "${key}" changes faster than it can be written`);
}

/** Asks all sites for the same move; those of `seen` are not looked at again. */
export function advanceAll(
  operation: Operation,
  seen: Sightings,
  move: (head: Head | undefined) => Move,
  enough: (answers: ReadonlyMap<SiteId, Advance>) => boolean,
): Promise<Gathered<Advance>> {
  return gather(
    operation,
    (site, store) => advance(operation, store, seen.get(site), move),
    enough,
    operation.signal,
  );
}

export function sightingsOf({ answers }: Gathered<Advance>): Sightings {
  return new Map([...answers].map(([site, { sighting }]) => [site, sighting]));
}

function conditionOn({ token }: Sighting): Condition {
  return token === undefined ? { kind: 'absent' } : { kind: 'match', token };
}
