import type { SiteId } from '../model/version.ts';
import { isRecalled, recall } from '../replicate/recall.ts';
import type { Shell } from '../replicate/shell.ts';
import type { Tally } from './pass.ts';

/** What must be done before a listing is let through. `all`: and before the ledger is read; absent: nothing. */
export interface Gates {
  readonly bySite: ReadonlyMap<SiteId, Promise<unknown>>;
  readonly all?: Promise<unknown>;
}

/**
 * Each site must be proved; where the ledger is new to a site, what that keeps is read first: of all sites, for the
 * tombstone of a key may stand at one that does not hold it.
 */
export async function recalling(
  shell: Shell,
  proofs: ReadonlyMap<SiteId, Promise<void>>,
  tallies: ReadonlyMap<SiteId, Tally>,
  signal: AbortSignal,
): Promise<Gates> {
  const known = await Promise.all([...proofs.keys()].map((site) => isRecalled(shell, site)));
  if (known.every(Boolean)) return { bySite: proofs };
  const recalls = [...proofs].map(async ([site, proof], i) => {
    await proof;
    if (!known[i]) tallies.get(site)!.recalled = await recall(shell, site, signal);
  });
  const all = Promise.allSettled(recalls);
  const gates = [...proofs.keys()].map((site, i) => [site, all.then(() => recalls[i])] as const);
  for (const [, gate] of gates) gate.catch(() => {});
  return { bySite: new Map(gates), all };
}

/** Asks for the first page at once, and lets nothing through before the site is proved to be the one it was. */
export async function* proven<T>(pages: AsyncIterable<T>, proof: Promise<unknown>): AsyncGenerator<T> {
  const iterator = pages[Symbol.asyncIterator]();
  try {
    let next = iterator.next();
    next.catch(() => {});
    await proof;
    for (let page = await next; !page.done; page = await next) {
      yield page.value;
      next = iterator.next();
    }
  } finally {
    await iterator.return?.();
  }
}

export async function* after<T>(
  gate: Promise<unknown> | undefined,
  pages: () => AsyncIterable<T>,
): AsyncGenerator<T> {
  if (gate) await gate;
  yield* pages();
}
