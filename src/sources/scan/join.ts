import type { Row } from '../../decide/compare.ts';
import { compareKeys } from '../../model/key.ts';
import type { KeyRecord } from '../../model/record.ts';
import type { SiteId } from '../../model/version.ts';
import type { ListEntry } from '../../ports/object-store.ts';

/** Walks an ordered stream of pages; one page is fetched ahead, none more. */
class Cursor<T extends { readonly key: string }> {
  readonly #pages: AsyncIterator<readonly T[]>;
  #page: readonly T[] = [];
  #index = 0;
  #ahead: Promise<IteratorResult<readonly T[]>> | undefined;
  #ended = false;

  constructor(pages: AsyncIterable<readonly T[]>) {
    this.#pages = pages[Symbol.asyncIterator]();
    this.#fetchAhead();
  }

  /** The item at hand; undefined at the end, or when `fill` must be awaited first. */
  get current(): T | undefined {
    return this.#page[this.#index];
  }

  get mustFill(): boolean {
    return !this.#ended && this.#index >= this.#page.length;
  }

  step(): void {
    this.#index += 1;
  }

  async fill(): Promise<void> {
    while (this.mustFill) {
      const next = await this.#ahead!;
      if (next.done) {
        this.#ended = true;
        return;
      }
      this.#page = next.value;
      this.#index = 0;
      this.#fetchAhead();
    }
  }

  end(): void {
    this.#ended = true;
    this.#page = [];
    void this.#pages.return?.()?.then(undefined, () => {});
  }

  #fetchAhead(): void {
    this.#ahead = this.#pages.next();
    this.#ahead.catch(() => {});
  }
}

export interface JoinInput {
  readonly listings: ReadonlyMap<SiteId, AsyncIterable<readonly ListEntry[]>>;
  readonly records: AsyncIterable<readonly KeyRecord[]>;
  /** A listing that failed takes no further part; rows after that say nothing of its site. */
  readonly failed: (site: SiteId, error: unknown) => void;
}

const rowsAtOnce = 256;

/** An ordered merge-join of all listings and the ledger: batches of rows, memory flat whatever the number of keys. */
export async function* join(input: JoinInput): AsyncGenerator<readonly Row[]> {
  const listings = new Map([...input.listings].map(([site, pages]) => [site, new Cursor(pages)]));
  const records = new Cursor(input.records);
  try {
    for (;;) {
      await fillAll(listings, records, input.failed);
      const rows = takeRows(listings, records);
      if (rows.length === 0) return;
      yield rows;
    }
  } finally {
    for (const cursor of [...listings.values(), records]) cursor.end();
  }
}

async function fillAll(
  listings: Map<SiteId, Cursor<ListEntry>>,
  records: Cursor<KeyRecord>,
  failed: JoinInput['failed'],
): Promise<void> {
  await records.fill();
  for (const [site, cursor] of listings) {
    try {
      await cursor.fill();
    } catch (error) {
      cursor.end();
      listings.delete(site);
      failed(site, error);
    }
  }
}

/** Joins as far as everything at hand reaches. */
function takeRows(listings: Map<SiteId, Cursor<ListEntry>>, records: Cursor<KeyRecord>): Row[] {
  const rows: Row[] = [];
  while (rows.length < rowsAtOnce) {
    if (records.mustFill || anyMustFill(listings)) break;
    const key = smallest(listings, records);
    if (key === undefined) break;
    const entries: Record<SiteId, ListEntry> = {};
    for (const [site, cursor] of listings) {
      if (cursor.current?.key !== key) continue;
      entries[site] = cursor.current;
      cursor.step();
    }
    const record = records.current?.key === key ? records.current : undefined;
    if (record) records.step();
    rows.push({ key, record, entries });
  }
  return rows;
}

function anyMustFill(listings: Map<SiteId, Cursor<ListEntry>>): boolean {
  for (const cursor of listings.values()) if (cursor.mustFill) return true;
  return false;
}

function smallest(listings: Map<SiteId, Cursor<ListEntry>>, records: Cursor<KeyRecord>): string | undefined {
  let least = records.current?.key;
  for (const cursor of listings.values()) {
    const key = cursor.current?.key;
    if (key === undefined || key === least) continue;
    if (least === undefined || compareKeys(key, least) < 0) least = key;
  }
  return least;
}
