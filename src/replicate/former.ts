import { StoreFailure } from '../model/failure.ts';
import { type Replica, sameContent } from '../model/record.ts';
import type { SiteId } from '../model/version.ts';
import { keepLoser, noteKey } from './keepsakes.ts';
import type { Loser } from './records.ts';
import { type Shell, type Site, siteOf } from './shell.ts';

/** Why a body is kept that lost no conflict. */
export const keptForUndo = 'kept for undo';

/** Where `guards.keep` asks for it, what a target holds is put aside before it is overwritten or removed. */
export async function keepFormer(
  shell: Shell,
  site: Site,
  key: string,
  newest: Replica,
  signal: AbortSignal,
): Promise<void> {
  if (!shell.policy.guards.keep) return;
  const held = (await shell.records.read(key)).replicas[site.id];
  if (!held || held.version.deleted || sameContent(held, newest)) return;
  // It lost nothing: nobody needs to hear of a conflict.
  await keepLoser({ ...shell, events: {} }, site, key, held, newest.version, signal, keptForUndo);
}

/** Removes what was kept for longer than `guards.keep` says, and, oldest first, what is beyond its bytes at a site. */
export async function collectFormer(shell: Shell, signal: AbortSignal): Promise<void> {
  const { keep } = shell.policy.guards;
  const bytes = new Map<SiteId, number>();
  const kept: Loser[] = [];
  const nowMs = shell.world.nowMs();
  for await (const page of shell.records.losers()) {
    for (const loser of page) {
      if (loser.because !== keptForUndo) continue;
      bytes.set(loser.site, (bytes.get(loser.site) ?? 0) + loser.size);
      kept.push(loser);
    }
  }
  for (const loser of kept.sort((a, b) => a.sinceMs - b.sinceMs)) {
    const left = bytes.get(loser.site)!;
    const isFresh = keep !== undefined && nowMs - loser.sinceMs <= keep.forMs;
    if (isFresh && left <= keep.bytes) continue;
    if (!shell.policy.sites.includes(loser.site) || !(await discard(shell, loser, signal))) continue;
    bytes.set(loser.site, left - loser.size);
  }
}

/** False when the site cannot be asked now; the next pass tries again. */
async function discard(shell: Shell, loser: Loser, signal: AbortSignal): Promise<boolean> {
  const { store } = siteOf(shell, loser.site);
  try {
    for (const name of [loser.keptAs, noteKey(loser.keptAs)]) {
      const head = await store.head(name, signal);
      if (head) await store.remove(name, head.token, signal);
    }
  } catch (failure) {
    if (!(failure instanceof StoreFailure)) throw failure;
    return false;
  }
  await shell.records.commit([shell.records.release(loser)]);
  return true;
}
