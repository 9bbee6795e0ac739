import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join as joinPath } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { StateFailure } from '../model/failure.ts';
import type { StateAccess } from './access.ts';
import { stateFailure, unavailable } from './failures.ts';
import { GuestAccess } from './guest.ts';
import {
  type OpenEnvironment,
  type OwnerRecord,
  openEnvironment,
  prepareFolder,
  schemaVersion,
} from './open-environment.ts';
import { Owner } from './owner.ts';
import { Reception, removeSocket, socketFolder } from './reception.ts';

export type Role = 'owner' | 'guest';

export interface Entered {
  readonly role: Role;
  readonly access: StateAccess;
  /** Ends this part; what is under way is finished first. */
  leave(): Promise<void>;
}

const hintName = 'owner.json';
const patienceMs = 30_000;
/** How long a new owner lets the guests of the old one come over with what they hold, before it delivers. */
const graceMs = 300;
/** A file that another process is just writing may look damaged for a moment. */
const maxUnreadable = 3;

/**
 * Joins the owner of the folder, or becomes it. Who owns it is decided by a row in the environment that is
 * changed only in a transaction that still finds the record it had read, and only when nobody listens at that
 * record's socket any more. `owner.json` repeats the row so that a guest need not open the environment.
 */
export async function enter(folder: string): Promise<Entered> {
  prepareFolder(folder);
  const deadline = performance.now() + patienceMs;
  for (let unreadable = 0; performance.now() < deadline; await sleep(20)) {
    try {
      const entered = (await join(folder)) ?? (await own(folder));
      if (entered !== undefined) return entered;
    } catch (failure) {
      const again =
        failure instanceof StateFailure && failure.code === 'unreadable' && ++unreadable < maxUnreadable;
      if (!again) throw stateFailure(folder, failure);
      await sleep(50);
    }
  }
  throw unavailable(
    `The state folder ${folder} changes hands again and again: for ${patienceMs / 1000} s no process kept it. ` +
      'Look for one that ends right after its start.',
  );
}

async function join(folder: string): Promise<Entered | undefined> {
  const hint = readHint(folder);
  const access = hint && (await GuestAccess.connect(hint.socket));
  return access && asGuest(access);
}

function asGuest(access: GuestAccess): Entered {
  return { role: 'guest', access, leave: () => access.close() };
}

async function own(folder: string): Promise<Entered | undefined> {
  const environment = await openEnvironment(folder, readHint(folder) !== undefined);
  let entered: Entered | undefined;
  try {
    const previous = environment.owner();
    const guest = previous && (await GuestAccess.connect(previous.socket));
    if (guest !== undefined) return asGuest(guest);
    entered = await take(folder, environment, previous);
    return entered;
  } finally {
    if (entered === undefined) await environment.close();
  }
}

/** Listens before it claims, so that whoever reads the record finds somebody. */
async function take(
  folder: string,
  environment: OpenEnvironment,
  previous: OwnerRecord | undefined,
): Promise<Entered | undefined> {
  const reception = await Reception.open(folder, randomUUID().slice(0, 8));
  const record = { opening: (previous?.opening ?? 0) + 1, pid: process.pid, socket: reception.path };
  try {
    if (environment.claim(previous, record)) {
      const graced = previous === undefined || readHint(folder)?.empty === true ? 0 : graceMs;
      writeHint(folder, record);
      if (previous !== undefined) removeSocket(previous.socket);
      removeStraySockets(folder, reception.path);
      const owner: Owner = new Owner(environment, record.opening, graced, () => void leave(owner, reception));
      reception.serve(owner);
      const leaveFolder = async () => {
        if (reception.isEmpty) writeHint(folder, { ...record, empty: true });
        await leave(owner, reception);
      };
      return { role: 'owner', access: owner, leave: leaveFolder };
    }
  } catch (failure) {
    await reception.close();
    throw failure;
  }
  await reception.close();
  return undefined;
}

/** The socket goes last: while it is there, nobody else opens the environment as its owner. */
async function leave(owner: Owner, reception: Reception): Promise<void> {
  await reception.settle();
  await owner.close();
  await reception.close();
}

interface Hint extends OwnerRecord {
  /** Nobody was served when this owner left. */
  readonly empty?: boolean;
}

function readHint(folder: string): Hint | undefined {
  try {
    const hint = JSON.parse(readFileSync(joinPath(folder, hintName), 'utf8')) as Partial<Hint>;
    return typeof hint.socket === 'string' ? (hint as Hint) : undefined;
  } catch {
    return undefined;
  }
}

function writeHint(folder: string, record: Hint): void {
  const temporary = joinPath(folder, `${hintName}.${record.pid}`);
  writeFileSync(temporary, `${JSON.stringify({ isobar: 'state', schema: schemaVersion, ...record })}\n`, {
    mode: 0o600,
  });
  renameSync(temporary, joinPath(folder, hintName));
}

/** Left by owners that were killed, or by one that lost the race: it listens anew before it claims again. */
function removeStraySockets(folder: string, own: string): void {
  const sockets = joinPath(folder, socketFolder);
  let names: string[] = [];
  try {
    names = readdirSync(sockets);
  } catch {
    return; // The socket has a folder of its own, because this one's path is too long.
  }
  for (const name of names) {
    if (joinPath(sockets, name) !== own) rmSync(joinPath(sockets, name), { force: true });
  }
}
