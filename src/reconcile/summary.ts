import type { SiteId } from '../model/version.ts';
import type { Shell } from '../replicate/shell.ts';
import type { PassResult } from './pass.ts';

export interface SyncResult extends PassResult {
  /** Keys that a site still lacks. */
  readonly owed: Readonly<Record<SiteId, number>>;
  /** The last failure of one of them; absent when none was tried. */
  readonly owedBecause: Readonly<Record<SiteId, string>>;
  readonly parked: number;
  readonly guarded: number;
  readonly away: Readonly<Record<SiteId, string>>;
}

/** What a pass has left undone, by what the ledger says after it. */
export async function summaryOf({ policy, records }: Shell, result: PassResult): Promise<SyncResult> {
  const owed: Record<SiteId, number> = {};
  const owedBecause: Record<SiteId, string> = {};
  const away: Record<SiteId, string> = {};
  let parked = 0;
  let guarded = 0;
  for (const site of policy.sites) {
    const tally = result.sites[site]!;
    if (tally.away !== undefined) away[site] = tally.away;
    guarded += tally.guarded;
    owed[site] = 0;
    for await (const page of records.debts(site)) {
      owed[site] += page.length;
      const failed = page.find(({ lastError }) => lastError !== undefined);
      if (failed?.lastError !== undefined) owedBecause[site] ??= failed.lastError;
    }
  }
  for await (const page of records.parked()) parked += page.length;
  return { ...result, owed, owedBecause, parked, guarded, away };
}
