import type { KeyRecord } from '../model/record.ts';
import { covers, type SiteId } from '../model/version.ts';
import { type Attribution, seenBy } from './attribute.ts';

/** When each site's last complete scan began; undefined: never. Milliseconds since 1970. */
export type Scans = ReadonlyMap<SiteId, number | undefined>;

/**
 * Whether `site` was away for longer than deletions are remembered: others were scanned so long after it. Where nobody
 * was scanned, Isobar itself was away, and has forgotten nothing.
 */
export function wasAwayTooLong(site: SiteId, scans: Scans, retentionMs: number): boolean {
  const own = scans.get(site);
  if (own === undefined) return false;
  return Math.max(...[...scans.values()].map((ms) => ms ?? 0)) - own > retentionMs;
}

/** What a quarantined site is not believed: whatever the ledger does not know of already. */
export function isNews(record: KeyRecord, verdict: Attribution): boolean {
  if (verdict.kind !== 'native' && verdict.kind !== 'ours') return false;
  const { dot } = verdict.replica.version;
  return !Object.values(record.replicas).some((one) => covers(seenBy(one), dot));
}
