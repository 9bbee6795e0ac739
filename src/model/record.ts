import type { StoreDigests, Token } from '../ports/object-store.ts';
import { longestInFlightMs, sendingOf } from './entry.ts';
import type { Buried } from './tombstone.ts';
import { dotName, relate, type SiteId, type Vector, type Version } from './version.ts';

/** What one site is known to hold of one key, and the proof. */
export interface Replica {
  readonly version: Version;
  /** Absent when `version.deleted`, unless `late`. */
  readonly token?: Token;
  /** Bytes; 0 when deleted. */
  readonly size: number;
  /** See digest.ts; absent while nobody has read the body. */
  readonly digest?: string;
  /** As the store reports it. */
  readonly md5?: string;
  /** Hash of everything a user set beside the body. */
  readonly traits?: string;
  /** Which sending of the body it was; see entry.ts. */
  readonly sending?: string;
  /** Which ones were confirmed here before, of those in whose time others may still be in flight; at most `mostEarlier`. */
  readonly earlier?: readonly string[];
  /** What a deletion removed here; absent where nothing was. */
  readonly removed?: Token;
  /** What lies here is an old write of ours, this one, that took effect after it had been deleted: to be cleared away. */
  readonly late?: Version;
  /** Of the body's beginning, in bits per byte; absent where nobody asked, or it is too short to tell. */
  readonly entropy?: number;
  /** Writes this site has seen lose, beyond the past of `version`. */
  readonly seen?: Vector;
  /**
   * A deletion that was only noted: nothing was removed here, because nothing was known to be here. What turns up
   * with an older version is a late copy, not something that somebody brought back.
   */
  readonly noted?: true;
  /** Known from a listing alone: its metadata has not been read yet. */
  readonly unread?: true;
  /** A deletion that this ledger did not see happen, but read back from a tombstone at the site. */
  readonly recalled?: Recalled;
}

export interface Recalled {
  /** When the tombstone was written, by the clock of the site's store. Milliseconds since 1970. */
  readonly writtenMs: number;
  /** See tombstone.ts. */
  readonly buried: Readonly<Record<SiteId, Buried>>;
}

/** For a deletion of what `held` says. */
export function removedFrom(held: Replica | undefined): { removed?: Token } {
  return held?.token === undefined ? {} : { removed: held.token };
}

/** Everything known of a key. Sites that are absent were never seen to hold it. */
export interface KeyRecord {
  readonly key: string;
  readonly replicas: Readonly<Record<SiteId, Replica>>;
  /**
   * Writes of the key may have been forgotten whose dots counted up to this: later ones count on from here, so that no
   * dot ever names two writes. Absent: nothing was forgotten.
   */
  readonly floor?: number;
  /** Dots under which a site was asked for a write that another one took, and the operation of that write. */
  readonly claims?: Readonly<Record<string, string>>;
  /** Since when every site is known to hold the deletion; milliseconds since 1970. Any change takes it back. */
  readonly goneMs?: number;
}

export function emptyRecord(key: string, floor = 0): KeyRecord {
  return { key, replicas: {}, ...(floor > 0 ? { floor } : {}) };
}

export function withReplica(record: KeyRecord, site: SiteId, replica: Replica): KeyRecord {
  const { [site]: before } = record.replicas;
  return withReplicas(record, {
    ...record.replicas,
    [site]: { ...replica, ...earlierThan(replica, before) },
  });
}

export function withClaims(record: KeyRecord, versions: readonly Version[]): KeyRecord {
  if (versions.length === 0) return record;
  const claims = versions.map(({ dot, operation }) => [dotName(dot), operation]);
  return { ...record, claims: { ...record.claims, ...Object.fromEntries(claims) } };
}

/** More writes of one key in `longestInFlightMs` than that, and nobody is told apart any more. */
export const mostEarlier = 16;

function earlierThan(replica: Replica, before: Replica | undefined): Pick<Replica, 'earlier'> {
  const { sending } = replica;
  const known = [...(before?.earlier ?? []), ...(before?.sending === undefined ? [] : [before.sending])];
  const sinceMs = (sendingOf(sending ?? before?.sending ?? '')?.ms ?? 0) - longestInFlightMs;
  const earlier = known.filter((one) => one !== sending && (sendingOf(one)?.ms ?? 0) >= sinceMs);
  return earlier.length === 0 ? {} : { earlier: earlier.slice(-mostEarlier) };
}

/** What is no longer taken for a replica leaves the counts of its writes behind. */
export function withoutReplica(record: KeyRecord, site: SiteId): KeyRecord {
  const { [site]: gone, ...others } = record.replicas;
  const counts = gone
    ? [gone.version.dot.count, ...Object.values({ ...gone.version.past, ...gone.seen })]
    : [];
  return withReplicas({ ...record, floor: Math.max(record.floor ?? 0, ...counts) }, others);
}

function withReplicas({ key, floor, claims }: KeyRecord, replicas: KeyRecord['replicas']): KeyRecord {
  return { key, replicas, ...(floor ? { floor } : {}), ...(claims ? { claims } : {}) };
}

/** The same write of the same object, whatever else has been learned of it. */
export function sameReplica(a: Replica | undefined, b: Replica | undefined): boolean {
  if (!a || !b) return a === b;
  return a.token === b.token && relate(a.version, b.version) === 'same';
}

/**
 * The same bytes and the same metadata. `undefined`: it cannot be told without reading the bodies.
 * An MD5 that differs proves nothing: with KMS encryption an S3 ETag looks like one and is none.
 */
export function sameContent(a: Replica, b: Replica): boolean | undefined {
  if (a.version.deleted || b.version.deleted) return a.version.deleted === b.version.deleted;
  if (a.size !== b.size) return false;
  if (a.traits !== undefined && b.traits !== undefined && a.traits !== b.traits) return false;
  if (a.traits === undefined || b.traits === undefined) return undefined;
  if (a.digest !== undefined && b.digest !== undefined) return a.digest === b.digest;
  if (a.size === 0 || (a.md5 !== undefined && a.md5 === b.md5)) return true;
  return undefined;
}

export function md5Of(digests: StoreDigests): { md5?: string } {
  return digests.md5 === undefined ? {} : { md5: digests.md5 };
}
