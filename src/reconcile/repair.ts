import { newestOf } from '../decide/resolve.ts';
import { withReplica } from '../model/record.ts';
import { derivedOperation } from '../model/version.ts';
import { copy } from '../replicate/copy.ts';
import { damagedBody } from '../replicate/keepsakes.ts';
import type { Replicator } from '../replicate/replicator.ts';
import type { Shell } from '../replicate/shell.ts';
import type { Difference } from './verify.ts';

/**
 * Writes a rotten body anew from a site whose body still has its digest. The damaged one is kept as a loser.
 * False when the object is no longer the one that was found damaged.
 */
export async function repairRotten(
  shell: Shell,
  replicator: Replicator,
  difference: Difference,
  signal: AbortSignal,
): Promise<boolean> {
  const { rotten, key, site } = difference;
  const record = await shell.records.read(key);
  const newest = newestOf(record, shell.ruleOf)?.replica;
  const held = record.replicas[site];
  if (!rotten || !newest || held?.token === undefined || held.token !== rotten.held.token) return false;
  const damaged = {
    ...held,
    version: { ...held.version, operation: derivedOperation('damaged', site, held.token) },
  };
  const condition = { kind: 'match', token: held.token } as const;
  const decision = {
    kind: 'copy',
    newest,
    from: rotten.good,
    condition,
    loser: damaged,
    because: damagedBody,
  } as const;
  const proof = await copy(shell, key, decision, replicator.lanes.get(site)!.target, signal);
  if (proof.kind === 'conflict') return false;
  await shell.records.update(key, (now) =>
    now.replicas[site]?.token === held.token ? withReplica(now, site, proof.target) : undefined,
  );
  return true;
}
