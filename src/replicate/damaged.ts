import { entryOn } from '../model/entry.ts';
import { StoreFailure } from '../model/failure.ts';
import { type Replica, withReplica } from '../model/record.ts';
import { stampOf } from '../model/stamp.ts';
import { derivedOperation, type SiteId } from '../model/version.ts';
import { digestOf } from './observe.ts';
import type { Shell, Site } from './shell.ts';

/**
 * Runs a write of ours. Where the store says `corrupt`, a damaged body may stand under the key, with our entry on it;
 * it is written down as worth nothing before anybody takes it for a native write and spreads it.
 */
export async function distrusting<T>(
  shell: Shell,
  site: Site,
  key: string,
  operation: string,
  write: () => Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  try {
    return await write();
  } catch (failure) {
    if (failure instanceof StoreFailure && failure.code === 'corrupt')
      await disown(shell, site, key, operation, signal);
    throw failure;
  }
}

async function disown(
  shell: Shell,
  site: Site,
  key: string,
  operation: string,
  signal: AbortSignal,
): Promise<void> {
  const head = await site.store.head(key, signal);
  const entry = head && entryOn(key, head.metadata);
  if (!head || entry?.version.operation !== operation) return;
  const digest = await digestOf(site.store, key, head.token, signal);
  if (digest === undefined || digest === entry.digest) return;
  await shell.records.update(key, (record) => {
    const held = record.replicas[site.id];
    if (held?.version.operation === operation) return undefined;
    return withReplica(record, site.id, worthless(site.id, key, head, held));
  });
}

/** As old as what stood there before, or older than anything: the next copy replaces exactly this body. */
function worthless(
  site: SiteId,
  key: string,
  seen: { readonly token: string; readonly size: number },
  held: Replica | undefined,
): Replica {
  const nothing = {
    stamp: stampOf(0),
    dot: { site, count: 0 },
    past: {},
    operation: derivedOperation('damaged', site, key, seen.token),
    deleted: false,
  };
  const version = held && !held.version.deleted ? held.version : nothing;
  return { version, token: seen.token, size: seen.size, ...(held?.seen ? { seen: held.seen } : {}) };
}
