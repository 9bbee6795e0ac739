import { StoreFailure } from '../model/failure.ts';
import { maxAheadMs, millisOf, timeOf } from '../model/stamp.ts';
import type { SiteId, Version } from '../model/version.ts';

/**
 * A version that metadata bring along, and the ledger does not know, was stamped by another clock. One that is too far
 * ahead would win every conflict until its time has come: `invalid`, so it is parked. Adopted writes are clamped instead.
 */
export function demandTimely(version: Version, site: SiteId, key: string, nowMs: number): void {
  if (millisOf(version.stamp) - nowMs <= maxAheadMs) return;
  throw new StoreFailure(
    'invalid',
    `${key} at ${site} carries a version stamped ${timeOf(version.stamp)} UTC, ahead of this machine's clock by ` +
      `more than ${maxAheadMs} ms; it is neither copied nor overwritten. Set the clocks right; a pass takes it up when ` +
      'that time has come, "isobar parked retry" at once, as a write made now',
  );
}
