import { redact } from '../config/index.ts';
import type { Dataset as Engine } from '../dataset.ts';
import { systemWorld } from '../system-world.ts';
import type { RebuildReport } from './api.ts';

/** The ledger of one dataset made again from its sites, as the command tells of it. */
export async function rebuildLedger(
  engine: Engine,
  { dryRun }: { readonly dryRun: boolean },
  signal: AbortSignal,
): Promise<RebuildReport> {
  const begunMs = systemWorld.nowMs();
  const { keys, sites } = await engine.rebuild({ dryRun }, signal);
  return {
    dataset: engine.policy.dataset,
    dryRun,
    tookMs: systemWorld.nowMs() - begunMs,
    keys,
    sites: Object.entries(sites).map(([site, { away, ...counts }]) => ({
      site,
      reached: away === undefined,
      ...(away === undefined ? {} : { error: redact(away) }),
      ...counts,
    })),
  };
}
