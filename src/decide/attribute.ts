import { type Entry, entryOn, longestInFlightMs, sendingOf, traitsOf } from '../model/entry.ts';
import { type KeyRecord, md5Of, mostEarlier, type Replica, removedFrom } from '../model/record.ts';
import { nextStamp, type Stamp, stampAfter } from '../model/stamp.ts';
import {
  covers,
  derivedOperation,
  dotName,
  historyOf,
  join,
  relate,
  type SiteId,
  type Vector,
  type Version,
} from '../model/version.ts';
import type { ListEntry, Token } from '../ports/object-store.ts';
import { demandTimely } from './drift.ts';

/** What was seen of a key at a site. `digest` when the body was read for it. */
export type Sighting =
  | { readonly kind: 'present'; readonly entry: ListEntry; readonly digest?: string }
  /** Proved: the site is the one it was, it answered, and the key is not there. */
  | { readonly kind: 'absent' };

/** Whose write it is. */
export type Attribution =
  /** The one in the ledger. */
  | { readonly kind: 'known' }
  /** A listing told too little: look at the object itself. */
  | { readonly kind: 'needs-head' }
  /** Metadata says it is a copy, but only the body can prove it. */
  | { readonly kind: 'needs-digest' }
  /** Isobar's own, whose confirmation was lost; or its native original, told by a copy elsewhere. */
  | { readonly kind: 'ours'; readonly replica: Replica }
  /** Somebody else's: adopted as a new write at this site, on top of what the site last held. */
  | { readonly kind: 'native'; readonly replica: Replica };

export interface AttributionInput {
  readonly site: SiteId;
  readonly record: KeyRecord;
  readonly sighting: Sighting;
  readonly nowMs: number;
  readonly sameWrite: (recorded: Token, seen: Token) => boolean;
  /** The native writes that copies at other sites say they were made from, when the ledger knows nothing. */
  readonly origins?: readonly Entry[];
}

/** Throws `invalid` for a version that another clock stamped too far ahead. */
export function attribute(input: AttributionInput): Attribution {
  const { site, record, sighting } = input;
  const held = record.replicas[site];
  if (sighting.kind === 'absent') {
    if (held?.version.deleted && held.late)
      return { kind: 'ours', replica: { version: held.version, size: 0 } };
    if (!held || held.version.deleted) return { kind: 'known' };
    return { kind: 'native', replica: adoptedDeletion(record, site, held) };
  }
  const { entry: seen } = sighting;
  const recorded = held?.token !== undefined && input.sameWrite(held.token, seen.token);
  if (recorded && !held.unread) return { kind: 'known' };
  const buried = buriedAt(input, seen);
  if (buried) return { kind: 'ours', replica: { ...replicaOf(seen, sighting.digest), version: buried } };
  if (!seen.metadata) return { kind: 'needs-head' };
  const carried = entryOn(seen.key, seen.metadata);
  const entry = carried && unclaimed(record, site, carried);
  if (held && entry && isLate(input, seen, entry)) {
    const replica = { ...replicaOf(seen, sighting.digest), ...sentAs(entry), late: entry.version };
    // A deletion may be known here alone: it stands, whatever lies there still.
    return {
      kind: 'ours',
      replica: { ...replica, version: held.version.deleted ? held.version : entry.version },
    };
  }
  const copied = entry ? ownWrite(input, seen, entry, sighting.digest) : originalOf(input, seen);
  if (copied === 'needs-digest') return { kind: 'needs-digest' };
  const replica = replicaOf(seen, sighting.digest);
  // What others have seen already wins nothing, whatever its stamp.
  const isNews =
    copied &&
    !Object.values(record.replicas).some((one) => !one.unread && covers(seenBy(one), copied.version.dot));
  if (isNews) demandTimely(copied.version, site, record.key, input.nowMs);
  if (copied)
    return {
      kind: 'ours',
      replica: { ...replica, ...digestOf(copied), ...sentAs(entry), version: copied.version },
    };
  if (recorded) return { kind: 'native', replica: { ...replica, version: held.version } };
  return { kind: 'native', replica: { ...replica, version: adoptedWrite(input, seen) } };
}

/**
 * A first sighting that a listing gives, before anybody has read the object: adopted for now;
 * `unread` makes the first reader attribute it again.
 */
export function adoptUnread(input: AttributionInput): Replica | undefined {
  if (input.sighting.kind !== 'present' || Object.keys(input.record.replicas).length > 0) return undefined;
  const { entry: seen } = input.sighting;
  return {
    version: adoptedWrite(input, seen),
    token: seen.token,
    size: seen.size,
    ...md5Of(seen.digests),
    unread: true,
  };
}

/** Nobody heard of this write, and its dot went to another: under one of its own it stands beside what covers that. */
function unclaimed(record: KeyRecord, site: SiteId, entry: Entry): Entry {
  const { version } = entry;
  const namesake = Object.values(record.replicas).find(
    (one) => !one.unread && isNamedAs(one.version, version),
  );
  const claimedBy = namesake?.version.operation ?? record.claims?.[dotName(version.dot)];
  if (claimedBy === undefined || claimedBy === version.operation) return entry;
  return { ...entry, version: { ...version, dot: { site, count: nextCount(record, site) } } };
}

function isNamedAs(a: Version, b: Version): boolean {
  return a.dot.site === b.dot.site && a.dot.count === b.dot.count;
}

/** The entry, when the object is what the entry says and the entry is not an old one that somebody brought back. */
function ownWrite(
  input: AttributionInput,
  seen: ListEntry,
  entry: Entry,
  digest: string | undefined,
): Entry | undefined | 'needs-digest' {
  const { record, site } = input;
  if (entry.size !== seen.size || wasBroughtBack(record.replicas[site], seen)) return undefined;
  const others = Object.keys(record.replicas).filter(
    (other) => other !== site || !record.replicas[site]!.unread,
  );
  if (others.length === 0) return entry;
  const held = record.replicas[site];
  const twin = Object.values(record.replicas).find((one) => relate(one.version, entry.version) === 'same');
  const settled = held !== undefined && !held.noted && !held.unread;
  if (settled && covers(seenBy(held), entry.version.dot)) return undefined;
  const expected = entry.digest ?? twin?.digest;
  if (digest !== undefined) return expected === undefined || expected === digest ? entry : undefined;
  if (seen.size === 0) return entry;
  const md5 = twin?.md5;
  if (md5 !== undefined && md5 === seen.digests.md5) return entry;
  return expected === undefined ? entry : 'needs-digest';
}

/**
 * A write of ours that took effect late, after what followed it here was deleted: an old version, but no sending that was
 * ever confirmed here, and not long after it was sent. What somebody brings back is a write of his.
 */
function isLate({ record, site, sameWrite }: AttributionInput, seen: ListEntry, entry: Entry): boolean {
  const held = record.replicas[site];
  const { sending } = entry;
  if (!held || held.unread || sending === undefined || !covers(seenBy(held), entry.version.dot)) return false;
  if (held.removed !== undefined && sameWrite(held.removed, seen.token)) return false;
  const sent = sendingOf(sending);
  const { earlier = [] } = held;
  const isKnown = sending === held.sending || earlier.includes(sending) || earlier.length === mostEarlier;
  return !isKnown && sent?.site === site && Math.abs(seen.lastModifiedMs - sent.ms) <= longestInFlightMs;
}

/** A native object that a copy elsewhere was made from gets its old version back. */
function originalOf(input: AttributionInput, seen: ListEntry): Pick<Entry, 'version' | 'digest'> | undefined {
  return (
    adoptedBefore(input, seen) ??
    input.origins?.find(
      ({ origin }) => origin?.site === input.site && input.sameWrite(origin.token, seen.token),
    )
  );
}

/** Adoption derives its operation from site, key and token: another site may hold the very version that it led to. */
function adoptedBefore(input: AttributionInput, seen: ListEntry): Replica | undefined {
  const { record, site } = input;
  const held = lastHeld(input, seen);
  const operation = derivedOperation(site, record.key, seen.token);
  const adopted = Object.values(record.replicas).find((one) => one.version.operation === operation);
  if (!adopted || adopted.size !== seen.size) return undefined;
  return held && covers(seenBy(held), adopted.version.dot) ? undefined : adopted;
}

/** The very write that a tombstone says the deletion was made on top of. */
function buriedAt({ record, site, sameWrite }: AttributionInput, seen: ListEntry): Version | undefined {
  for (const { recalled } of Object.values(record.replicas)) {
    const buried = recalled?.buried[site];
    if (buried && sameWrite(buried.token, seen.token)) return buried.version;
  }
  return undefined;
}

/** An old version that was written so long after its tombstone that no copy can have been in flight. */
function wasBroughtBack(held: Replica | undefined, seen: ListEntry): boolean {
  return held?.recalled !== undefined && seen.lastModifiedMs > held.recalled.writtenMs + longestInFlightMs;
}

/** What `seen` was written on top of: a tombstone that was read back tells only of what came after it. */
function lastHeld({ record, site }: AttributionInput, seen: ListEntry): Replica | undefined {
  const held = record.replicas[site];
  return held?.recalled && seen.lastModifiedMs <= held.recalled.writtenMs ? undefined : held;
}

function replicaOf(seen: ListEntry, digest: string | undefined): Omit<Replica, 'version'> {
  return {
    token: seen.token,
    size: seen.size,
    ...md5Of(seen.digests),
    ...(seen.metadata ? { traits: traitsOf(seen.metadata) } : {}),
    ...(digest === undefined ? {} : { digest }),
  };
}

function sentAs(entry: Entry | undefined): { sending?: string } {
  return entry?.sending === undefined ? {} : { sending: entry.sending };
}

function digestOf(entry: Pick<Entry, 'digest'>): { digest?: string } {
  return entry.digest === undefined ? {} : { digest: entry.digest };
}

function adoptedWrite(input: AttributionInput, seen: ListEntry): Version {
  const { record, site } = input;
  const held = lastHeld(input, seen);
  return {
    stamp: stampAfter(Math.min(seen.lastModifiedMs, input.nowMs), held ? [held.version.stamp] : []),
    dot: { site, count: nextCount(record, site) },
    past: held ? seenBy(held) : {},
    operation: derivedOperation(site, record.key, seen.token),
    deleted: false,
  };
}

/** Stamped as early as it can have been, so that it never beats a write that was made beside it. */
function adoptedDeletion(record: KeyRecord, site: SiteId, held: Replica): Replica {
  return {
    version: {
      stamp: nextStamp(held.version.stamp),
      dot: { site, count: nextCount(record, site) },
      past: seenBy(held),
      operation: derivedOperation(site, record.key, held.token!, 'deleted'),
      deleted: true,
    },
    size: 0,
    ...removedFrom(held),
  };
}

/**
 * A version for a write through Isobar at `site`: on top of what that site holds, later than all that is known.
 * Where one write was taken by two sites under two dots, either stands for both.
 */
export function nextVersion(
  record: KeyRecord,
  site: SiteId,
  write: { readonly nowMs: number; readonly operation: string; readonly deleted: boolean },
): Version {
  const held = record.replicas[site];
  const replicas = Object.values(record.replicas);
  const stamps: Stamp[] = replicas.map((replica) => replica.version.stamp);
  const same = replicas.filter(({ version }) => version.operation === held?.version.operation);
  return {
    stamp: stampAfter(write.nowMs, stamps),
    dot: { site, count: nextCount(record, site) },
    past: join(...same.map(seenBy)),
    operation: write.operation,
    deleted: write.deleted,
  };
}

/** Everything the holder of this replica has seen. */
export function seenBy(replica: Replica): Vector {
  return join(historyOf(replica.version), replica.seen ?? {});
}

export function nextCount(record: KeyRecord, site: SiteId): number {
  return (
    Math.max(
      record.floor ?? 0,
      ...Object.values(record.replicas).map((replica) => seenBy(replica)[site] ?? 0),
    ) + 1
  );
}
