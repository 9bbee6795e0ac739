import type { CommitResult, IdRange, Json, LedgerWrite, Row, Table } from '../ports/ledger.ts';
import type { Page } from './access.ts';
import type { Bytes, GroupCommit, Plan } from './environment.ts';

const tags: Readonly<Record<Table, number>> = {
  keys: 0x01,
  debts: 0x02,
  parked: 0x03,
  losers: 0x04,
  uploads: 0x05,
  suspects: 0x06,
  sites: 0x07,
};

/** LMDB's own limit with pages of 4 KiB. */
const maxKeyBytes = 1978;
/** Bounds memory when rows are large. */
const maxPageBytes = 4 * 1024 * 1024;
const revisionBytes = 16;

/**
 * The ledger's rows. Key: one byte for the table, then the id in UTF-8. Value: the revision (16 bytes: the
 * count of openings and of writes since, so that no revision ever comes twice), then JSON.
 */
export class Rows {
  readonly #table: Bytes;
  readonly #commits: GroupCommit;
  readonly #opening: number;
  #writes = 0;

  constructor(table: Bytes, commits: GroupCommit, opening: number) {
    this.#table = table;
    this.#commits = commits;
    this.#opening = opening;
  }

  getMany(table: Table, ids: readonly string[]): (Row | undefined)[] {
    return ids.map((id) => {
      const stored = this.#table.rows.get(rowKey(table, id));
      return stored === undefined ? undefined : rowOf(id, stored);
    });
  }

  commit(writes: readonly LedgerWrite[]): Promise<CommitResult> {
    const prepared = writes.map((write) => ({
      key: rowKey(write.table, write.id),
      json: write.value === undefined ? undefined : encode(write.value),
      expect: write.expect,
    }));
    return this.#commits.apply((plan) => {
      const index = prepared.findIndex(({ key, expect }) => !this.#holds(plan, key, expect));
      if (index >= 0) return { kind: 'conflict', index };
      for (const { key, json } of prepared) {
        if (json === undefined) plan.remove(this.#table, key);
        else plan.put(this.#table, key, Buffer.concat([this.#nextRevision(), json]));
      }
      return { kind: 'committed' };
    });
  }

  /** Reads in one snapshot and lets go of it before it returns. */
  page(table: Table, range: IdRange, limit: number): Page {
    const bounds = boundsOf(table, range);
    if (bounds === undefined) return { rows: [], more: false };
    const rows: Row[] = [];
    let bytes = 0;
    for (const { key, value } of this.#table.rows.getRange({ ...bounds, limit })) {
      rows.push(rowOf(key.toString('utf8', 1), value));
      bytes += value.length;
      if (bytes >= maxPageBytes) break;
    }
    return { rows, more: rows.length >= limit || bytes >= maxPageBytes };
  }

  /** Walks the range, with a turn of the event loop after each slice: about 0.1 s for a million rows. */
  async count(table: Table, range: IdRange): Promise<number> {
    const bounds = boundsOf(table, range);
    if (bounds === undefined) return 0;
    let { start } = bounds;
    for (let total = 0; ; total += countSlice) {
      const [next] = this.#table.rows.getKeys({ start, end: bounds.end, offset: countSlice, limit: 1 });
      if (next === undefined) return total + this.#table.rows.getKeysCount({ start, end: bounds.end });
      start = next;
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  }

  #holds(plan: Plan, key: Buffer, expect: LedgerWrite['expect']): boolean {
    if (expect === undefined) return true;
    const stored = plan.get(this.#table, key);
    if (stored === undefined || expect === 'absent') return stored === undefined && expect === 'absent';
    return revisionOf(stored) === expect;
  }

  #nextRevision(): Buffer {
    const revision = Buffer.alloc(revisionBytes);
    revision.writeBigUInt64BE(BigInt(this.#opening), 0);
    revision.writeBigUInt64BE(BigInt(++this.#writes), 8);
    return revision;
  }
}

const countSlice = 50_000;

function rowKey(table: Table, id: string): Buffer {
  const key = boundKey(table, id);
  if (key.length > maxKeyBytes) {
    throw new RangeError(
      `A ledger id is at most ${maxKeyBytes - 1} bytes of UTF-8; this one has ${key.length - 1}.`,
    );
  }
  if (!id.isWellFormed()) throw new RangeError('A ledger id holds half of a surrogate pair.');
  return key;
}

function boundKey(table: Table, id: string): Buffer {
  const key = Buffer.allocUnsafe(1 + Buffer.byteLength(id));
  key[0] = tags[table];
  key.write(id, 1);
  return key;
}

function boundsOf(table: Table, range: IdRange): { start: Buffer; end: Buffer } | undefined {
  const start = boundKey(table, range.from);
  const end = boundKey(table, range.to);
  if (start.length > maxKeyBytes || end.length > maxKeyBytes) {
    throw new RangeError(`The bounds of a ledger range are at most ${maxKeyBytes - 1} bytes of UTF-8 long.`);
  }
  return Buffer.compare(start, end) < 0 ? { start, end } : undefined;
}

function rowOf(id: string, stored: Buffer): Row {
  return { id, value: decode(stored), revision: revisionOf(stored) };
}

function revisionOf(stored: Buffer): string {
  return `${stored.readBigUInt64BE(0).toString(36)}.${stored.readBigUInt64BE(8).toString(36)}`;
}

function encode(value: Json): Buffer {
  return Buffer.from(JSON.stringify(value) ?? 'null');
}

function decode(stored: Buffer): Json {
  return JSON.parse(stored.toString('utf8', revisionBytes)) as Json;
}
