import { compare, type Row } from '../decide/compare.ts';
import { newestOf } from '../decide/resolve.ts';
import { traitsOf } from '../model/entry.ts';
import { StoreFailure } from '../model/failure.ts';
import { emptyRecord, type Replica } from '../model/record.ts';
import { relate, type SiteId } from '../model/version.ts';
import type { ListEntry } from '../ports/object-store.ts';
import { recogniseSite } from '../replicate/marker.ts';
import { digestOf } from '../replicate/observe.ts';
import { Semaphore } from '../replicate/semaphore.ts';
import { type Shell, siteOf } from '../replicate/shell.ts';
import { join } from '../sources/scan/join.ts';

export type DifferenceKind =
  /** The site lacks a key that others hold. */
  | 'missing'
  /** The site holds a key that is deleted. */
  | 'extra'
  /** The site holds other content. */
  | 'differs'
  /** The site could not be read for this key. */
  | 'unreadable';

export interface Difference {
  readonly key: string;
  readonly site: SiteId;
  readonly kind: DifferenceKind;
  readonly because: string;
  /** Set when the site's object is the very write in the ledger and yet not its content: the body has rotted. */
  readonly rotten?: { readonly held: Replica; readonly good: readonly SiteId[] };
}

export interface Verified {
  readonly keys: number;
  readonly bytesRead: number;
  readonly counts: Readonly<Record<DifferenceKind, number>>;
  /** What each site listed. */
  readonly sites: Readonly<Record<SiteId, { readonly keys: number; readonly bytes: number }>>;
  /** Sites that could not be listed, and why: nothing is said of them. */
  readonly away: Readonly<Record<SiteId, string>>;
}

export interface VerifyOptions {
  /** Read every body at every site, and compare content and metadata. */
  readonly deep?: boolean;
}

/** Bodies read at once by a deep verification. */
const bodiesAtOnce = 16;

/** Compares all sites; `found` is called for every difference, in about the order of keys. Writes nothing. */
export async function verify(
  shell: Shell,
  options: VerifyOptions,
  found: (difference: Difference) => void | Promise<void>,
  signal: AbortSignal,
): Promise<Verified> {
  const counts = { missing: 0, extra: 0, differs: 0, unreadable: 0 };
  const away: Record<SiteId, string> = {};
  const listed: Record<SiteId, { keys: number; bytes: number }> = {};
  for (const site of shell.policy.sites) listed[site] = { keys: 0, bytes: 0 };
  let keys = 0;
  let bytesRead = 0;
  const report = async (differences: readonly Difference[]) => {
    for (const difference of differences) {
      counts[difference.kind] += 1;
      await found(difference);
    }
  };
  await proveEach(shell, away, signal);
  const sites = shell.policy.sites.filter((site) => away[site] === undefined);
  const rows = join({
    listings: new Map(sites.map((site) => [site, siteOf(shell, site).store.list({}, signal)])),
    records: shell.records.scan(),
    failed: (site, error) => {
      away[site] = error instanceof Error ? error.message : String(error);
    },
  });
  const slots = new Semaphore(bodiesAtOnce);
  let failure: unknown;
  for await (const batch of rows) {
    signal.throwIfAborted();
    for (const row of batch) {
      const readable = sites.filter((site) => away[site] === undefined);
      for (const [site, entry] of Object.entries(row.entries)) {
        listed[site]!.keys += 1;
        listed[site]!.bytes += entry.size;
      }
      if (isGone(shell, row)) continue;
      keys += 1;
      const shallow = differencesIn(shell, row, readable);
      await report(shallow);
      if (!options.deep) continue;
      const suspected = new Set(shallow.map(({ site }) => site));
      const release = await slots.acquire(1, signal);
      void deepCompare(
        shell,
        row,
        readable.filter((site) => row.entries[site] && !suspected.has(site)),
        signal,
      )
        .then(async (result) => {
          bytesRead += result.bytes;
          await report(result.differences);
        })
        .catch((error: unknown) => {
          failure ??= error;
        })
        .finally(release);
    }
    if (failure) throw failure;
  }
  (await slots.acquire(bodiesAtOnce, signal))();
  if (failure) throw failure;
  return { keys, bytesRead, counts, sites: listed, away };
}

async function proveEach(shell: Shell, away: Record<SiteId, string>, signal: AbortSignal): Promise<void> {
  await Promise.all(
    shell.policy.sites.map(async (site) => {
      try {
        await recogniseSite(shell, site, signal);
      } catch (error) {
        signal.throwIfAborted();
        away[site] = error instanceof Error ? error.message : String(error);
      }
    }),
  );
}

/** Deleted everywhere, and known to be. */
function isGone(shell: Shell, row: Row): boolean {
  return (
    Object.keys(row.entries).length === 0 &&
    newestOf(row.record ?? emptyRecord(row.key), shell.ruleOf)?.replica.version.deleted === true
  );
}

function differencesIn(shell: Shell, row: Row, readable: readonly SiteId[]): Difference[] {
  const { key, record } = row;
  const newest = record && newestOf(record, shell.ruleOf)?.replica;
  if (newest?.version.deleted) {
    return readable.flatMap((site) =>
      row.entries[site] ? [{ key, site, kind: 'extra' as const, because: 'the key is deleted' }] : [],
    );
  }
  const { unknown } = compare(row, readable, (site, a, b) => siteOf(shell, site).store.sameWrite(a, b));
  return readable.flatMap((site): Difference[] => {
    const entry = row.entries[site];
    if (!entry) return [{ key, site, kind: 'missing', because: 'other sites hold the key' }];
    const because = unknown.includes(site)
      ? unknownWrite(row, site, entry)
      : staleVersion(newest, record?.replicas[site]);
    return because ? [{ key, site, kind: 'differs', because }] : [];
  });
}

function staleVersion(newest: Replica | undefined, held: Replica | undefined): string | undefined {
  if (!newest || !held || relate(held.version, newest.version) === 'same') return undefined;
  return 'an older version';
}

/** An object that the ledger does not know: the same as the others only if the stores' own digests say so. */
function unknownWrite(row: Row, site: SiteId, entry: ListEntry): string | undefined {
  const others = Object.entries(row.entries).filter(([other]) => other !== site);
  if (others.length === 0) return undefined;
  if (others.some(([, other]) => other.size !== entry.size))
    return 'another size, written since the last sync';
  const alike = others.every(
    ([, other]) => other.digests.md5 !== undefined && other.digests.md5 === entry.digests.md5,
  );
  return alike || entry.size === 0 ? undefined : 'written since the last sync; its content is not known yet';
}

interface Content {
  readonly site: SiteId;
  readonly digest: string;
  readonly traits: string;
}

async function deepCompare(
  shell: Shell,
  row: Row,
  sites: readonly SiteId[],
  signal: AbortSignal,
): Promise<{ bytes: number; differences: Difference[] }> {
  const contents: Content[] = [];
  const differences: Difference[] = [];
  let bytes = 0;
  for (const site of sites) {
    try {
      contents.push(await contentAt(shell, site, row.key, row.entries[site]!, signal));
      bytes += row.entries[site]!.size;
    } catch (failure) {
      signal.throwIfAborted();
      if (!(failure instanceof StoreFailure)) throw failure;
      const kind = failure.code === 'changed' ? 'differs' : 'unreadable';
      differences.push({ key: row.key, site, kind, because: failure.message });
    }
  }
  return { bytes, differences: [...differences, ...contentDifferences(shell, row, contents)] };
}

async function contentAt(
  shell: Shell,
  site: SiteId,
  key: string,
  entry: ListEntry,
  signal: AbortSignal,
): Promise<Content> {
  const { store } = siteOf(shell, site);
  const head = entry.metadata ? { ...entry, metadata: entry.metadata } : await store.head(key, signal);
  const digest = head && (await digestOf(store, key, head.token, signal));
  if (!head || digest === undefined) throw new StoreFailure('changed', 'it changed while it was verified');
  return { site, digest, traits: traitsOf(head.metadata) };
}

/** Against the digest in the ledger; where that is unknown, against what most sites hold. */
function contentDifferences(shell: Shell, row: Row, contents: readonly Content[]): Difference[] {
  const newest = row.record && newestOf(row.record, shell.ruleOf)?.replica;
  const digest = newest?.digest ?? mostCommon(contents.map((content) => content.digest));
  const good = contents.filter((content) => content.digest === digest);
  const traits = newest?.traits ?? mostCommon(good.map((content) => content.traits));
  return contents.flatMap((content): Difference[] => {
    const { site } = content;
    const held = row.record?.replicas[site];
    if (content.digest !== digest) {
      const rotten = held && good.length > 0 ? { rotten: { held, good: good.map((one) => one.site) } } : {};
      return [{ key: row.key, site, kind: 'differs', because: 'the body has another digest', ...rotten }];
    }
    return content.traits === traits
      ? []
      : [{ key: row.key, site, kind: 'differs', because: 'other metadata or tags' }];
  });
}

function mostCommon(values: readonly string[]): string | undefined {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0];
}
