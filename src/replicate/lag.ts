import type { SiteId } from '../model/version.ts';
import type { Replicator } from './replicator.ts';
import type { Shell } from './shell.ts';

/** What one site still lacks, as far as is known; `scannedMs` says how far that is. */
export interface SiteStatus {
  readonly site: SiteId;
  readonly state: 'ok' | 'away' | 'unknown';
  /**
   * Age of the oldest write that is not yet verified at this site: retries, debts and parked changes included.
   * Milliseconds; 0 when nothing is known to be missing; undefined while the site was never completely scanned.
   */
  readonly lagMs: number | undefined;
  /** When the last complete scan began; undefined: never. Milliseconds since 1970. */
  readonly scannedMs: number | undefined;
  readonly backlogKeys: number;
  readonly backlogBytes: number;
  readonly parked: number;
  readonly lastError: string | undefined;
  readonly lastErrorMs: number | undefined;
  readonly rate: { readonly keysPerSecond: number; readonly bytesPerSecond: number } | undefined;
}

interface Count {
  keys: number;
  bytes: number;
  parked: number;
  oldestMs: number | undefined;
  lastError: string | undefined;
}

export async function statusOf(shell: Shell, replicator: Replicator | undefined): Promise<SiteStatus[]> {
  const { records, policy, world, bus } = shell;
  const onBus = await bus.backlog(policy.dataset);
  const parked = await parkedBySite(shell);
  const statuses: SiteStatus[] = [];
  for (const site of policy.sites) {
    const state = await records.siteState(site);
    const count = await countDebts(shell, site);
    const held = parked.get(site);
    count.parked = held?.keys ?? 0;
    const inHand = replicator?.lanes.get(site)?.inHand();
    const oldestMs = least(count.oldestMs, onBus.oldestMs, held?.oldestMs, inHand?.oldestMs);
    const breaker = shell.sites.get(site)!.breaker;
    const awayHere = replicator !== undefined && !breaker.closed;
    const awaySaid = state.lastErrorMs !== undefined && state.lastErrorMs > (state.scannedMs ?? 0);
    statuses.push({
      site,
      state: awayHere || awaySaid ? 'away' : state.scannedMs === undefined ? 'unknown' : 'ok',
      lagMs:
        oldestMs !== undefined
          ? Math.max(0, world.nowMs() - oldestMs)
          : state.scannedMs === undefined
            ? undefined
            : 0,
      scannedMs: state.scannedMs,
      backlogKeys: count.keys + Math.max(onBus.changes, inHand?.keys ?? 0),
      backlogBytes: count.bytes + (inHand?.bytes ?? 0),
      parked: count.parked,
      lastError: count.lastError ?? (awayHere || awaySaid ? state.lastError : undefined),
      lastErrorMs: awayHere || awaySaid ? state.lastErrorMs : undefined,
      rate: state.rate && world.nowMs() - state.rate.atMs < 15_000 ? state.rate : undefined,
    });
  }
  return statuses;
}

async function countDebts(shell: Shell, site: SiteId): Promise<Count> {
  const count: Count = { keys: 0, bytes: 0, parked: 0, oldestMs: undefined, lastError: undefined };
  for await (const page of shell.records.debts(site)) {
    for (const debt of page) {
      count.keys += 1;
      count.bytes += debt.bytes;
      count.oldestMs = least(count.oldestMs, debt.sinceMs);
      count.lastError ??= debt.lastError;
    }
  }
  return count;
}

async function parkedBySite(
  shell: Shell,
): Promise<Map<SiteId, { keys: number; oldestMs: number | undefined }>> {
  const bySite = new Map<SiteId, { keys: number; oldestMs: number | undefined }>();
  for await (const page of shell.records.parked()) {
    for (const parked of page) {
      const sum = bySite.get(parked.site) ?? { keys: 0, oldestMs: undefined };
      bySite.set(parked.site, {
        keys: sum.keys + parked.keys,
        oldestMs: least(sum.oldestMs, parked.sinceMs),
      });
    }
  }
  return bySite;
}

function least(...values: readonly (number | undefined)[]): number | undefined {
  const known = values.filter((value) => value !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}
