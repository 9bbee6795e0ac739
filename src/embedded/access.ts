import type { SharedLog } from '../buses/subscription.ts';
import type { CommitResult, IdRange, LedgerWrite, Row, Table } from '../ports/ledger.ts';

/**
 * What the process that owns the state folder does for itself and for its guests. Every operation may be
 * asked twice (a guest asks again when the owner died before it answered), so each is idempotent, except that
 * a repeated `publish` may double the changes and a repeated conditional `commit` may report a conflict.
 */
export interface StateAccess extends SharedLog {
  getMany(table: Table, ids: readonly string[]): Promise<readonly (Row | undefined)[]>;
  commit(writes: readonly LedgerWrite[]): Promise<CommitResult>;
  /** At most `limit` rows, fewer when they are large; `more` says whether to ask on behind the last one. */
  page(table: Table, range: IdRange, limit: number): Promise<Page>;
  count(table: Table, range: IdRange): Promise<number>;
  close(): Promise<void>;
}

export interface Page {
  readonly rows: readonly Row[];
  readonly more: boolean;
}

/** The owner is gone, or is closing; whoever still needs the state finds the next owner, or becomes it. */
export class OwnerGone extends Error {
  override readonly name = 'OwnerGone';
}
