import { StoreFailure } from '../../model/failure.ts';
import { compareKeys, reservedPrefix } from '../../model/key.ts';
import type { ListEntry, ListRequest } from '../../ports/object-store.ts';
import { textOf } from '../http/send.ts';
import type { Container } from './container.ts';
import { AzureError } from './failure.ts';
import { ByteOrder, isLateSibling, isPast, startFor } from './order.ts';
import { type Page, parsePage } from './page.ts';

/** The service's own maximum. */
const maxPageSize = 5_000;
/** 10 µs of CPU per entry to parse: a page of this size holds the event loop for some 20 ms. */
const defaultPageSize = 2_000;
/** How many entries may wait for siblings that sort before them in UTF-8. */
const maxHeld = 10_000;

/** A stretch of the listing in the server's order; names without the site's prefix. */
interface Stretch {
  readonly prefix: string;
  /** Inclusive. */
  readonly from: string;
  readonly pageSize: number;
  /** Leaves out what stands below `.isobar/`. */
  readonly hidesReserved: boolean;
}

/** As the port says: pages in the order of UTF-8, complete or an error. */
export async function* listBlobs(
  container: Container,
  request: ListRequest,
  signal: AbortSignal,
): AsyncGenerator<readonly ListEntry[]> {
  const { prefix = '', after = '', until, pageSize = defaultPageSize } = request;
  const from = startFor(after);
  // Nothing below the prefix comes at or after the start.
  if (!from.startsWith(prefix) && from > prefix) return;
  const hidesReserved = !prefix.startsWith(reservedPrefix);
  const stretch = { prefix, from, pageSize: Math.min(Math.max(1, pageSize), maxPageSize), hidesReserved };
  let last = after;
  for await (const page of inByteOrder(container, stretch, until, signal)) {
    const wanted: ListEntry[] = [];
    for (const entry of page) {
      if (compareKeys(entry.key, after) <= 0) continue;
      if (until !== undefined && compareKeys(entry.key, until) > 0) continue;
      if (compareKeys(entry.key, last) <= 0) throw outOfOrder(container, last, entry.key);
      last = entry.key;
      wanted.push(entry);
    }
    if (wanted.length > 0) yield wanted;
  }
}

function outOfOrder(container: Container, before: string, key: string): StoreFailure {
  return broken(
    container,
    `${JSON.stringify(key)} came after ${JSON.stringify(before)}. Accounts with a hierarchical namespace ` +
      '(Data Lake Storage) list so; Isobar needs one without',
  );
}

function broken(container: Container, why: string, cause?: unknown): StoreFailure {
  return new StoreFailure(
    'broken-listing',
    `The listing of ${container.where} is not usable: ${why}. Nothing was concluded from it; it is tried again.`,
    { cause },
  );
}

async function* inByteOrder(
  container: Container,
  stretch: Stretch,
  until: string | undefined,
  signal: AbortSignal,
): AsyncGenerator<readonly ListEntry[]> {
  const order = new ByteOrder<ListEntry>();
  for await (const page of serverPages(container, stretch, signal)) {
    const end = until === undefined ? -1 : page.findIndex((entry) => isPast(entry.key, until));
    for (const entry of end < 0 ? page : page.slice(0, end)) {
      if (!order.isSettled(entry.key)) order.push(entry);
    }
    if (end >= 0) break;
    yield order.take();
    yield* settleOverflow(container, stretch, order, signal);
  }
  order.end();
  yield order.take();
}

/**
 * Where too many wait, the siblings that come first are listed ahead, and then nothing needs to wait for
 * them. The part in between is listed twice, which keeps memory bounded.
 */
async function* settleOverflow(
  container: Container,
  stretch: Stretch,
  order: ByteOrder<ListEntry>,
  signal: AbortSignal,
): AsyncGenerator<readonly ListEntry[]> {
  for (let wait = order.overflow(maxHeld); wait !== undefined; wait = order.overflow(maxHeld)) {
    const { beginning, lastKey } = wait;
    const prefix = beginning.startsWith(stretch.prefix) ? beginning : stretch.prefix;
    const rest = { ...stretch, prefix, from: lastKey };
    const ahead = new ByteOrder<ListEntry>();
    for await (const page of serverPages(container, rest, signal)) {
      for (const entry of page) {
        if (isLateSibling(entry.key, beginning) && !ahead.isSettled(entry.key)) ahead.push(entry);
      }
      yield ahead.take();
      yield* settleOverflow(container, rest, ahead, signal);
    }
    ahead.end();
    yield ahead.take();
    order.settle();
    yield order.take();
  }
}

/** The first name after everything below `.isobar/`. */
const pastReserved = `${reservedPrefix.slice(0, -1)}0`;

/** The server's pages as they come. What is hidden is jumped over, not read through. */
async function* serverPages(
  container: Container,
  stretch: Stretch,
  signal: AbortSignal,
): AsyncGenerator<readonly ListEntry[]> {
  const meetsReserved = stretch.hidesReserved && reservedPrefix.startsWith(stretch.prefix);
  const isHidden = (key: string | undefined) => meetsReserved && (key?.startsWith(reservedPrefix) ?? false);
  let from = isHidden(stretch.from) ? pastReserved : stretch.from;
  let marker = '';
  let last: string | undefined;
  let emptyPages = new Set<string>();
  for (;;) {
    const { entries, nextMarker } = await onePage(container, { ...stretch, from }, marker, signal);
    const first = entries[0]?.key;
    if (first !== undefined && last !== undefined && first <= last && compareKeys(first, last) <= 0) {
      throw outOfOrder(container, last, first);
    }
    last = entries.at(-1)?.key ?? last;
    yield meetsReserved ? entries.filter((entry) => !isHidden(entry.key)) : entries;
    if (nextMarker === '') return;
    if (isHidden(last) && from < pastReserved) {
      from = pastReserved;
      marker = '';
      continue;
    }
    if (nextMarker === marker || emptyPages.has(nextMarker))
      throw broken(container, 'a page token came twice');
    marker = nextMarker;
    emptyPages = entries.length > 0 ? new Set() : emptyPages.add(marker);
  }
}

async function onePage(
  container: Container,
  stretch: Stretch,
  marker: string,
  signal: AbortSignal,
): Promise<Page> {
  const site = container.target.prefix;
  const prefix = site + stretch.prefix;
  const { text, withTags } = await pageText(container, pageQuery(stretch, site, marker), signal);
  try {
    return parsePage(text, withTags, (name) => withoutPrefix(name, prefix, site.length));
  } catch (cause) {
    throw broken(container, cause instanceof Error ? cause.message : String(cause), cause);
  }
}

function pageQuery(stretch: Stretch, site: string, marker: string): Record<string, string> {
  const prefix = site + stretch.prefix;
  const from = site + stretch.from;
  return {
    restype: 'container',
    comp: 'list',
    maxresults: String(stretch.pageSize),
    ...(prefix === '' ? {} : { prefix }),
    ...(marker === '' ? {} : { marker }),
    // A server that does not know this begins at the start; what comes too early is left out here.
    ...(from > prefix ? { startFrom: from } : {}),
  };
}

/** Tags need a permission of their own: without it the listing goes on without them. */
async function pageText(
  container: Container,
  query: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<{ text: string; withTags: boolean }> {
  const request = (include: string) =>
    ({ method: 'GET', query: { ...query, include }, what: 'listing' }) as const;
  if (container.listsTags) {
    const answer = await container.send(request('metadata,tags'), signal);
    if (!(answer instanceof AzureError)) return { text: await textOf(answer, signal), withTags: true };
    if (answer.status !== 403) throw container.failure(answer, request(''));
  }
  const answer = await container.send(request('metadata'), signal);
  if (answer instanceof AzureError) throw container.failure(answer, request(''));
  container.listsTags = false;
  return { text: await textOf(answer, signal), withTags: false };
}

function withoutPrefix(name: string, prefix: string, siteLength: number): string {
  if (!name.startsWith(prefix)) throw new Error(`${JSON.stringify(name)} was not asked for`);
  return name.slice(siteLength);
}
