import { Volume, type VolumeFaults, type VolumePlan } from '../../memory/volume.ts';
import { StateFailure } from '../../model/failure.ts';
import type {
  CommitResult,
  IdRange,
  Json,
  Ledger,
  LedgerWrite,
  Revision,
  Row,
  Table,
} from '../../ports/ledger.ts';
import { assertOneExpectation } from '../writes.ts';

interface Stored {
  readonly value: Json;
  readonly revision: Revision;
}

/** What the ledgers of several simulated workers share; deterministic for deterministic faults. */
export class MemoryLedgerBacking {
  readonly volume: Volume;
  #revisions = 0;

  constructor(faults?: VolumeFaults) {
    this.volume = new Volume(faults);
  }

  nextRevision(): Revision {
    return `${++this.#revisions}`;
  }

  /** Drops what was not durable; operations under way fail with `unavailable`, later ones work. */
  crash(): void {
    this.volume.crash();
  }
}

/** One worker's ledger in memory. */
export class MemoryLedger implements Ledger {
  readonly #backing: MemoryLedgerBacking;
  #closed = false;

  constructor(backing: MemoryLedgerBacking = new MemoryLedgerBacking()) {
    this.#backing = backing;
  }

  async get(table: Table, id: string): Promise<Row | undefined> {
    this.#assertOpen();
    const stored = this.#backing.volume.get(table, id);
    return stored === undefined ? undefined : rowOf(id, stored);
  }

  async getMany(table: Table, ids: readonly string[]): Promise<readonly (Row | undefined)[]> {
    return Promise.all(ids.map((id) => this.get(table, id)));
  }

  async commit(writes: readonly LedgerWrite[]): Promise<CommitResult> {
    this.#assertOpen();
    assertOneExpectation(writes);
    const copies = writes.map((write) => ({ ...write, value: copyOf(write.value) }));
    return this.#backing.volume.apply((plan) => {
      const index = copies.findIndex((write) => !holds(plan, write));
      if (index >= 0) return { kind: 'conflict', index };
      for (const { table, id, value } of copies) {
        const stored = value === undefined ? undefined : { value, revision: this.#backing.nextRevision() };
        plan.put(table, id, stored);
      }
      return { kind: 'committed' };
    });
  }

  async *scan(
    table: Table,
    range: IdRange,
    options: { readonly pageSize?: number } = {},
  ): AsyncIterable<readonly Row[]> {
    const limit = options.pageSize ?? 1000;
    let from = range.from;
    for (;;) {
      this.#assertOpen();
      const page = this.#backing.volume.page(table, from, range.to, limit);
      if (page.length > 0) yield page.map(([id, stored]) => rowOf(id, stored));
      const last = page.at(-1);
      if (last === undefined || page.length < limit) return;
      from = `${last[0]}\0`;
    }
  }

  async count(table: Table, range: IdRange): Promise<number> {
    this.#assertOpen();
    return this.#backing.volume.count(table, range.from, range.to);
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #assertOpen(): void {
    if (this.#closed) throw new StateFailure('unavailable', 'The ledger is closed.');
  }
}

function holds(plan: VolumePlan, { table, id, expect }: LedgerWrite): boolean {
  if (expect === undefined) return true;
  const stored = plan.get(table, id) as Stored | undefined;
  return stored === undefined ? expect === 'absent' : stored.revision === expect;
}

function rowOf(id: string, stored: unknown): Row {
  return { id, ...(stored as Stored) };
}

/** As a ledger on a disk would give it back. */
function copyOf(value: Json | undefined): Json | undefined {
  return value === undefined ? undefined : (JSON.parse(JSON.stringify(value)) as Json);
}
