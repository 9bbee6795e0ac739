import { hash } from 'node:crypto';
import { entryOn, withoutEntry } from '../model/entry.ts';
import { StoreFailure } from '../model/failure.ts';
import { historyOf, type SiteId, type Version } from '../model/version.ts';
import type { ObjectStore, Token } from '../ports/object-store.ts';
import type { Body, Burial } from './attempt.ts';
import { keptForUndo } from './former.ts';
import { keepLoser, noteKey } from './keepsakes.ts';
import type { Fetched } from './read.ts';
import type { Loser } from './records.ts';
import type { Replicator } from './replicator.ts';
import { type Shell, type Site, siteOf } from './shell.ts';
import { put, type WriteResult } from './write.ts';

/** A write that lost a conflict, and is kept until somebody releases it. */
export interface KeptWrite extends Omit<Loser, 'site'> {
  /** 12 hex digits. */
  readonly id: string;
  /** Where its body is kept. */
  readonly sites: readonly SiteId[];
}

export interface Released {
  /** Sites that could not be asked to remove it, and why: there it is still kept. */
  readonly left: Readonly<Record<SiteId, string>>;
}

/** Of one key, or all; by key, then in the order of their names. */
export async function* keptWrites(shell: Shell, key?: string): AsyncGenerator<KeptWrite> {
  let open: (KeptWrite & { sites: SiteId[] }) | undefined;
  for await (const page of shell.records.losers(key)) {
    for (const { site, ...loser } of page) {
      if (loser.because === keptForUndo) continue;
      if (open?.keptAs === loser.keptAs && open.key === loser.key) {
        open.sites.push(site);
        continue;
      }
      if (open) yield open;
      open = { ...loser, id: idOf(loser.keptAs), sites: [site] };
    }
  }
  if (open) yield open;
}

function idOf(keptAs: string): string {
  return hash('sha256', keptAs).slice(0, 12);
}

async function keptBy(shell: Shell, id: string): Promise<KeptWrite | undefined> {
  for await (const kept of keptWrites(shell)) if (kept.id === id) return kept;
  return undefined;
}

/** The body that lost, with its metadata, from the first site that has it. Undefined: nothing is kept under that id. */
export async function openKept(shell: Shell, id: string, signal: AbortSignal): Promise<Fetched | undefined> {
  const kept = await keptBy(shell, id);
  if (!kept) return undefined;
  return fromSite(shell, kept, async (site) => {
    const read = await site.store.read(kept.keptAs, {}, signal);
    const entry = read && entryOn(kept.key, read.head.metadata);
    if (!entry) return undefined;
    const { size, lastModifiedMs, metadata } = read.head;
    return {
      key: kept.key,
      site: site.id,
      size,
      lastModifiedMs,
      version: entry.version,
      ...(entry.digest === undefined ? {} : { digest: entry.digest }),
      metadata: withoutEntry(metadata),
      body: read.body,
      bytes: () => read.bytes(),
    };
  });
}

/** Sites that are well first. Throws what the last one said, or `changed` when none has the body any more. */
async function fromSite<T>(
  shell: Shell,
  kept: KeptWrite,
  read: (site: Site) => Promise<T | undefined>,
): Promise<T> {
  const sites = kept.sites.flatMap((id) => shell.sites.get(id) ?? []);
  let last: unknown;
  for (const site of sites.sort((a, b) => Number(b.breaker.closed) - Number(a.breaker.closed))) {
    try {
      const found = await read(site);
      if (found !== undefined) return found;
    } catch (failure) {
      if (!(failure instanceof StoreFailure)) throw failure;
      last = failure;
    }
  }
  const where = kept.sites.join(', ');
  throw (
    last ?? new StoreFailure('changed', `${kept.keptAs} is gone from ${where}: somebody removed it there`)
  );
}

/**
 * What lost becomes the current version again: a new write on top of everything, of which it has seen all. What it is
 * written over is kept in turn. Undefined: nothing is kept under that id.
 */
export async function pick(
  shell: Shell,
  replicator: Replicator,
  id: string,
  signal: AbortSignal,
): Promise<(WriteResult & { readonly key: string; readonly size: number }) | undefined> {
  const kept = await keptBy(shell, id);
  if (!kept) return undefined;
  const { key, keptAs } = kept;
  const found = await fromSite(shell, kept, async (site) => {
    const head = await site.store.head(keptAs, signal);
    const entry = head && entryOn(key, head.metadata);
    return entry && { site, head, version: entry.version };
  });
  const { site, head, version } = found;
  const body = bodyAt(site.store, keptAs, head, signal);
  const burial = burialBy(shell, key, version, signal);
  const result = await put(shell, replicator, key, body, withoutEntry(head.metadata), signal, burial);
  await removeKept(shell, kept, signal);
  return { ...result, key, size: head.size };
}

function burialBy(shell: Shell, key: string, picked: Version, signal: AbortSignal): Burial {
  return {
    covering: historyOf(picked),
    keep: (site, held) => keepLoser(shell, site, key, held, picked, signal, 'another was picked'),
  };
}

function bodyAt(
  store: ObjectStore,
  key: string,
  { size, token }: { readonly size: number; readonly token: Token },
  signal: AbortSignal,
): Body {
  return {
    size,
    read: async (range) => {
      const read = await store.read(key, { token, range }, signal);
      if (!read) throw new StoreFailure('changed', `${key} was removed while it was read`);
      return read.bytes();
    },
  };
}

/** Removes what is kept, for good. Undefined: nothing is kept under that id. */
export async function release(shell: Shell, id: string, signal: AbortSignal): Promise<Released | undefined> {
  const kept = await keptBy(shell, id);
  return kept && removeKept(shell, kept, signal);
}

async function removeKept(shell: Shell, kept: KeptWrite, signal: AbortSignal): Promise<Released> {
  const left: Record<SiteId, string> = {};
  for (const id of kept.sites) {
    try {
      // A site that the dataset has no longer is out of reach, and its row would stand for ever.
      if (shell.sites.has(id)) await removeAt(siteOf(shell, id), kept.keptAs, signal);
      await shell.records.commit([shell.records.release({ ...kept, site: id })]);
    } catch (failure) {
      signal.throwIfAborted();
      if (!(failure instanceof StoreFailure)) throw failure;
      left[id] = failure.message;
    }
  }
  return { left };
}

/** The body first: as long as something is there, the ledger says so. */
async function removeAt({ store }: Site, keptAs: string, signal: AbortSignal): Promise<void> {
  for (const name of [keptAs, noteKey(keptAs)]) {
    const head = await store.head(name, signal);
    if (head) await store.remove(name, head.token, signal);
  }
}
