import type { StateAccess } from '../../embedded/access.ts';
import type { CommitResult, IdRange, Ledger, LedgerWrite, Row, Table } from '../../ports/ledger.ts';
import { assertOneExpectation } from '../writes.ts';

const defaultPageSize = 1000;
/** Keeps one answer of the owner far below the limit of a frame. */
const idsPerRequest = 250;

/**
 * The ledger on LMDB, in this process or beside the one that owns the state folder. Ids: up to 1,977 bytes
 * of UTF-8. A scan holds no snapshot between pages, so that a slow consumer pins no space, and takes a turn of the
 * event loop between them: in the owner's process reading is not waiting, and nobody else would get one.
 */
export class EmbeddedLedger implements Ledger {
  readonly #state: StateAccess;
  readonly #leave: () => Promise<void>;

  constructor(state: StateAccess, leave: () => Promise<void>) {
    this.#state = state;
    this.#leave = leave;
  }

  async get(table: Table, id: string): Promise<Row | undefined> {
    const [row] = await this.#state.getMany(table, [id]);
    return row;
  }

  async getMany(table: Table, ids: readonly string[]): Promise<readonly (Row | undefined)[]> {
    const rows: (Row | undefined)[] = [];
    for (let from = 0; from < ids.length; from += idsPerRequest) {
      rows.push(...(await this.#state.getMany(table, ids.slice(from, from + idsPerRequest))));
    }
    return rows;
  }

  async commit(writes: readonly LedgerWrite[]): Promise<CommitResult> {
    assertOneExpectation(writes);
    return this.#state.commit(writes);
  }

  async *scan(
    table: Table,
    range: IdRange,
    options: { readonly pageSize?: number } = {},
  ): AsyncIterable<readonly Row[]> {
    const limit = options.pageSize ?? defaultPageSize;
    let from = range.from;
    for (;;) {
      const { rows, more } = await this.#state.page(table, { from, to: range.to }, limit);
      if (rows.length > 0) yield rows;
      const last = rows.at(-1);
      if (!more || last === undefined) return;
      // The smallest id above it.
      from = `${last.id}\0`;
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  }

  async count(table: Table, range: IdRange): Promise<number> {
    return this.#state.count(table, range);
  }

  close(): Promise<void> {
    return this.#leave();
  }
}
