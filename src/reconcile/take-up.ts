import { adoptUnread } from '../decide/attribute.ts';
import type { Row } from '../decide/compare.ts';
import { type Entry, entryOn } from '../model/entry.ts';
import { StoreFailure } from '../model/failure.ts';
import { emptyRecord, type KeyRecord, withReplica } from '../model/record.ts';
import type { SiteId } from '../model/version.ts';
import { learn, look, lookAhead, Quarantined, type Seen } from '../replicate/observe.ts';
import type { Replicator } from '../replicate/replicator.ts';
import { type Shell, siteOf } from '../replicate/shell.ts';
import { learnUnread, onlyParked, parkUnlearned, unparkLearned } from './parking.ts';
import type { Tally } from './pass.ts';

/** Learns what the sites hold that the ledger does not know, and offers the key to whoever lacks the newest write. */
export async function takeUp(
  shell: Shell,
  replicator: Pick<Replicator, 'dispatch'>,
  row: Row,
  unknown: readonly SiteId[],
  tallies: ReadonlyMap<SiteId, Tally>,
  signal: AbortSignal,
): Promise<void> {
  let record = row.record ?? emptyRecord(row.key);
  const attempt = async (site: SiteId, work: () => Promise<void>) => {
    const tally = tallies.get(site)!;
    try {
      await work();
    } catch (failure) {
      if (!(failure instanceof StoreFailure)) throw failure;
      if (failure instanceof Quarantined) hold(tally, row.entries[site]!.size);
      else if (failure.remedy === 'park')
        await parkUnlearned(shell, site, record, row.entries[site]!, failure);
      else couldNotRead(shell, site, row.key, tally, failure);
    }
  };
  const seen = new Map<SiteId, Seen | undefined>();
  const lookAt = async (site: SiteId) =>
    void seen.set(site, await sight(shell, row, site, unknown.length, tallies.get(site)!, signal));
  await Promise.all(unknown.map((site) => attempt(site, () => lookAt(site))));
  const sightings = new Map(unknown.filter((site) => seen.has(site)).map((site) => [site, seen.get(site)]));
  const told = entriesOf(row.key, sightings.values());
  for (const [site, sighting] of inOrder(row.key, sightings, tallies))
    await attempt(site, async () => {
      record = sighting
        ? await learn(shell, site, row.key, sighting, signal, told)
        : await adoptListed(shell, row, site);
      if (tallies.get(site)!.hasParked) await unparkLearned(shell, site, row.key);
    });
  const wanted = (await onlyParked(shell, record)) ? await learnUnread(shell, record, signal) : record;
  if (wanted) await replicator.dispatch(row.key, wanted);
}

/**
 * First contact believes the listing where it tells enough (undefined: nothing but the listing is needed); later the
 * object itself is asked, for a page may be old.
 */
async function sight(
  shell: Shell,
  { key, record, entries }: Row,
  site: SiteId,
  holders: number,
  { doubt }: Tally,
  signal: AbortSignal,
): Promise<Seen | undefined> {
  const entry = entries[site]!;
  if (record && holders === 1) return lookAhead(shell, site, entry, signal);
  if (!record && entry.metadata) return { kind: 'present', entry, before: undefined };
  if (record || holders > 1) return look(shell, site, key, signal);
  if (doubt && !doubt.released) throw new Quarantined(site, key);
  return undefined;
}

function entriesOf(key: string, sightings: Iterable<Seen | undefined>): Entry[] {
  return [...sightings].flatMap((seen) => {
    const metadata = seen?.kind === 'present' ? seen.entry.metadata : undefined;
    const entry = metadata && entryOn(key, metadata);
    return entry ? [entry] : [];
  });
}

/**
 * What says itself which write it is comes first: only then is it known what a native one may have been written on top
 * of. A site in quarantine comes last: what the others know is no news there.
 */
function inOrder(
  key: string,
  sightings: ReadonlyMap<SiteId, Seen | undefined>,
  tallies: ReadonlyMap<SiteId, Tally>,
): [SiteId, Seen | undefined][] {
  const rank = ([site, seen]: [SiteId, Seen | undefined]) =>
    (entriesOf(key, [seen]).length > 0 ? 0 : 1) + (tallies.get(site)!.doubt ? 2 : 0);
  return [...sightings].sort((a, b) => rank(a) - rank(b));
}

async function adoptListed(shell: Shell, { key, entries }: Row, site: SiteId): Promise<KeyRecord> {
  const { store } = siteOf(shell, site);
  const record = await shell.records.update(key, (before) => {
    const replica = adoptUnread({
      site,
      record: before,
      sighting: { kind: 'present', entry: entries[site]! },
      nowMs: shell.world.nowMs(),
      sameWrite: (a, b) => store.sameWrite(a, b),
    });
    if (replica) shell.events.adopted?.({ site, key, version: replica.version });
    return replica && withReplica(before, site, replica);
  });
  const to = record.replicas[site];
  if (to) await shell.damage.changed({ site, key, from: undefined, to });
  return record;
}

function hold({ doubt }: Tally, bytes: number): void {
  if (!doubt) return;
  doubt.keys += 1;
  doubt.bytes += bytes;
}

/** The others go on; of this site nobody may say that it was compared. */
export function couldNotRead(shell: Shell, site: SiteId, key: string, tally: Tally, error: Error): void {
  tally.unread = { keys: (tally.unread?.keys ?? 0) + 1, error: error.message };
  shell.events.failed?.({ site, key, error });
}
