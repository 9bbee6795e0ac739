import { type Attribution, attribute, type Sighting, seenBy } from '../decide/attribute.ts';
import { isNews } from '../decide/quarantine.ts';
import { BodyDigest } from '../model/digest.ts';
import { type Entry, entryOn, traitsOf } from '../model/entry.ts';
import { StoreFailure } from '../model/failure.ts';
import {
  type KeyRecord,
  md5Of,
  type Replica,
  sameReplica,
  withoutReplica,
  withReplica,
} from '../model/record.ts';
import type { SiteId } from '../model/version.ts';
import type { ListEntry, ObjectStore, Token } from '../ports/object-store.ts';
import { writeTombstone } from './keepsakes.ts';
import { demandProof, proveSite } from './marker.ts';
import { demandIntact, verified, type Whole, wholeId, wholeOf } from './reading.ts';
import { recallKey } from './recall.ts';
import { type Shell, type Site, siteOf } from './shell.ts';

/** A sighting, and what the ledger said of the site before it was asked: what came in between is newer than it. */
export type Seen = Sighting & { readonly before: Replica | undefined };

/** What `site` holds of `key` right now, asked of the site itself. Absence is believed only of a proven site. */
export async function look(shell: Shell, site: SiteId, key: string, signal: AbortSignal): Promise<Seen> {
  const before = (await shell.records.get(key))?.replicas[site];
  const entry = await siteOf(shell, site).store.head(key, signal);
  if (entry) return { kind: 'present', entry, before };
  await proveSite(shell, site, signal);
  return { kind: 'absent', before };
}

/**
 * As `look`, and reads a small body along with its head: what has changed is copied next, and far from the site every
 * request is a round trip. `size` is what a listing said; beyond what memory is free for, the head alone.
 */
export async function lookAhead(
  shell: Shell,
  site: SiteId,
  { key, size }: Pick<ListEntry, 'key' | 'size'>,
  signal: AbortSignal,
): Promise<Seen> {
  const release = size <= shell.settings.partSizeBytes ? shell.ahead.tryAcquire(size) : undefined;
  if (!release) return look(shell, site, key, signal);
  try {
    const before = (await shell.records.get(key))?.replicas[site];
    const whole = await readAtMost(siteOf(shell, site), key, size, signal);
    if (!whole) return await look(shell, site, key, signal);
    const { head, digest } = whole;
    const readers = shell.policy.sites.length - 1;
    shell.reads.offer(wholeId(site, key, head.token), head.size, readers, whole);
    return { kind: 'present', entry: head, digest, before };
  } finally {
    release();
  }
}

/** Undefined when it is absent, larger, or cannot be read: a head may tell more. */
async function readAtMost(
  { id, store }: Site,
  key: string,
  size: number,
  signal: AbortSignal,
): Promise<Whole | undefined> {
  try {
    const read = await store.read(key, {}, signal);
    if (read && read.head.size <= size) {
      const whole = await wholeOf(read, key);
      await demandIntact(whole, id, undefined);
      return whole;
    }
    // Cancels it.
    if (read) for await (const _ of read.body) break;
    return undefined;
  } catch (failure) {
    if (failure instanceof StoreFailure) return undefined;
    throw failure;
  }
}

/**
 * Takes what was seen into the ledger: durable when it resolves, the same whichever worker does it and how often.
 * Looks closer where the sighting tells too little, and again where another worker has learned something meanwhile.
 */
export async function learn(
  shell: Shell,
  site: SiteId,
  key: string,
  sighting: Seen,
  signal: AbortSignal,
  told?: readonly Entry[],
): Promise<KeyRecord> {
  const { store } = siteOf(shell, site);
  const { marker, quarantinedMs, floor = 0 } = await shell.records.siteState(site);
  // What a ledger may have forgotten is known by the marker: dots count on from there.
  if (marker === undefined) await demandProof(shell, site, signal);
  let seen = sighting;
  for (;;) {
    let verdict: Attribution | { readonly kind: 'late' } = { kind: 'known' };
    const origins = told ?? (await originsOf(shell, site, key, signal));
    const record = await shell.records.update(key, (row) => {
      const before = floor > (row.floor ?? 0) ? { ...row, floor } : row;
      if (!sameReplica(before.replicas[site], seen.before)) {
        verdict = { kind: 'late' };
        return undefined;
      }
      verdict = attribute({
        site,
        record: before,
        sighting: seen,
        nowMs: shell.world.nowMs(),
        sameWrite: (recorded, now) => store.sameWrite(recorded, now),
        origins,
      });
      if (quarantinedMs !== undefined && isNews(before, verdict)) {
        if (seen.kind === 'absent') return withoutReplica(before, site);
        throw new Quarantined(site, key);
      }
      return verdict.kind === 'ours' || verdict.kind === 'native'
        ? withReplica(before, site, { ...keptSeen(before, site), ...verdict.replica })
        : undefined;
    });
    const reached = verdict as Attribution | { readonly kind: 'late' };
    if (reached.kind === 'needs-head' || reached.kind === 'late') seen = await look(shell, site, key, signal);
    else if (reached.kind === 'needs-digest') seen = await withDigest(shell, site, key, seen, signal);
    else {
      if (reached.kind === 'native' && record.replicas[site] !== undefined) {
        await shell.damage.changed({ site, key, from: seen.before, to: reached.replica });
        await adopted(shell, site, key, reached.replica, signal);
      }
      return record;
    }
  }
}

/** A native deletion is made durable at its site, too: a ledger that is lost has told nobody. */
async function adopted(
  shell: Shell,
  site: SiteId,
  key: string,
  { version }: Replica,
  signal: AbortSignal,
): Promise<void> {
  shell.events.adopted?.({ site, key, version });
  if (!version.deleted || shell.onlooking) return;
  await writeTombstone(shell, siteOf(shell, site), key, version, signal).catch((error: Error) => {
    signal.throwIfAborted();
    shell.events.failed?.({ site, key, error });
  });
}

/** The site is in quarantine, and what was seen there nobody knows: it is neither spread nor overwritten. */
export class Quarantined extends StoreFailure {
  constructor(site: SiteId, key: string) {
    super(
      'unavailable',
      `${site} is in quarantine, and nobody knows the ${key} that it holds; see "isobar parked ls"`,
    );
  }
}

/**
 * Looks and learns: what the record says of `site` is now what the site holds. An absence beyond the limit on
 * deletions is not believed: `unavailable`, and the site is parked.
 */
export async function lookAgain(
  shell: Shell,
  site: SiteId,
  key: string,
  signal: AbortSignal,
): Promise<KeyRecord> {
  const sighting = await look(shell, site, key, signal);
  if (sighting.kind === 'absent' && !(await shell.deletions.allows(site, key))) {
    const what = `${key} is gone from ${site}, and so are more keys than guards.maxDeletes allows`;
    throw new StoreFailure('unavailable', `${what}; see "isobar parked ls"`);
  }
  return learn(shell, site, key, sighting, signal);
}

/** Reads the body at `site`, so that its content can be compared; the record then has its digest and traits. */
export async function examine(
  shell: Shell,
  site: SiteId,
  key: string,
  signal: AbortSignal,
): Promise<KeyRecord> {
  const { store } = siteOf(shell, site);
  const before = (await shell.records.get(key))?.replicas[site];
  const head = await store.head(key, signal);
  if (!head) return lookAgain(shell, site, key, signal);
  const record = await learn(shell, site, key, { kind: 'present', entry: head, before }, signal);
  const held = record.replicas[site];
  if (!held?.token || !store.sameWrite(held.token, head.token)) return record;
  const digest = held.digest ?? (await intactDigestOf(store, key, head.token, signal));
  return shell.records.update(key, (before) => {
    const replica = before.replicas[site];
    if (!replica?.token || !store.sameWrite(replica.token, head.token)) return undefined;
    const { unread: _, ...known } = replica;
    return withReplica(before, site, {
      ...known,
      ...(digest === undefined ? {} : { digest }),
      ...md5Of(head.digests),
      traits: traitsOf(head.metadata),
    });
  });
}

/** Of what is read, whatever the store says of it. Undefined when the object is no longer the one that `token` names. */
export async function digestOf(
  store: ObjectStore,
  key: string,
  token: Token,
  signal: AbortSignal,
): Promise<string | undefined> {
  const read = await store.read(key, { token }, signal);
  return read && digestIn(read.body);
}

async function digestIn(pieces: AsyncIterable<Uint8Array>): Promise<string> {
  const digest = new BodyDigest();
  for await (const piece of pieces) digest.update(piece);
  return digest.finish();
}

/** The same; `corrupt` where it is not what the store says it keeps: this is what copies are held against. */
async function intactDigestOf(
  store: ObjectStore,
  key: string,
  token: Token,
  signal: AbortSignal,
): Promise<string | undefined> {
  const read = await store.read(key, { token }, signal);
  return read && digestIn(verified(read, key, undefined));
}

async function withDigest(
  shell: Shell,
  site: SiteId,
  key: string,
  seen: Seen,
  signal: AbortSignal,
): Promise<Seen> {
  if (seen.kind === 'absent') return seen;
  const digest = await intactDigestOf(siteOf(shell, site).store, key, seen.entry.token, signal);
  return digest === undefined ? look(shell, site, key, signal) : { ...seen, digest };
}

function keptSeen(record: KeyRecord, site: SiteId): { seen?: KeyRecord['replicas'][string]['seen'] & {} } {
  const held = record.replicas[site];
  const seen = held?.recalled ? seenBy(held) : held?.seen;
  return seen ? { seen } : {};
}

/** Only for a key that the ledger does not know at all: what copies at the other sites say they were made from. */
async function originsOf(shell: Shell, site: SiteId, key: string, signal: AbortSignal): Promise<Entry[]> {
  if (await shell.records.get(key)) return [];
  await recallKey(shell, key, [...shell.sites.values()], signal);
  if (await everySiteScanned(shell)) return [];
  const others = [...shell.sites.values()].filter((other) => other.id !== site && other.breaker.closed);
  const heads = await Promise.all(
    others.map((other) => other.store.head(key, signal).catch(() => undefined)),
  );
  return heads.flatMap((head) => {
    const entry = head && entryOn(key, head.metadata);
    return entry ? [entry] : [];
  });
}

async function everySiteScanned(shell: Shell): Promise<boolean> {
  const states = await Promise.all(shell.policy.sites.map((site) => shell.records.siteState(site)));
  return states.every((state) => state.scannedMs !== undefined);
}
