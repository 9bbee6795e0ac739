import { withTombstone } from '../decide/recall.ts';
import { StoreFailure } from '../model/failure.ts';
import { maxAheadMs, millisOf } from '../model/stamp.ts';
import { decodeTombstone, type Tombstone, tombstoneKey, tombstonePrefix } from '../model/tombstone.ts';
import type { SiteId } from '../model/version.ts';
import type { LedgerWrite } from '../ports/ledger.ts';
import type { ListEntry } from '../ports/object-store.ts';
import { decodeLoser, loserPrefix, noteKey } from './keepsakes.ts';
import { type Shell, type Site, siteOf } from './shell.ts';

// A ledger that is new to a site reads what was kept there before anything is concluded from what the site holds.

/** What was read back from one site. */
export interface Recall {
  tombstones: number;
  losers: number;
}

/** Bodies read at once; one page of names is in memory. */
const readsAtOnce = 64;

/** Whether what the site keeps has been read into this ledger. */
export async function isRecalled(shell: Shell, site: SiteId): Promise<boolean> {
  return (await shell.records.siteState(site)).recalledMs !== undefined;
}

/**
 * Reads every tombstone and every kept loser of a proven site into the ledger. Idempotent; one that was broken off goes
 * on where it had got to. Throws the store's failure.
 */
export async function recall(shell: Shell, site: SiteId, signal: AbortSignal): Promise<Recall> {
  const { records, world } = shell;
  const { recalledUntil } = await records.siteState(site);
  const done: Recall = { tombstones: 0, losers: 0 };
  // In the order of their names, so that one position serves for both.
  for (const prefix of [loserPrefix, tombstonePrefix]) {
    const after = recalledUntil?.startsWith(prefix) ? { after: recalledUntil } : {};
    if (prefix < tombstonePrefix && recalledUntil?.startsWith(tombstonePrefix)) continue;
    for await (const page of siteOf(shell, site).store.list({ prefix, ...after }, signal)) {
      await recallPage(shell, site, page, done, signal);
    }
  }
  await records.updateSite(site, { recalledMs: world.nowMs(), recalledUntil: '' });
  return done;
}

/**
 * For a key that the ledger does not know, while it is new to a site: the deletion that stands there, before anything
 * is written or spread on top of it. A site that cannot be asked is left to the pass.
 */
export async function recallKey(
  shell: Shell,
  key: string,
  sites: readonly Site[],
  signal: AbortSignal,
): Promise<void> {
  const name = tombstoneKey(key);
  await Promise.all(
    sites.map(async ({ id, store, breaker }) => {
      if (!breaker.closed || (await isRecalled(shell, id))) return;
      try {
        const read = await store.read(name, {}, signal);
        const tombstone = read && decodeTombstone(name, await read.bytes());
        if (tombstone && !isAhead(shell, tombstone))
          await shell.records.update(key, (row) =>
            withTombstone(row, id, tombstone, read.head.lastModifiedMs),
          );
      } catch (failure) {
        signal.throwIfAborted();
        if (!(failure instanceof StoreFailure)) throw failure;
      }
    }),
  );
}

async function recallPage(
  shell: Shell,
  site: SiteId,
  page: readonly ListEntry[],
  done: Recall,
  signal: AbortSignal,
): Promise<void> {
  for (let from = 0; from < page.length; from += readsAtOnce) {
    const some = page.slice(from, from + readsAtOnce);
    const losers = await Promise.all(some.map((entry) => recallOne(shell, site, entry, done, signal)));
    await shell.records.commit(losers.flat());
    await shell.records.updateSite(site, { recalledUntil: some.at(-1)!.key });
  }
}

async function recallOne(
  shell: Shell,
  site: SiteId,
  { key: name, lastModifiedMs }: ListEntry,
  done: Recall,
  signal: AbortSignal,
): Promise<readonly LedgerWrite[]> {
  const isLoser = name.startsWith(loserPrefix);
  if (isLoser && !name.endsWith(noteKey(''))) return [];
  const read = await siteOf(shell, site).store.read(name, {}, signal);
  if (!read) return [];
  const bytes = await read.bytes();
  if (isLoser) {
    const loser = decodeLoser(site, name, bytes, lastModifiedMs);
    if (!loser) return unreadable(shell, site, name);
    done.losers += 1;
    return [shell.records.keep(loser)];
  }
  const tombstone = decodeTombstone(name, bytes);
  if (!tombstone || isAhead(shell, tombstone)) return unreadable(shell, site, name);
  done.tombstones += 1;
  await shell.records.update(tombstone.key, (record) =>
    withTombstone(record, site, tombstone, lastModifiedMs),
  );
  return [];
}

/** Whatever it is, nothing is deleted because of it. */
function unreadable({ events }: Shell, site: SiteId, name: string): [] {
  const error = new StoreFailure(
    'invalid',
    `${name} at ${site} is not one that Isobar wrote; it is left alone`,
  );
  events.failed?.({ site, error });
  return [];
}

function isAhead({ world }: Shell, { version }: Tombstone): boolean {
  return millisOf(version.stamp) - world.nowMs() > maxAheadMs;
}
