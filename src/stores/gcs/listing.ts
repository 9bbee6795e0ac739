import { StoreFailure } from '../../model/failure.ts';
import { compareKeys, reservedPrefix } from '../../model/key.ts';
import type { ListEntry, ListRequest } from '../../ports/object-store.ts';
import { checkListing, type GcsApi } from './api.ts';
import type { HeadCache } from './head-cache.ts';
import { asResource, fieldsOfHead, headOf } from './resource.ts';
import type { Query } from './token.ts';

/** The service's own maximum for a page. */
const maxPageSize = 1000;
/** The first name behind everything below `.isobar/`: "0" follows "/". */
const afterReserved = `${reservedPrefix.slice(0, -1)}0`;
const fields = `kind,nextPageToken,items(${fieldsOfHead})`;

export async function* listObjects(
  api: GcsApi,
  heads: HeadCache,
  request: ListRequest,
  signal: AbortSignal,
): AsyncGenerator<readonly ListEntry[]> {
  const hide = !(request.prefix ?? '').startsWith(reservedPrefix);
  const follow = new Follow();
  let position = boundsOf(api.prefix, request);
  for (;;) {
    const page = await fetchPage(api, position, signal);
    follow.check(page);
    const entries = page.entries.filter(
      ({ key }) => key !== '' && within(key, request) && !(hide && key.startsWith(reservedPrefix)),
    );
    for (const entry of entries) heads.put(entry);
    yield entries;
    if (page.next === undefined) return;
    const last = page.entries.at(-1);
    // Uploads under way can be many pages: jump over what is hidden anyway.
    const jump = hide && last?.key.startsWith(reservedPrefix);
    const { pageToken: _, ...start } = position;
    position = jump
      ? { ...start, startOffset: api.prefix + afterReserved }
      : { ...start, pageToken: page.next };
  }
}

/**
 * The service's start is inclusive and its end exclusive, the port's the other way round. A name that follows
 * `until` closely enough is "until!"; what lies between (control characters, blanks) is filtered out.
 */
function boundsOf(prefix: string, { prefix: below, after, until, pageSize }: ListRequest): Query {
  return {
    fields,
    maxResults: String(Math.min(maxPageSize, pageSize ?? maxPageSize)),
    ...(prefix + (below ?? '') === '' ? {} : { prefix: prefix + (below ?? '') }),
    ...(after === undefined || after === '' ? {} : { startOffset: prefix + after }),
    ...(until === undefined ? {} : { endOffset: `${prefix}${until}!` }),
  };
}

function within(key: string, { after, until }: ListRequest): boolean {
  if (after !== undefined && compareKeys(key, after) <= 0) return false;
  return until === undefined || compareKeys(key, until) <= 0;
}

interface Page {
  readonly entries: readonly (ListEntry & { metadata: NonNullable<ListEntry['metadata']> })[];
  readonly next: string | undefined;
}

async function fetchPage(api: GcsApi, position: Query, signal: AbortSignal): Promise<Page> {
  const answer = await api.call({ method: 'GET', path: api.listPath(position) }, signal);
  const listing = checkListing(api.json(answer, 'list objects'));
  const entries = (listing.items ?? []).map((item) => {
    const resource = asResource(item);
    if (!resource.name.startsWith(api.prefix)) {
      throw broken(`it names "${resource.name}", which is not below the prefix "${api.prefix}"`);
    }
    return headOf(resource.name.slice(api.prefix.length), resource);
  });
  return { entries, next: listing.nextPageToken === '' ? undefined : listing.nextPageToken };
}

/** What must hold over all pages. */
class Follow {
  #last: string | undefined;
  /** Since keys came last: while keys grow, nothing can go in circles. */
  readonly #tokens = new Set<string>();

  check(page: Page): void {
    for (const { key } of page.entries) {
      if (this.#last !== undefined && compareKeys(key, this.#last) <= 0) {
        throw broken(`"${key}" comes after "${this.#last}", which is not its place`);
      }
      this.#last = key;
    }
    if (page.entries.length > 0) this.#tokens.clear();
    if (page.next === undefined) return;
    if (this.#tokens.has(page.next)) throw broken('a page token comes a second time');
    this.#tokens.add(page.next);
  }
}

function broken(why: string): StoreFailure {
  return new StoreFailure('broken-listing', `the listing cannot be trusted: ${why}; it is tried again`);
}
