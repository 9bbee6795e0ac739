import { tombstonePrefix } from '../model/tombstone.ts';
import type { SiteId } from '../model/version.ts';
import { loserPrefix, noteKey } from '../replicate/keepsakes.ts';
import { recogniseSite } from '../replicate/marker.ts';
import { isRecalled } from '../replicate/recall.ts';
import { type Shell, siteOf } from '../replicate/shell.ts';
import { join } from '../sources/scan/join.ts';
import { pass } from './pass.ts';

export interface SiteRebuild {
  /** Why nothing was read there, or not everything. */
  readonly away?: string;
  /** Users' keys that were listed. */
  readonly keys: number;
  readonly tombstones: number;
  readonly losers: number;
}

export interface Rebuilt {
  /** Keys that the sites have together, deleted ones left out. */
  readonly keys: number;
  readonly sites: Readonly<Record<SiteId, SiteRebuild>>;
}

/**
 * Makes the ledger again from the sites: tombstones and kept losers, then keys from listings and entries. Copies and
 * removes nothing. Idempotent; killed and run again, it goes on where it had got to.
 */
export async function rebuild(shell: Shell, signal: AbortSignal): Promise<Rebuilt> {
  const { records, policy, world } = shell;
  const known = await Promise.all(policy.sites.map((site) => isRecalled(shell, site)));
  // Otherwise an earlier one was broken off: what it has read it need not read again.
  if (known.every(Boolean)) {
    const afresh = { recalledMs: undefined, recalledUntil: '', floor: world.nowMs() };
    await records.raiseFloor(world.nowMs());
    for (const site of policy.sites) await records.updateSite(site, afresh);
  }
  const result = await pass(shell, { dispatch: async () => [] }, {}, signal);
  const sites = policy.sites.map((site) => {
    const { away, listed, recalled } = result.sites[site]!;
    const read = { keys: listed, tombstones: 0, losers: 0, ...recalled };
    return [site, { ...read, ...(away === undefined ? {} : { away }) }] as const;
  });
  return { keys: result.keys, sites: Object.fromEntries(sites) };
}

/** What `rebuild` would read. Writes nothing. */
export async function survey(shell: Shell, signal: AbortSignal): Promise<Rebuilt> {
  const { policy } = shell;
  const counts = new Map(policy.sites.map((site) => [site, { keys: 0, tombstones: 0, losers: 0 }]));
  const away = new Map<SiteId, string>();
  const failed = (site: SiteId, error: unknown) => {
    signal.throwIfAborted();
    away.set(site, error instanceof Error ? error.message : String(error));
  };
  await Promise.all(
    policy.sites.map(async (site) => {
      try {
        await recogniseSite(shell, site, signal);
        await countKept(shell, site, counts.get(site)!, signal);
      } catch (error) {
        failed(site, error);
      }
    }),
  );
  const present = policy.sites.filter((site) => !away.has(site));
  const listings = new Map(present.map((site) => [site, siteOf(shell, site).store.list({}, signal)]));
  let keys = 0;
  for await (const rows of join({ listings, records: nothing(), failed }))
    for (const { entries } of rows) {
      keys += 1;
      for (const site of Object.keys(entries)) counts.get(site)!.keys += 1;
    }
  const sites = policy.sites.map((site) => {
    const why = away.get(site);
    return [site, { ...counts.get(site)!, ...(why === undefined ? {} : { away: why }) }] as const;
  });
  return { keys, sites: Object.fromEntries(sites) };
}

async function countKept(
  shell: Shell,
  site: SiteId,
  counts: { tombstones: number; losers: number },
  signal: AbortSignal,
): Promise<void> {
  const { store } = siteOf(shell, site);
  for await (const page of store.list({ prefix: tombstonePrefix }, signal)) counts.tombstones += page.length;
  for await (const page of store.list({ prefix: loserPrefix }, signal))
    counts.losers += page.filter(({ key }) => key.endsWith(noteKey(''))).length;
}

async function* nothing(): AsyncGenerator<never> {}
