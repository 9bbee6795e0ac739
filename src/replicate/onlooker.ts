import type { CommitResult, IdRange, Ledger, LedgerWrite, Row, Table } from '../ports/ledger.ts';
import { DamageGuard } from './damage-guard.ts';
import { DeletionGuard } from './deletion-guard.ts';
import { Records } from './records.ts';
import type { Shell } from './shell.ts';

/**
 * The shell of who only reads. What is learned on the way stays in memory and ends with the call: nothing is adopted,
 * counted or parked because somebody looked. Absence is believed, for nothing is deleted because of it.
 */
export function onlooker(shell: Shell, ledger: Ledger): Shell {
  const records = new Records(new PrivateLedger(ledger), shell.policy.dataset);
  const guards = { maxDeletes: { keys: Number.POSITIVE_INFINITY, share: 1 } };
  const deletions = new DeletionGuard(records, { ...shell.policy, guards }, shell.world);
  const damage = new DamageGuard(records, { sites: [], guards }, shell.world);
  return { ...shell, records, deletions, damage, proved: new Set(), events: {}, onlooking: true };
}

/** A ledger around a ledger: writes stay in memory. Scans and counts pass by them, readers ask by id. */
class PrivateLedger implements Ledger {
  readonly #ledger: Ledger;
  readonly #own = new Map<string, Row | undefined>();
  #revisions = 0;

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  async get(table: Table, id: string): Promise<Row | undefined> {
    const name = nameOf(table, id);
    if (this.#own.has(name)) return this.#own.get(name);
    const row = await this.#ledger.get(table, id);
    return this.#own.has(name) ? this.#own.get(name) : row;
  }

  getMany(table: Table, ids: readonly string[]): Promise<readonly (Row | undefined)[]> {
    return Promise.all(ids.map((id) => this.get(table, id)));
  }

  async commit(writes: readonly LedgerWrite[]): Promise<CommitResult> {
    const index = writes.findIndex(({ expect }) => expect !== undefined);
    const expecting = writes[index];
    if (expecting) {
      const row = await this.get(expecting.table, expecting.id);
      if ((row?.revision ?? 'absent') !== expecting.expect) return { kind: 'conflict', index };
    }
    for (const { table, id, value } of writes) {
      const row = value === undefined ? undefined : { id, value, revision: `private ${++this.#revisions}` };
      this.#own.set(nameOf(table, id), row);
    }
    return { kind: 'committed' };
  }

  scan(
    table: Table,
    range: IdRange,
    options?: { readonly pageSize?: number },
  ): AsyncIterable<readonly Row[]> {
    return this.#ledger.scan(table, range, options);
  }

  count(table: Table, range: IdRange): Promise<number> {
    return this.#ledger.count(table, range);
  }

  async close(): Promise<void> {}
}

function nameOf(table: Table, id: string): string {
  return `${table}\0${id}`;
}
