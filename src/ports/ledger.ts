/**
 * The ledger remembers replica states, debts, parked changes and losers as rows of JSON under ordered ids.
 * Small on purpose: an embedded B-tree, PostgreSQL and Cassandra can all keep it.
 */
export type Table =
  /** What every site is known to hold, per key. */
  | 'keys'
  /** Keys that a site still owes: its durable work queue. */
  | 'debts'
  /** Changes that wait for a person. */
  | 'parked'
  /** Bodies that lost a conflict and are kept. */
  | 'losers'
  /** Uploads in parts, so that finished parts are not sent again. */
  | 'uploads'
  /** Deletions that a running pass suspects; gone when it ends. */
  | 'suspects'
  /** One row per site: marker, capabilities, last complete scan. */
  | 'sites';

export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

/** Changes with every write of the row; compared for equality only. */
export type Revision = string;

export interface Row {
  readonly id: string;
  readonly value: Json;
  readonly revision: Revision;
}

export interface LedgerWrite {
  readonly table: Table;
  readonly id: string;
  /** Undefined removes the row; removing an absent row is no error. */
  readonly value: Json | undefined;
  /** The row must still have this revision, or be absent; without it the write is unconditional. */
  readonly expect?: Revision | 'absent';
}

export type CommitResult =
  /** Durable. */
  | { readonly kind: 'committed' }
  /** Nothing of the batch was written: the row at `index` was not as expected. */
  | { readonly kind: 'conflict'; readonly index: number };

/** Ids `from` (inclusive) to `to` (exclusive), in the order of UTF-8 bytes. */
export interface IdRange {
  readonly from: string;
  readonly to: string;
}

export interface Ledger {
  get(table: Table, id: string): Promise<Row | undefined>;

  /** One answer per id, in order. */
  getMany(table: Table, ids: readonly string[]): Promise<readonly (Row | undefined)[]>;

  /**
   * Resolves when durable. At most one write of a batch carries `expect`, and then all or nothing is applied
   * while the process lives; a crash may leave any subset of the *other* writes, so callers are idempotent.
   */
  commit(writes: readonly LedgerWrite[]): Promise<CommitResult>;

  /** Pages in order; rows written meanwhile may or may not appear. */
  scan(table: Table, range: IdRange, options?: { readonly pageSize?: number }): AsyncIterable<readonly Row[]>;

  count(table: Table, range: IdRange): Promise<number>;

  close(): Promise<void>;
}

/** Everything whose id begins with `prefix`; ids never hold U+10FFFF. */
export function idsWith(prefix: string): IdRange {
  return { from: prefix, to: `${prefix}\u{10ffff}` };
}
