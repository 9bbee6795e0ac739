import { accessSync, chmodSync, constants, existsSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { RootDatabase } from 'lmdb';
import { type Bytes, type Fence, GroupCommit } from './environment.ts';
import { newerSchema, stateFailure, unreadable } from './failures.ts';
import { fileProblem } from './file-check.ts';
import type { LogTables } from './log.ts';
import { Space } from './space.ts';

/** Grows with every change of what the tables hold; `migrate` brings older folders forward. */
export const schemaVersion = 1;

/** Who owns the folder; changed only in a transaction that still finds the one it read. */
export interface OwnerRecord {
  /** How often the folder was opened by an owner. */
  readonly opening: number;
  readonly pid: number;
  readonly socket: string;
}

export interface OpenEnvironment {
  readonly folder: string;
  readonly tables: LogTables & { readonly rows: Bytes };
  /** To be called once, after `claim`: writes as long as the record's opening is the one claimed. */
  commits(opening: number, lost: () => void): GroupCommit;
  owner(): OwnerRecord | undefined;
  /** Durably replaces the owner's record; false when somebody else was faster. */
  claim(expected: OwnerRecord | undefined, next: OwnerRecord): boolean;
  close(): Promise<void>;
}

const dataName = 'data.mdb';

const schemaKey = Buffer.from('schema');
const ownerKey = Buffer.from('owner');

export function prepareFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (failure) {
    throw stateFailure(folder, failure);
  }
}

/** `mustExist` when the folder is known to have held a ledger. Looks at the file before LMDB maps it. */
export async function openEnvironment(folder: string, mustExist: boolean): Promise<OpenEnvironment> {
  const path = join(folder, dataName);
  checkFile(folder, path, mustExist);
  const space = new Space(folder, path);
  space.assertFree();
  const { open } = await import('lmdb');
  let root: RootDatabase<Buffer, Buffer> | undefined;
  try {
    // Without overlappingSync a write resolves after fdatasync, not before.
    root = open<Buffer, Buffer>({
      path,
      overlappingSync: false,
      eventTurnBatching: false,
      maxDbs: 8,
      ...bytes,
    });
    for (const file of [path, `${path}-lock`]) chmodSync(file, 0o600);
    return environmentOf(folder, root, space);
  } catch (failure) {
    await root?.close().catch(() => undefined);
    throw stateFailure(folder, failure);
  }
}

const bytes = { keyEncoding: 'binary', encoding: 'binary' } as const;

function checkFile(folder: string, path: string, mustExist: boolean): void {
  if (!existsSync(path)) {
    if (mustExist) throw unreadable(folder, `its data file ${dataName} is gone`);
    return;
  }
  // Somebody is just making it, or was killed at that.
  if (!mustExist && statSync(path).size === 0) return;
  let problem: string | undefined;
  try {
    problem = fileProblem(path);
  } catch (failure) {
    throw stateFailure(folder, failure);
  }
  if (problem !== undefined) throw unreadable(folder, problem);
}

function environmentOf(folder: string, root: RootDatabase<Buffer, Buffer>, space: Space): OpenEnvironment {
  const table = (name: string, tag: string): Bytes => ({ tag, rows: root.openDB({ name, ...bytes }) });
  const meta = root.openDB<Buffer, Buffer>({ name: 'meta', useVersions: true, ...bytes });
  const tables = {
    rows: table('rows', 'r'),
    changes: table('changes', 'c'),
    times: table('times', 't'),
    counters: table('counters', 'n'),
  };
  migrate(folder, meta);
  let commits: GroupCommit | undefined;
  return {
    folder,
    tables,
    commits: (opening, lost) => {
      const transaction: Fence['transaction'] = (write) => meta.ifVersion(ownerKey, opening, write);
      commits = new GroupCommit(folder, space, { transaction, lost });
      return commits;
    },
    owner: () => ownerIn(meta),
    claim: (expected, next) => claim(root, meta, expected, next),
    close: async () => {
      await commits?.close();
      await root.close();
    },
  };
}

function migrate(folder: string, meta: Bytes['rows']): void {
  const stored = meta.get(schemaKey);
  const found = stored === undefined ? undefined : Number(stored.toString());
  if (found === undefined) meta.putSync(schemaKey, Buffer.from(String(schemaVersion)));
  else if (!Number.isInteger(found)) throw unreadable(folder, `its schema version is "${stored}"`);
  else if (found > schemaVersion) throw newerSchema(folder, found, schemaVersion);
  // Older schemas: none yet. Each step goes here, in one transaction with the new number.
}

function ownerIn(meta: Bytes['rows']): OwnerRecord | undefined {
  const stored = meta.get(ownerKey);
  return stored === undefined ? undefined : (JSON.parse(stored.toString()) as OwnerRecord);
}

function claim(
  root: RootDatabase<Buffer, Buffer>,
  meta: Bytes['rows'],
  expected: OwnerRecord | undefined,
  next: OwnerRecord,
): boolean {
  // LMDB has one writer at a time among all processes, and its lock survives the death of whoever holds it.
  return root.transactionSync(() => {
    if (ownerIn(meta)?.opening !== expected?.opening) return false;
    meta.putSync(ownerKey, Buffer.from(JSON.stringify(next)), next.opening);
    return true;
  });
}
