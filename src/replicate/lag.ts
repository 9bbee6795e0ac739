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

/** Keys that a site lacks, and since when the oldest is missing. */
interface Count {
  readonly keys: number;
  readonly bytes: number;
  readonly oldestMs: number | undefined;
  readonly lastError?: string;
}

/**
 * Read in the order in which a change moves, so that one on its way is seen at least once: it leaves the bus, the
 * hand or the debts only when a later one of these, the parked or the site itself has it. The scans come first: what
 * the last complete one found is in hand or further by then.
 */
export async function statusOf(shell: Shell, replicator: Replicator | undefined): Promise<SiteStatus[]> {
  const { records, policy, bus } = shell;
  const states = await Promise.all(policy.sites.map((site) => records.siteState(site)));
  const onBus = await bus.backlog(policy.dataset);
  const inHand = policy.sites.map((site) => replicator?.lanes.get(site)?.inHand());
  const debts = await Promise.all(policy.sites.map((site) => countDebts(shell, site)));
  const parked = await parkedBySite(shell);
  return policy.sites.map((site, i) => {
    const state = states[i]!;
    const owed = debts[i]!;
    const held = parked.get(site);
    const oldestMs = least(owed.oldestMs, onBus.oldestMs, held?.oldestMs, inHand[i]?.oldestMs);
    const nowMs = shell.world.nowMs();
    const awayHere = replicator !== undefined && !shell.sites.get(site)!.breaker.closed;
    const awaySaid = state.lastErrorMs !== undefined && state.lastErrorMs > (state.scannedMs ?? 0);
    const away = awayHere || awaySaid;
    const known = state.scannedMs === undefined ? undefined : 0;
    return {
      site,
      state: away ? 'away' : state.scannedMs === undefined ? 'unknown' : 'ok',
      lagMs: oldestMs === undefined ? known : Math.max(0, nowMs - oldestMs),
      scannedMs: state.scannedMs,
      backlogKeys: owed.keys + Math.max(onBus.changes, inHand[i]?.keys ?? 0),
      backlogBytes: owed.bytes + (inHand[i]?.bytes ?? 0),
      parked: held?.keys ?? 0,
      lastError: owed.lastError ?? (away ? state.lastError : undefined),
      lastErrorMs: away ? state.lastErrorMs : undefined,
      rate: state.rate && nowMs - state.rate.atMs < 15_000 ? state.rate : undefined,
    };
  });
}

async function countDebts(shell: Shell, site: SiteId): Promise<Count> {
  let keys = 0;
  let bytes = 0;
  let oldestMs: number | undefined;
  let lastError: string | undefined;
  for await (const page of shell.records.debts(site)) {
    for (const debt of page) {
      keys += 1;
      bytes += debt.bytes;
      oldestMs = least(oldestMs, debt.sinceMs);
      lastError ??= debt.lastError;
    }
  }
  return { keys, bytes, oldestMs, ...(lastError === undefined ? {} : { lastError }) };
}

async function parkedBySite(shell: Shell): Promise<Map<SiteId, Count>> {
  const bySite = new Map<SiteId, Count>();
  for await (const page of shell.records.parked()) {
    for (const { site, keys, bytes, sinceMs } of page) {
      const sum = bySite.get(site) ?? { keys: 0, bytes: 0, oldestMs: undefined };
      bySite.set(site, {
        keys: sum.keys + keys,
        bytes: sum.bytes + bytes,
        oldestMs: least(sum.oldestMs, sinceMs),
      });
    }
  }
  return bySite;
}

function least(...values: readonly (number | undefined)[]): number | undefined {
  const known = values.filter((value) => value !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}
