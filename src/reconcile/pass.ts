import { adoptUnread } from '../decide/attribute.ts';
import { compare, type Differences, type Row } from '../decide/compare.ts';
import { decide } from '../decide/decide.ts';
import { StoreFailure } from '../model/failure.ts';
import { deletesAllowed } from '../model/policy.ts';
import { emptyRecord, type KeyRecord, withReplica } from '../model/record.ts';
import type { SiteId } from '../model/version.ts';
import { proveSite } from '../replicate/marker.ts';
import { learn, look, lookAhead } from '../replicate/observe.ts';
import { guardId, type SiteState } from '../replicate/records.ts';
import type { Replicator } from '../replicate/replicator.ts';
import { Semaphore } from '../replicate/semaphore.ts';
import { type Shell, siteOf } from '../replicate/shell.ts';
import { join } from '../sources/scan/join.ts';
import { learnUnread, onlyParked, parkUnlearned, sitesWithParked, unparkLearned } from './parking.ts';
import { BoundarySampler, shardsOf } from './shards.ts';

export interface PassOptions {
  /** A person agrees to every deletion that a guard would hold back. */
  readonly yes?: boolean;
}

export interface SitePass {
  /** Why the site took no part, or dropped out. */
  readonly away?: string;
  readonly listed: number;
  readonly known: number;
  /** Deletions held back by a guard. */
  readonly guarded: number;
}

export interface PassResult {
  readonly sites: Readonly<Record<SiteId, SitePass>>;
  /** Keys looked at. */
  readonly keys: number;
}

export interface Tally {
  listed: number;
  known: number;
  suspects: number;
  guarded: number;
  /** Keys are parked there: what is learned may free one. */
  hasParked?: boolean;
  away?: string;
  /** Keys that could not be looked at there, and why: the scan of the site is not complete. */
  unread?: { readonly keys: number; readonly error: string };
}

/** Keys in work at once; bounds memory whatever the number of keys. */
const keysAtOnce = 256;

/**
 * One pass over all sites: listings against the ledger, differences learned and offered to the lanes.
 * An absence counts only when its site was listed completely, is proved to be the one it was, and the guards agree.
 */
export async function pass(
  shell: Shell,
  replicator: Replicator,
  options: PassOptions,
  signal: AbortSignal,
): Promise<PassResult> {
  const begunMs = shell.world.nowMs();
  const id = shell.world.uniqueId();
  const parked = await sitesWithParked(shell);
  const tallies = new Map<SiteId, Tally>(
    shell.policy.sites.map((site) => [
      site,
      { listed: 0, known: 0, suspects: 0, guarded: 0, hasParked: parked.has(site) },
    ]),
  );
  // A pass that was killed leaves its suspicions behind; they are worth nothing to the next one.
  await shell.records.forgetAllSuspects();
  const sampler = new BoundarySampler();
  const shards = await shardsOf(shell);
  const proofs = new Map(shell.policy.sites.map((site) => [site, proveSite(shell, site, signal)]));
  for (const proof of proofs.values()) proof.catch(() => {});
  await Promise.all(
    shards.map((shard) => scanShard(shell, replicator, id, shard, proofs, tallies, sampler, signal)),
  );
  await proveSuspicious(shell, tallies, signal);
  const found = new Map<SiteId, Partial<SiteState>>();
  for (const [site, tally] of tallies)
    found.set(site, await closeSite(shell, replicator, id, site, tally, options, begunMs, signal));
  const first = shell.policy.sites[0]!;
  found.set(first, { ...found.get(first), boundaries: sampler.boundaries() });
  // Side by side: they share one flush to the disk.
  await Promise.all([...found].map(([site, state]) => shell.records.updateSite(site, state)));
  return { sites: Object.fromEntries(tallies), keys: sampler.keys };
}

/** Where something seems to be gone, the site must still be the one it was after it was listed. */
async function proveSuspicious(
  shell: Shell,
  tallies: Map<SiteId, Tally>,
  signal: AbortSignal,
): Promise<void> {
  await Promise.all(
    [...tallies].map(async ([site, tally]) => {
      if (tally.away !== undefined || tally.suspects === 0) return;
      try {
        await proveSite(shell, site, signal);
      } catch (error) {
        signal.throwIfAborted();
        dropOut(shell, site, tally, error);
      }
    }),
  );
}

export function dropOut(shell: Shell, site: SiteId, tally: Tally, error: unknown): void {
  tally.away ??= error instanceof Error ? error.message : String(error);
  shell.events.failed?.({ site, error: error instanceof Error ? error : new Error(String(error)) });
}

async function scanShard(
  shell: Shell,
  replicator: Replicator,
  id: string,
  range: { after?: string; until?: string },
  proofs: ReadonlyMap<SiteId, Promise<void>>,
  tallies: Map<SiteId, Tally>,
  sampler: BoundarySampler,
  signal: AbortSignal,
): Promise<void> {
  const slots = new Semaphore(keysAtOnce);
  const present = [...tallies].filter(([, tally]) => tally.away === undefined).map(([site]) => site);
  const listing = (site: SiteId) => proven(siteOf(shell, site).store.list(range, signal), proofs.get(site)!);
  const rows = join({
    listings: new Map(present.map((site) => [site, listing(site)])),
    records: shell.records.scan(range),
    failed: (site, error) => dropOut(shell, site, tallies.get(site)!, error),
  });
  let failure: unknown;
  for await (const batch of rows) {
    signal.throwIfAborted();
    const listed = present.filter((site) => tallies.get(site)!.away === undefined);
    const suspects = [];
    for (const row of batch) {
      sampler.add(row.key);
      count(row, tallies);
      const differences = compare(row, listed, (site, a, b) => siteOf(shell, site).store.sameWrite(a, b));
      for (const site of differences.missing) {
        tallies.get(site)!.suspects += 1;
        suspects.push(shell.records.suspect(id, site, row.key, row.record!.replicas[site]!.token!));
      }
      if (isQuiet(shell, row, differences)) continue;
      const release = await slots.acquire(1, signal);
      void takeUp(shell, replicator, row, differences, tallies, signal)
        .catch((error) => {
          if (!signal.aborted) failure ??= reportOrKeep(shell, row, error);
        })
        .finally(release);
    }
    if (suspects.length > 0) await shell.records.commit(suspects);
    if (failure) throw failure;
  }
  (await slots.acquire(keysAtOnce, signal))();
  if (failure) throw failure;
}

/** Asks for the first page at once, and lets nothing through before the site is proved to be the one it was. */
async function* proven<T>(pages: AsyncIterable<T>, proof: Promise<void>): AsyncGenerator<T> {
  const iterator = pages[Symbol.asyncIterator]();
  try {
    let next = iterator.next();
    next.catch(() => {});
    await proof;
    for (let page = await next; !page.done; page = await next) {
      yield page.value;
      next = iterator.next();
    }
  } finally {
    await iterator.return?.();
  }
}

/** What a store failed at is that key's trouble and is tried again; anything else ends the pass. */
function reportOrKeep(shell: Shell, row: Row, error: unknown): unknown {
  if (!(error instanceof Error) || error.name !== 'StoreFailure') return error;
  const site = Object.keys(row.entries)[0] ?? shell.policy.sites[0]!;
  shell.events.failed?.({ site, key: row.key, error });
  return undefined;
}

export function count(row: Row, tallies: Map<SiteId, Tally>): void {
  for (const [site, tally] of tallies) {
    if (row.entries[site] !== undefined) tally.listed += 1;
    if (row.record?.replicas[site]?.version.deleted === false) tally.known += 1;
  }
}

function isQuiet(shell: Shell, row: Row, { unknown }: Differences): boolean {
  if (unknown.length > 0) return false;
  if (!row.record) return true;
  if (isOneVersion(shell, row.record)) return true;
  return shell.policy.sites.every((site) => decide(row.record!, site).kind === 'skip');
}

/** Every site holds the same write, as nearly always: a record keeps a version that sites share once. */
function isOneVersion({ policy }: Shell, { replicas }: KeyRecord): boolean {
  const version = replicas[policy.sites[0]!]?.version;
  if (version === undefined) return false;
  for (const site in replicas) if (replicas[site]!.version !== version) return false;
  return policy.sites.every((site) => replicas[site] !== undefined);
}

async function takeUp(
  shell: Shell,
  replicator: Replicator,
  row: Row,
  { unknown }: Differences,
  tallies: Map<SiteId, Tally>,
  signal: AbortSignal,
): Promise<void> {
  let record = row.record ?? emptyRecord(row.key);
  for (const site of unknown) {
    const tally = tallies.get(site)!;
    try {
      record = await learnFrom(shell, row, site, unknown.length, signal);
      if (tally.hasParked) await unparkLearned(shell, site, row.key);
    } catch (failure) {
      if (!(failure instanceof StoreFailure)) throw failure;
      if (failure.remedy === 'park') await parkUnlearned(shell, site, record, row.entries[site]!, failure);
      else couldNotRead(shell, site, row.key, tally, failure);
    }
  }
  const wanted = (await onlyParked(shell, record)) ? await learnUnread(shell, record, signal) : record;
  if (wanted) await replicator.dispatch(row.key, wanted);
}

/** The others go on; of this site nobody may say that it was compared. */
function couldNotRead(shell: Shell, site: SiteId, key: string, tally: Tally, error: Error): void {
  tally.unread = { keys: (tally.unread?.keys ?? 0) + 1, error: error.message };
  shell.events.failed?.({ site, key, error });
}

/** First contact believes the listing where it tells enough; later the object itself is asked, for a page may be old. */
async function learnFrom(
  shell: Shell,
  row: Row,
  site: SiteId,
  holders: number,
  signal: AbortSignal,
): Promise<KeyRecord> {
  const entry = row.entries[site]!;
  const { store } = siteOf(shell, site);
  if (row.record) {
    const one = holders === 1;
    const sighting = await (one ? lookAhead(shell, site, entry, signal) : look(shell, site, row.key, signal));
    return learn(shell, site, row.key, sighting, signal);
  }
  if (entry.metadata || holders > 1) return learn(shell, site, row.key, { kind: 'present', entry }, signal);
  return shell.records.update(row.key, (before) => {
    const replica = adoptUnread({
      site,
      record: before,
      sighting: { kind: 'present', entry },
      nowMs: shell.world.nowMs(),
      sameWrite: (a, b) => store.sameWrite(a, b),
    });
    if (replica) shell.events.adopted?.({ site, key: row.key, version: replica.version });
    return replica && withReplica(before, site, replica);
  });
}

/** Takes up the deletions that are believed, and tells what is to be remembered of the site. */
async function closeSite(
  shell: Shell,
  replicator: Replicator,
  id: string,
  site: SiteId,
  tally: Tally,
  options: PassOptions,
  begunMs: number,
  signal: AbortSignal,
): Promise<Partial<SiteState>> {
  const { records } = shell;
  if (tally.away !== undefined) {
    await forgetSuspects(shell, id, site);
    return { lastError: tally.away, lastErrorMs: shell.world.nowMs() };
  }
  const noticed = shell.deletions.since(site);
  const guard = await guardFor(shell, site, tally, { ...options, noticed });
  if (guard) {
    tally.guarded = tally.suspects;
    await records.commit([records.park(guard)]);
    await forgetSuspects(shell, id, site);
  } else {
    if (await records.parkedBy(guardId(site))) await records.commit([records.unpark(guardId(site))]);
    await takeDeletions(shell, replicator, id, site, tally, signal);
  }
  shell.deletions.scanned(site);
  if (tally.unread) {
    const { keys, error } = tally.unread;
    tally.away = `${keys} keys could not be looked at (${error}); the next pass looks again`;
    return { lastError: tally.away, lastErrorMs: shell.world.nowMs() };
  }
  const knownKeys = guard ? tally.known : tally.known - tally.suspects;
  return { scannedMs: begunMs, knownKeys, scanWanted: false };
}

/**
 * A reason to hold the deletions of a site back, unless a person has released them. A guard that once stands, stands
 * until a person says go or nothing is missing any more. `noticed`: deletions taken since the last complete scan.
 */
export async function guardFor(
  shell: Shell,
  site: SiteId,
  tally: Tally,
  options: PassOptions & { readonly noticed?: number },
) {
  const { records, policy, world } = shell;
  if (tally.suspects === 0 || options.yes) return undefined;
  const earlier = await records.parkedBy(guardId(site));
  if (earlier?.released && tally.suspects <= earlier.keys) return undefined;
  const allowed = deletesAllowed(policy.guards.maxDeletes, tally.known);
  const emptied = tally.listed === 0;
  const stands = earlier !== undefined && !earlier.released;
  if (!emptied && !stands && tally.suspects + (options.noticed ?? 0) <= allowed) return undefined;
  const what = emptied
    ? `all ${tally.known} keys are gone from ${site}`
    : `${tally.suspects} of ${tally.known} keys are gone from ${site}`;
  return {
    id: guardId(site),
    site,
    reason: emptied ? ('site-emptied' as const) : ('max-deletes' as const),
    detail: `${what}${emptied ? '' : `; guards.maxDeletes allows ${allowed} at a time`}; they are not deleted elsewhere`,
    sinceMs: earlier?.sinceMs ?? world.nowMs(),
    keys: tally.suspects,
    bytes: 0,
  };
}

/** The listing was complete; each key is looked at once more before its deletion is believed. */
async function takeDeletions(
  shell: Shell,
  replicator: Replicator,
  id: string,
  site: SiteId,
  tally: Tally,
  signal: AbortSignal,
): Promise<void> {
  const slots = new Semaphore(keysAtOnce);
  const { records } = shell;
  for await (const page of records.suspects(id, site)) {
    for (const { key, token } of page) {
      const release = await slots.acquire(1, signal);
      void believeAbsence(shell, replicator, site, key, token, signal)
        .catch((error: Error) => couldNotRead(shell, site, key, tally, error))
        .finally(release);
    }
    await records.commit(page.map(({ key }) => records.clearSuspect(id, site, key)));
  }
  (await slots.acquire(keysAtOnce, signal))();
}

async function believeAbsence(
  shell: Shell,
  replicator: Replicator,
  site: SiteId,
  key: string,
  token: string,
  signal: AbortSignal,
): Promise<void> {
  const held = (await shell.records.get(key))?.replicas[site];
  if (!held || held.token !== token) return;
  const sighting = await look(shell, site, key, signal);
  const record = await learn(shell, site, key, sighting, signal);
  await replicator.dispatch(key, record);
}

async function forgetSuspects(shell: Shell, id: string, site: SiteId): Promise<void> {
  for await (const page of shell.records.suspects(id, site)) {
    await shell.records.commit(page.map(({ key }) => shell.records.clearSuspect(id, site, key)));
  }
}
