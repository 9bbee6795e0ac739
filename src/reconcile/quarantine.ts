import { wasAwayTooLong } from '../decide/quarantine.ts';
import { retentionOf } from '../model/policy.ts';
import type { SiteId } from '../model/version.ts';
import { quarantineId, type SiteState } from '../replicate/records.ts';
import type { Shell } from '../replicate/shell.ts';

// A site that was away for longer than deletions are remembered is compared, and not believed until a person says so.

/** What a pass found at a site whose absences it does not believe. */
export interface Doubt {
  /** A person said go: what nobody knows is taken up, absences are not believed once more. */
  readonly released: boolean;
  readonly sinceMs: number;
  /** Objects that nobody knows. */
  keys: number;
  bytes: number;
}

/** Sites that are in quarantine, or come into it now. */
export async function doubtedSites(shell: Shell, nowMs: number): Promise<ReadonlyMap<SiteId, Doubt>> {
  const { policy, records, events } = shell;
  const states = new Map<SiteId, SiteState>();
  for (const site of policy.sites) states.set(site, await records.siteState(site));
  const scans = new Map([...states].map(([site, { scannedMs }]) => [site, scannedMs]));
  const doubts = new Map<SiteId, Doubt>();
  for (const [site, { quarantinedMs, releasedMs }] of states) {
    const sinceMs = quarantinedMs ?? releasedMs;
    if (sinceMs === undefined && !wasAwayTooLong(site, scans, retentionOf(policy))) continue;
    const wanted = (await records.parkedBy(quarantineId(site)))?.released === true;
    const released = releasedMs !== undefined || wanted;
    if (sinceMs === undefined) {
      await records.updateSite(site, { quarantinedMs: nowMs });
      events.noticed?.({ site, text: 'it was away for longer than deletions are remembered: quarantine' });
    } else if (wanted && releasedMs === undefined) {
      await records.updateSite(site, { quarantinedMs: undefined, releasedMs: sinceMs });
    }
    doubts.set(site, { released, sinceMs: sinceMs ?? nowMs, keys: 0, bytes: 0 });
  }
  return doubts;
}

/** After a complete pass: ended when a person said so, or when nothing stands there that nobody knows. */
export async function settleDoubt(
  shell: Shell,
  site: SiteId,
  { released, sinceMs, keys, bytes }: Doubt,
): Promise<Partial<SiteState>> {
  const { records } = shell;
  const id = quarantineId(site);
  if (released || keys === 0) {
    if (await records.parkedBy(id)) await records.commit([records.unpark(id)]);
    return { quarantinedMs: undefined, releasedMs: undefined };
  }
  const days = Math.round(retentionOf(shell.policy) / 86_400_000);
  const detail =
    `${site} was away for longer than deletions are remembered (${days} days); ${keys} keys there are unknown to the ` +
    'ledger and may be deleted ones: they are not copied. What it lacked was copied back. "isobar parked retry" takes ' +
    'them for new writes; delete at the site what is not wanted first';
  const reason = 'quarantined' as const;
  await records.commit([records.park({ id, site, reason, detail, sinceMs, keys, bytes })]);
  return {};
}
