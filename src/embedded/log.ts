import type { LaneLog, LogEntry } from '../buses/lane.ts';
import type { Backlog } from '../buses/subscription.ts';
import type { Change } from '../model/change.ts';
import type { Bytes, GroupCommit, Plan } from './environment.ts';

export interface LogTables {
  /** Dataset and sequence to the time and the change. */
  readonly changes: Bytes;
  /** Dataset, time and sequence to nothing: the oldest is one seek away. */
  readonly times: Bytes;
  /** Dataset to the next sequence and the number of changes. */
  readonly counters: Bytes;
}

interface Counter {
  readonly next: number;
  readonly changes: number;
}

const timeBytes = 8;
const sequenceBytes = 8;
/** LMDB stores empty values; one byte keeps every driver of it on the beaten path. */
const nothing = Buffer.from([0]);

/**
 * The bus as an ordered log per dataset. A change costs three writes in and two out, all in the same
 * transaction, so that the count and the oldest time are always exact.
 */
export class ChangeLog {
  readonly #tables: LogTables;
  readonly #commits: GroupCommit;

  constructor(tables: LogTables, commits: GroupCommit) {
    this.#tables = tables;
    this.#commits = commits;
  }

  publish(changes: readonly Change[]): Promise<void> {
    const prepared = changes.map((change) => ({
      prefix: datasetPrefix(change.dataset),
      time: orderedTime(change.atMs),
      json: Buffer.from(JSON.stringify(change)),
    }));
    return this.#commits.apply((plan) => {
      for (const { prefix, time, json } of prepared) this.#append(plan, prefix, time, json);
    });
  }

  /** Durably forgets the change, and says which key it had; undefined when it is long gone. */
  remove(dataset: string, sequence: number): Promise<string | undefined> {
    const prefix = datasetPrefix(dataset);
    const key = Buffer.concat([prefix, orderedSequence(sequence)]);
    return this.#commits.apply((plan) => {
      const stored = plan.get(this.#tables.changes, key);
      if (stored === undefined) return undefined;
      plan.remove(this.#tables.changes, key);
      plan.remove(
        this.#tables.times,
        timeKey(prefix, stored.subarray(0, timeBytes), key.subarray(prefix.length)),
      );
      const counter = this.#counter(plan, prefix);
      this.#setCounter(plan, prefix, { ...counter, changes: counter.changes - 1 });
      return changeOf(stored).key;
    });
  }

  /** One look-up and one seek, however long the log is. */
  backlog(dataset: string): Backlog {
    const prefix = datasetPrefix(dataset);
    const stored = this.#tables.counters.rows.get(prefix);
    const [oldest] = this.#tables.times.rows.getKeys({ ...within(prefix), limit: 1 });
    return {
      changes: stored === undefined ? 0 : counterOf(stored).changes,
      oldestMs: oldest === undefined ? undefined : timeOf(oldest.subarray(prefix.length)),
    };
  }

  lane(dataset: string): LaneLog {
    const prefix = datasetPrefix(dataset);
    const { rows } = this.#tables.changes;
    return {
      read(after, limit): readonly LogEntry[] {
        const start = Buffer.concat([prefix, orderedSequence(after + 1)]);
        const entries: LogEntry[] = [];
        for (const { key, value } of rows.getRange({ ...within(prefix), start, limit })) {
          entries.push({ sequence: Number(key.readBigUInt64BE(prefix.length)), change: changeOf(value) });
        }
        return entries;
      },
      fetch(sequence): Change | undefined {
        const stored = rows.get(Buffer.concat([prefix, orderedSequence(sequence)]));
        return stored === undefined ? undefined : changeOf(stored);
      },
    };
  }

  #append(plan: Plan, prefix: Buffer, time: Buffer, json: Buffer): void {
    const counter = this.#counter(plan, prefix);
    const sequence = orderedSequence(counter.next);
    plan.put(this.#tables.changes, Buffer.concat([prefix, sequence]), Buffer.concat([time, json]));
    plan.put(this.#tables.times, timeKey(prefix, time, sequence), nothing);
    this.#setCounter(plan, prefix, { next: counter.next + 1, changes: counter.changes + 1 });
  }

  #counter(plan: Plan, prefix: Buffer): Counter {
    const stored = plan.get(this.#tables.counters, prefix);
    return stored === undefined ? { next: 1, changes: 0 } : counterOf(stored);
  }

  #setCounter(plan: Plan, prefix: Buffer, counter: Counter): void {
    const stored = Buffer.alloc(16);
    stored.writeBigUInt64BE(BigInt(counter.next), 0);
    stored.writeBigUInt64BE(BigInt(counter.changes), 8);
    plan.put(this.#tables.counters, prefix, stored);
  }
}

/** The length first, so that no dataset is the beginning of another. */
function datasetPrefix(dataset: string): Buffer {
  const name = Buffer.from(dataset);
  if (name.length > 255)
    throw new RangeError(`A dataset's name is at most 255 bytes long; ${dataset} is longer.`);
  return Buffer.concat([Buffer.from([name.length]), name]);
}

function within(prefix: Buffer): { start: Buffer; end: Buffer } {
  return { start: prefix, end: Buffer.concat([prefix, Buffer.alloc(timeBytes + sequenceBytes, 0xff)]) };
}

function timeKey(prefix: Buffer, time: Buffer, sequence: Buffer): Buffer {
  return Buffer.concat([prefix, time, sequence]);
}

function orderedSequence(sequence: number): Buffer {
  const bytes = Buffer.alloc(sequenceBytes);
  bytes.writeBigUInt64BE(BigInt(sequence));
  return bytes;
}

/** Eight bytes that order as the numbers do: the sign bit turned over, and all bits of negative ones. */
function orderedTime(ms: number): Buffer {
  const bytes = Buffer.alloc(timeBytes);
  bytes.writeDoubleBE(ms);
  return turnOver(bytes, bytes[0]! >= 0x80);
}

function timeOf(ordered: Buffer): number {
  const bytes = Buffer.from(ordered.subarray(0, timeBytes));
  return turnOver(bytes, bytes[0]! < 0x80).readDoubleBE();
}

function turnOver(bytes: Buffer, all: boolean): Buffer {
  if (all) for (let i = 0; i < bytes.length; i++) bytes[i]! ^= 0xff;
  else bytes[0]! ^= 0x80;
  return bytes;
}

function counterOf(stored: Buffer): Counter {
  return { next: Number(stored.readBigUInt64BE(0)), changes: Number(stored.readBigUInt64BE(8)) };
}

function changeOf(stored: Buffer): Change {
  return JSON.parse(stored.toString('utf8', timeBytes)) as Change;
}
