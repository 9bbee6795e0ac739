import { compare, type Differences, type Row } from '../decide/compare.ts';
import { decide } from '../decide/decide.ts';
import { deletesAllowed } from '../model/policy.ts';
import { type KeyRecord, withoutReplica } from '../model/record.ts';
import type { SiteId } from '../model/version.ts';
import { proveSite } from '../replicate/marker.ts';
import { learn, look } from '../replicate/observe.ts';
import type { Recall } from '../replicate/recall.ts';
import { guardId, type SiteState } from '../replicate/records.ts';
import type { Replicator } from '../replicate/replicator.ts';
import { Semaphore } from '../replicate/semaphore.ts';
import { type Shell, siteOf } from '../replicate/shell.ts';
import { join } from '../sources/scan/join.ts';
import { Collector, collectAfter } from './collect.ts';
import { after, type Gates, proven, recalling } from './gates.ts';
import { sitesWithParked } from './parking.ts';
import { type Doubt, doubtedSites, settleDoubt } from './quarantine.ts';
import { BoundarySampler, shardsOf } from './shards.ts';
import { couldNotRead, takeUp } from './take-up.ts';

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
  /** What was read back, where the ledger was new to the site. */
  readonly recalled?: Recall;
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
  /** The site is in quarantine. */
  doubt?: Doubt;
  recalled?: Recall;
  away?: string;
  /** Keys that could not be looked at there, and why: the scan of the site is not complete. */
  unread?: { readonly keys: number; readonly error: string };
}

/** No pass takes longer. */
const longestPassMs = 30 * 24 * 3_600_000;

/** Keys in work at once; bounds memory whatever the number of keys. */
const keysAtOnce = 256;

/**
 * One pass over all sites: listings against the ledger, differences learned and offered to the lanes.
 * An absence counts only when its site was listed completely, is proved to be the one it was, and the guards agree.
 */
export async function pass(
  shell: Shell,
  replicator: Dispatching,
  options: PassOptions,
  signal: AbortSignal,
): Promise<PassResult> {
  const begunMs = shell.world.nowMs();
  const id = passId(begunMs, shell.world.uniqueId());
  const parked = await sitesWithParked(shell);
  const doubts = await doubtedSites(shell, begunMs);
  const tallies = new Map<SiteId, Tally>(
    shell.policy.sites.map((site) => [
      site,
      { listed: 0, known: 0, suspects: 0, guarded: 0, hasParked: parked.has(site), ...doubtOf(doubts, site) },
    ]),
  );
  // A pass that was killed leaves its suspicions behind; one that is under way at another worker needs its own.
  await shell.records.forgetSuspectsBefore(passId(begunMs - longestPassMs));
  await shell.damage.scanBegins();
  const sampler = new BoundarySampler();
  const shards = await shardsOf(shell);
  const proofs = new Map(shell.policy.sites.map((site) => [site, proveSite(shell, site, signal)]));
  for (const proof of proofs.values()) proof.catch(() => {});
  const gates = await recalling(shell, proofs, tallies, signal);
  const collector = new Collector(shell, begunMs);
  const scan = { id, gates, tallies, sampler, collector };
  await Promise.all(shards.map((shard) => scanShard(shell, replicator, shard, scan, signal)));
  await proveSuspicious(shell, tallies, signal);
  const found = new Map<SiteId, Partial<SiteState>>();
  for (const [site, tally] of tallies)
    found.set(site, await closeSite(shell, replicator, id, site, tally, options, begunMs, signal));
  const first = shell.policy.sites[0]!;
  found.set(first, { ...found.get(first), boundaries: sampler.boundaries() });
  // Side by side: they share one flush to the disk.
  await Promise.all([
    shell.damage.scanEnds(),
    ...[...found].map(([site, state]) => shell.records.updateSite(site, state)),
  ]);
  const isWhole = [...tallies.values()].every(
    (one) => one.away === undefined && !one.doubt && one.guarded === 0,
  );
  if (isWhole) await collectAfter(shell, collector, signal);
  return { sites: Object.fromEntries(tallies), keys: sampler.keys };
}

/** The order of their texts is the order in which passes began. */
function passId(begunMs: number, unique = ''): string {
  return `${Math.max(0, begunMs).toString(16).padStart(12, '0')}-${unique}`;
}

function doubtOf(doubts: ReadonlyMap<SiteId, Doubt>, site: SiteId): { doubt?: Doubt } {
  const doubt = doubts.get(site);
  return doubt ? { doubt } : {};
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

/** Whoever takes what a pass has found further. */
export type Dispatching = Pick<Replicator, 'dispatch'>;

interface Scan {
  readonly id: string;
  readonly gates: Gates;
  readonly tallies: Map<SiteId, Tally>;
  readonly sampler: BoundarySampler;
  readonly collector: Collector;
}

async function scanShard(
  shell: Shell,
  replicator: Dispatching,
  range: { after?: string; until?: string },
  { id, gates, tallies, sampler, collector }: Scan,
  signal: AbortSignal,
): Promise<void> {
  const slots = new Semaphore(keysAtOnce);
  const present = [...tallies].filter(([, tally]) => tally.away === undefined).map(([site]) => site);
  // A page that was asked for before the ledger was read lacks what came meanwhile.
  const listing = (site: SiteId) =>
    proven(
      after(gates.all, () => siteOf(shell, site).store.list(range, signal)),
      gates.bySite.get(site)!,
    );
  const rows = join({
    listings: new Map(present.map((site) => [site, listing(site)])),
    records: after(gates.all, () => shell.records.scan(range)),
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
      collector.consider(row);
      shell.damage.saw(row.key, row.record);
      const differences = compare(row, listed, (site, a, b) => siteOf(shell, site).store.sameWrite(a, b));
      for (const site of differences.missing) {
        tallies.get(site)!.suspects += 1;
        suspects.push(shell.records.suspect(id, site, row.key, row.record!.replicas[site]!.token!));
      }
      if (isQuiet(shell, row, differences)) continue;
      const release = await slots.acquire(1, signal);
      void takeUp(shell, replicator, row, differences.unknown, tallies, signal)
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
  return shell.policy.sites.every((site) => decide(row.record!, site, shell.ruleOf).kind === 'skip');
}

/** Every site holds the same write, as nearly always: a record keeps a version that sites share once. */
function isOneVersion({ policy }: Shell, { replicas }: KeyRecord): boolean {
  const version = replicas[policy.sites[0]!]?.version;
  if (version === undefined) return false;
  for (const site in replicas) if (replicas[site]!.version !== version) return false;
  return policy.sites.every((site) => replicas[site] !== undefined);
}

/** Takes up the deletions that are believed, and tells what is to be remembered of the site. */
async function closeSite(
  shell: Shell,
  replicator: Dispatching,
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
  const guard = tally.doubt ? undefined : await guardFor(shell, site, tally, { ...options, noticed });
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
  const doubt = tally.doubt ? await settleDoubt(shell, site, tally.doubt) : {};
  return { scannedMs: begunMs, knownKeys, scanWanted: false, ...doubt };
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
  replicator: Dispatching,
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
      void believeAbsence(shell, replicator, site, { key, token }, tally.doubt, signal)
        .catch((error: Error) => couldNotRead(shell, site, key, tally, error))
        .finally(release);
    }
    await records.commit(page.map(({ key }) => records.clearSuspect(id, site, key)));
  }
  (await slots.acquire(keysAtOnce, signal))();
}

async function believeAbsence(
  shell: Shell,
  replicator: Dispatching,
  site: SiteId,
  { key, token }: { readonly key: string; readonly token: string },
  doubt: Doubt | undefined,
  signal: AbortSignal,
): Promise<void> {
  const held = (await shell.records.get(key))?.replicas[site];
  if (!held || held.token !== token) return;
  const sighting = await look(shell, site, key, signal);
  const record =
    doubt && sighting.kind === 'absent'
      ? await shell.records.update(key, (now) => forgotten(now, site, token))
      : await learn(shell, site, key, sighting, signal);
  await replicator.dispatch(key, record);
}

/** What is absent is copied back, and not taken for deleted. */
function forgotten(record: KeyRecord, site: SiteId, token: string): KeyRecord | undefined {
  return record.replicas[site]?.token === token ? withoutReplica(record, site) : undefined;
}

async function forgetSuspects(shell: Shell, id: string, site: SiteId): Promise<void> {
  for await (const page of shell.records.suspects(id, site)) {
    await shell.records.commit(page.map(({ key }) => shell.records.clearSuspect(id, site, key)));
  }
}
