import { isDeepStrictEqual } from 'node:util';
import type { StoreFailureCode } from '../model/failure.ts';
import { keyHash } from '../model/key.ts';
import { emptyRecord, type KeyRecord } from '../model/record.ts';
import type { SiteId } from '../model/version.ts';
import {
  idsWith,
  type Json,
  type Ledger,
  type LedgerWrite,
  type Revision,
  type Row,
} from '../ports/ledger.ts';
import type { Upload } from '../ports/object-store.ts';
import { KeyedQueue } from './keyed-queue.ts';
import { decodeRecord, encodeRecord, plain } from './record-rows.ts';

export { decodeRecord, encodeRecord };

/** A key that a site still owes. */
export interface Debt {
  readonly key: string;
  readonly site: SiteId;
  /** When the oldest write that the site misses was made; for lag. Milliseconds since 1970. */
  readonly sinceMs: number;
  readonly bytes: number;
  readonly attempts: number;
  /** Not to be tried again before. Milliseconds since 1970. */
  readonly dueMs: number;
  readonly lastError?: string;
}

/** A change that waits for a person. */
export interface Parked {
  readonly id: string;
  readonly site: SiteId;
  /** Absent where a whole site is held back. */
  readonly key?: string;
  /** The write that could not be carried; a newer one is tried again by itself. */
  readonly operation?: string;
  readonly reason:
    | StoreFailureCode
    | 'max-deletes'
    | 'site-emptied'
    | 'cannot-promise'
    | 'quarantined'
    | 'damage';
  readonly detail: string;
  readonly sinceMs: number;
  /** How many keys it stands for. */
  readonly keys: number;
  readonly bytes: number;
  /** A person said go: the next pass may do it. */
  readonly released?: true;
  /** A person gave it up: not listed any more, and not tried until the key is written again. */
  readonly dropped?: true;
}

export function parkedId(site: SiteId, key: string): string {
  return `${site}/${key}`;
}

/** Stands for all deletions of a site that a guard holds back; no key begins like this. */
export function guardId(site: SiteId): string {
  return `${site}//guard`;
}

/** Stands for all objects of a quarantined site that nobody knows; no key begins like this. */
export function quarantineId(site: SiteId): string {
  return `${site}//quarantine`;
}

/** A body that lost a conflict, kept at `site` under `keptAs` until somebody releases it. */
export interface Loser {
  readonly key: string;
  readonly site: SiteId;
  readonly keptAs: string;
  readonly size: number;
  readonly stamp: string;
  readonly lostTo: string;
  readonly sinceMs: number;
  /** Why, where the rule for the key is not reason enough. */
  readonly because?: string;
}

/** What is remembered of a site beside its keys. */
export interface SiteState {
  /** Found in `.isobar/site` there; another one means that this is another place. */
  readonly marker?: string;
  readonly capabilities?: Json;
  /** Hash of the configuration the capabilities were probed under. */
  readonly probedAs?: string;
  /** When the last complete scan of this site began. */
  readonly scannedMs?: number;
  /** How many live keys the last complete scan knew there. */
  readonly knownKeys?: number;
  /** Keys that cut the dataset into shards of about equal size. */
  readonly boundaries?: readonly string[];
  /** A notice could not be followed up: only a complete scan can tell what happened. */
  readonly scanWanted?: boolean;
  /** When everything below `.isobar/` there was read into this ledger. */
  readonly recalledMs?: number | undefined;
  /** Rows may be older than the sites: what is learned there takes dots from here on. */
  /** How far that has got: the last name that was taken up. */
  readonly recalledUntil?: string;
  /** Rows may be older than the site: what is learned there takes dots from here on. */
  readonly floor?: number;
  /** Since when its absences, and what it holds that nobody knows, are not believed. See quarantine.ts. */
  readonly quarantinedMs?: number | undefined;
  /** A person ended the quarantine: until a pass is complete absences are still not believed. */
  readonly releasedMs?: number | undefined;
  readonly rate?: { readonly keysPerSecond: number; readonly bytesPerSecond: number; readonly atMs: number };
  readonly lastError?: string;
  readonly lastErrorMs?: number;
}

/** An upload in parts, as far as it got. */
export interface UploadRow {
  /** Unique for ever. */
  readonly attempt: string;
  readonly key: string;
  /** The write that it carries; another one starts anew. */
  readonly operation: string;
  /** When it was intended; a crash right after the start leaves this alone, and the clean-up looks for the rest. */
  readonly intendedMs: number;
  /** Who works on it; when that worker has ended, another may go on with it or clear it away. */
  readonly worker: string;
  readonly upload?: Upload;
}

export interface PartRow {
  readonly receipt: string;
  /** Digests of the part's leaves. */
  readonly leaves: readonly string[];
}

interface Read {
  readonly record: KeyRecord;
  readonly revision: Revision | undefined;
}

/** The ledger of one dataset, in the engine's own words. */
export class Records {
  readonly #ledger: Ledger;
  readonly dataset: string;
  readonly #queue = new KeyedQueue();

  constructor(ledger: Ledger, dataset: string) {
    this.#ledger = ledger;
    this.dataset = dataset;
  }

  async get(key: string): Promise<KeyRecord | undefined> {
    const row = await this.#ledger.get('keys', this.#id(key));
    return row && decodeRecord(key, row.value);
  }

  async read(key: string): Promise<KeyRecord> {
    return (await this.#read(key)).record;
  }

  /**
   * Changes one record by compare-and-set; `change` may run several times and returns undefined to leave it.
   * `alongside` rows are committed with it. Resolves with the record as it now stands, durable.
   */
  async update(
    key: string,
    change: (record: KeyRecord) => KeyRecord | undefined,
    alongside: (record: KeyRecord) => readonly LedgerWrite[] = () => [],
  ): Promise<KeyRecord> {
    return this.#queue.run(key, async () => {
      for (;;) {
        const before = await this.#read(key);
        const after = change(before.record);
        const record = after ?? before.record;
        const others = alongside(record);
        if (!after && others.length === 0) return record;
        const result = await this.#ledger.commit([
          ...(after ? [this.#writeOf(after, before)] : []),
          ...others,
        ]);
        if (result.kind === 'committed') return record;
      }
    });
  }

  /**
   * Forgets the key and everything that was known of it, unless the record is another by now. Its dots are never used
   * again: the floor must have been raised before.
   */
  async forget(record: KeyRecord): Promise<boolean> {
    return this.#queue.run(record.key, async () => {
      const { record: now, revision } = await this.#read(record.key);
      if (revision === undefined || !isDeepStrictEqual(encodeRecord(now), encodeRecord(record))) return false;
      const id = this.#id(record.key);
      const result = await this.#ledger.commit([{ table: 'keys', id, value: undefined, expect: revision }]);
      return result.kind === 'committed';
    });
  }

  /** Up to here the dots of a key without a record may have been used before. */
  async floor(): Promise<number> {
    return ((await this.#ledger.get('sites', this.#id('', 'floor')))?.value as number | undefined) ?? 0;
  }

  async raiseFloor(least: number): Promise<void> {
    await this.#changeSites(this.#id('', 'floor'), (floor) =>
      Math.max((floor as number | undefined) ?? 0, least),
    );
  }

  /** All records in the order of their keys, `after` (exclusive) to `until` (inclusive). */
  async *scan(
    range: { after?: string; until?: string; prefix?: string } = {},
  ): AsyncGenerator<readonly KeyRecord[]> {
    const all = idsWith(this.#id(range.prefix ?? ''));
    const from = range.after === undefined ? all.from : `${this.#id(range.after)}\0`;
    const to = range.until === undefined ? all.to : `${this.#id(range.until)}\0`;
    const skip = this.#id('').length;
    for await (const rows of this.#ledger.scan('keys', { from, to })) {
      yield rows.map((row) => decodeRecord(row.id.slice(skip), row.value));
    }
  }

  owe(debt: Debt): LedgerWrite {
    const { key, site, ...value } = debt;
    return { table: 'debts', id: this.#id(site, key), value: plain(value) };
  }

  settle(site: SiteId, key: string): LedgerWrite {
    return { table: 'debts', id: this.#id(site, key), value: undefined };
  }

  async debtOf(site: SiteId, key: string): Promise<Debt | undefined> {
    const row = await this.#ledger.get('debts', this.#id(site, key));
    return row && { ...(row.value as unknown as Omit<Debt, 'key' | 'site'>), key, site };
  }

  async *debts(site: SiteId): AsyncGenerator<readonly Debt[]> {
    const prefix = `${this.#id(site)}\0`;
    for await (const rows of this.#ledger.scan('debts', idsWith(prefix))) {
      yield rows.map((row) => ({
        ...(row.value as unknown as Omit<Debt, 'key' | 'site'>),
        site,
        key: row.id.slice(prefix.length),
      }));
    }
  }

  park(parked: Parked): LedgerWrite {
    const { id, ...value } = parked;
    return { table: 'parked', id: this.#id(id), value: plain(value) };
  }

  unpark(id: string): LedgerWrite {
    return { table: 'parked', id: this.#id(id), value: undefined };
  }

  async parkedBy(id: string): Promise<Parked | undefined> {
    const row = await this.#ledger.get('parked', this.#id(id));
    return row && { ...(row.value as unknown as Omit<Parked, 'id'>), id };
  }

  /** What waits for a person; not what was given up. */
  async *parked(): AsyncGenerator<readonly Parked[]> {
    for await (const page of this.#list<Parked>('parked')) yield page.filter(({ dropped }) => !dropped);
  }

  keep(loser: Loser): LedgerWrite {
    return { table: 'losers', id: this.#id(loser.key, loser.keptAs, loser.site), value: plain(loser) };
  }

  release(loser: Loser): LedgerWrite {
    return { table: 'losers', id: this.#id(loser.key, loser.keptAs, loser.site), value: undefined };
  }

  /** Of one key, or all; by key, then by what they are kept as, then by site. */
  async *losers(key?: string): AsyncGenerator<readonly Loser[]> {
    const prefix = key === undefined ? this.#id('') : this.#id(key, '');
    for await (const rows of this.#ledger.scan('losers', idsWith(prefix)))
      yield rows.map((row) => row.value as unknown as Loser);
  }

  suspect(pass: string, site: SiteId, key: string, token: string): LedgerWrite {
    return { table: 'suspects', id: this.#id(pass, site, key), value: token };
  }

  clearSuspect(pass: string, site: SiteId, key: string): LedgerWrite {
    return { table: 'suspects', id: this.#id(pass, site, key), value: undefined };
  }

  async *suspects(pass: string, site: SiteId): AsyncGenerator<readonly { key: string; token: string }[]> {
    const prefix = this.#id(pass, site, '');
    for await (const rows of this.#ledger.scan('suspects', idsWith(prefix))) {
      yield rows.map((row) => ({ key: row.id.slice(prefix.length), token: row.value as string }));
    }
  }

  /** Of passes whose ids come before. */
  async forgetSuspectsBefore(pass: string): Promise<void> {
    const range = { from: this.#id(''), to: this.#id(pass) };
    for await (const rows of this.#ledger.scan('suspects', range)) {
      await this.commit(rows.map((row) => ({ table: 'suspects', id: row.id, value: undefined })));
    }
  }

  rememberUpload(site: SiteId, row: UploadRow): LedgerWrite {
    return { table: 'uploads', id: this.#id('upload', site, row.attempt), value: plain(row) };
  }

  forgetUpload(site: SiteId, attempt: string): LedgerWrite {
    return { table: 'uploads', id: this.#id('upload', site, attempt), value: undefined };
  }

  /** One row per attempt: two workers that send the same key know nothing of each other, and nothing is lost sight of. */
  async *uploads(site: SiteId): AsyncGenerator<readonly UploadRow[]> {
    for await (const rows of this.#ledger.scan('uploads', idsWith(this.#id('upload', site, '')))) {
      yield rows.map((row) => row.value as unknown as UploadRow);
    }
  }

  rememberPart(site: SiteId, uploadId: string, index: number, part: PartRow | undefined): LedgerWrite {
    const id = this.#id('part', site, keyHash(uploadId), String(index).padStart(6, '0'));
    return { table: 'uploads', id, value: part && plain(part) };
  }

  async partsOf(site: SiteId, uploadId: string): Promise<Map<number, PartRow>> {
    const prefix = this.#id('part', site, keyHash(uploadId), '');
    const parts = new Map<number, PartRow>();
    for await (const rows of this.#ledger.scan('uploads', idsWith(prefix))) {
      for (const row of rows) parts.set(Number(row.id.slice(prefix.length)), row.value as unknown as PartRow);
    }
    return parts;
  }

  async siteState(site: SiteId): Promise<SiteState> {
    return ((await this.#ledger.get('sites', this.#id(site)))?.value ?? {}) as SiteState;
  }

  async updateSite(site: SiteId, change: Partial<SiteState>): Promise<void> {
    await this.#changeSites(this.#id(site), (state) =>
      plain({ ...(state as SiteState | undefined), ...change }),
    );
  }

  /** By compare-and-set: other workers change it, too. */
  async #changeSites(id: string, change: (before: Json | undefined) => Json): Promise<void> {
    await this.#queue.run(`\0sites\0${id}`, async () => {
      for (;;) {
        const row = await this.#ledger.get('sites', id);
        const value = change(row?.value);
        if (JSON.stringify(value) === JSON.stringify(row?.value)) return;
        const expect = row?.revision ?? 'absent';
        const result = await this.#ledger.commit([{ table: 'sites', id, value, expect }]);
        if (result.kind === 'committed') return;
      }
    });
  }

  /** What a guard remembers. */
  guardState(id: string): Promise<Row | undefined> {
    return this.#ledger.get('sites', this.#id('', id));
  }

  /** False: another process has changed it; nothing was written. */
  async changeGuard(
    id: string,
    value: Json,
    before: Revision | undefined,
    alongside: readonly LedgerWrite[],
  ): Promise<boolean> {
    const state = { table: 'sites', id: this.#id('', id), value, expect: before ?? 'absent' } as const;
    return (await this.#ledger.commit([state, ...alongside])).kind === 'committed';
  }

  async countKeys(): Promise<number> {
    return this.#ledger.count('keys', idsWith(this.#id('')));
  }

  async commit(writes: readonly LedgerWrite[]): Promise<void> {
    if (writes.length > 0) await this.#ledger.commit(writes);
  }

  async *#list<T extends object>(table: 'parked'): AsyncGenerator<readonly T[]> {
    const prefix = this.#id('');
    for await (const rows of this.#ledger.scan(table, idsWith(prefix))) {
      yield rows.map(
        (row) => ({ id: row.id.slice(prefix.length), ...(row.value as object) }) as unknown as T,
      );
    }
  }

  async #read(key: string): Promise<Read> {
    const row = await this.#ledger.get('keys', this.#id(key));
    if (row) return { record: decodeRecord(key, row.value), revision: row.revision };
    return { record: emptyRecord(key, await this.floor()), revision: undefined };
  }

  #writeOf(record: KeyRecord, before: Read): LedgerWrite {
    return {
      table: 'keys',
      id: this.#id(record.key),
      value: encodeRecord(record),
      expect: before.revision ?? 'absent',
    };
  }

  #id(...parts: readonly string[]): string {
    return [this.dataset, ...parts].join('\0');
  }
}
