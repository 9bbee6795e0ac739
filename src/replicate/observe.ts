import { type Attribution, attribute, type Sighting } from '../decide/attribute.ts';
import { BodyDigest } from '../model/digest.ts';
import { type Entry, entryOn, traitsOf } from '../model/entry.ts';
import { StoreFailure } from '../model/failure.ts';
import { type KeyRecord, md5Of, withReplica } from '../model/record.ts';
import type { SiteId } from '../model/version.ts';
import type { ListEntry, ObjectStore, Token } from '../ports/object-store.ts';
import { proveSite } from './marker.ts';
import { type Whole, wholeId, wholeOf } from './reading.ts';
import { type Shell, siteOf } from './shell.ts';

/** What `site` holds of `key` right now, asked of the site itself. Absence is believed only of a proven site. */
export async function look(shell: Shell, site: SiteId, key: string, signal: AbortSignal): Promise<Sighting> {
  const entry = await siteOf(shell, site).store.head(key, signal);
  if (entry) return { kind: 'present', entry };
  await proveSite(shell, site, signal);
  return { kind: 'absent' };
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
): Promise<Sighting> {
  const release = size <= shell.settings.partSizeBytes ? shell.ahead.tryAcquire(size) : undefined;
  if (!release) return look(shell, site, key, signal);
  try {
    const whole = await readAtMost(siteOf(shell, site).store, key, size, signal);
    if (!whole) return await look(shell, site, key, signal);
    const { head, digest } = whole;
    const readers = shell.policy.sites.length - 1;
    shell.reads.offer(wholeId(site, key, head.token), head.size, readers, whole);
    return { kind: 'present', entry: head, digest };
  } finally {
    release();
  }
}

/** Undefined when it is absent, larger, or cannot be read: a head may tell more. */
async function readAtMost(
  store: ObjectStore,
  key: string,
  size: number,
  signal: AbortSignal,
): Promise<Whole | undefined> {
  try {
    const read = await store.read(key, {}, signal);
    if (read && read.head.size <= size) return await wholeOf(read, key);
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
 * Looks closer where the sighting tells too little.
 */
export async function learn(
  shell: Shell,
  site: SiteId,
  key: string,
  sighting: Sighting,
  signal: AbortSignal,
): Promise<KeyRecord> {
  const { store } = siteOf(shell, site);
  let seen = sighting;
  for (;;) {
    let verdict: Attribution = { kind: 'known' };
    const origins = await originsOf(shell, site, key, signal);
    const record = await shell.records.update(key, (before) => {
      verdict = attribute({
        site,
        record: before,
        sighting: seen,
        nowMs: shell.world.nowMs(),
        sameWrite: (recorded, now) => store.sameWrite(recorded, now),
        origins,
      });
      return verdict.kind === 'ours' || verdict.kind === 'native'
        ? withReplica(before, site, { ...keptSeen(before, site), ...verdict.replica })
        : undefined;
    });
    const reached = verdict as Attribution;
    if (reached.kind === 'needs-head') seen = await look(shell, site, key, signal);
    else if (reached.kind === 'needs-digest') seen = await withDigest(shell, site, key, seen, signal);
    else {
      if (reached.kind === 'native') shell.events.adopted?.({ site, key, version: reached.replica.version });
      return record;
    }
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
  const head = await store.head(key, signal);
  if (!head) return lookAgain(shell, site, key, signal);
  const sighting: Sighting = { kind: 'present', entry: head };
  const record = await learn(shell, site, key, sighting, signal);
  const held = record.replicas[site];
  if (!held?.token || !store.sameWrite(held.token, head.token)) return record;
  const digest = held.digest ?? (await digestOf(store, key, head.token, signal));
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

/** Undefined when the object is no longer the one that `token` names. */
export async function digestOf(
  store: ObjectStore,
  key: string,
  token: Token,
  signal: AbortSignal,
): Promise<string | undefined> {
  const read = await store.read(key, { token }, signal);
  if (!read) return undefined;
  const digest = new BodyDigest();
  for await (const piece of read.body) digest.update(piece);
  return digest.finish();
}

async function withDigest(
  shell: Shell,
  site: SiteId,
  key: string,
  seen: Sighting,
  signal: AbortSignal,
): Promise<Sighting> {
  if (seen.kind === 'absent') return seen;
  const digest = await digestOf(siteOf(shell, site).store, key, seen.entry.token, signal);
  return digest === undefined ? look(shell, site, key, signal) : { ...seen, digest };
}

function keptSeen(record: KeyRecord, site: SiteId): { seen?: KeyRecord['replicas'][string]['seen'] & {} } {
  const seen = record.replicas[site]?.seen;
  return seen ? { seen } : {};
}

/** Only for a key that the ledger does not know at all: what copies at the other sites say they were made from. */
async function originsOf(shell: Shell, site: SiteId, key: string, signal: AbortSignal): Promise<Entry[]> {
  if (await shell.records.get(key)) return [];
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
