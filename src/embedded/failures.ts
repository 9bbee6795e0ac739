import { StateFailure } from '../model/failure.ts';
import { OwnerGone } from './access.ts';

const rebuild =
  'The ledger can be rebuilt from the sites: move the folder aside and run `isobar sync`; ' +
  'changes that only waited on the bus are found again by its scan.';

export function unreadable(folder: string, why: string, cause?: unknown): StateFailure {
  return new StateFailure('unreadable', `The state folder ${folder} cannot be read: ${why}. ${rebuild}`, {
    cause,
  });
}

export function newerSchema(folder: string, found: number, known: number): StateFailure {
  return new StateFailure(
    'unreadable',
    `The state folder ${folder} was written by a newer Isobar (schema ${found}, this program knows ${known}). ` +
      'Use that version, or a newer one, or point this one at another folder.',
  );
}

export function full(folder: string, cause?: unknown): StateFailure {
  return new StateFailure(
    'full',
    `No space left for the state folder ${folder}; nothing of the write was kept. ` +
      'Free some space (or raise the quota) on that disk; Isobar tries again.',
    { cause },
  );
}

export function unavailable(message: string, cause?: unknown): StateFailure {
  return new StateFailure('unavailable', message, { cause });
}

const spaceCodes = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);
const permissionCodes = new Set(['EACCES', 'EPERM', 'EROFS']);

// LMDB hands on the text of the errno or its own name; there is no code to branch on.
const spaceText = /no space left|quota exceeded|file too large|MDB_MAP_FULL|ENOSPC|EDQUOT|EFBIG/i;
const damageText = /MDB_CORRUPTED|MDB_PAGE_NOTFOUND|MDB_INVALID|MDB_VERSION_MISMATCH|MDB_INCOMPATIBLE/i;
const permissionText = /permission denied|read-only file system|operation not permitted/i;

/** Any failure of the file system or of LMDB, in the words of the port. */
export function stateFailure(folder: string, cause: unknown): Error {
  if (
    cause instanceof OwnerGone ||
    cause instanceof StateFailure ||
    cause instanceof TypeError ||
    cause instanceof RangeError
  )
    return cause;
  const code = (cause as NodeJS.ErrnoException | undefined)?.code ?? '';
  const text = cause instanceof Error ? cause.message : String(cause);
  if (spaceCodes.has(code) || spaceText.test(text)) return full(folder, cause);
  if (damageText.test(text)) return unreadable(folder, `LMDB says "${text}"`, cause);
  if (permissionCodes.has(code) || permissionText.test(text)) {
    return unavailable(
      `The state folder ${folder} may not be written (${text}). Give this user write permission, or set another folder.`,
      cause,
    );
  }
  if (code === 'ENOTDIR' || code === 'EEXIST') {
    return unavailable(`The state folder ${folder} is not a folder (${text}). Set another one.`, cause);
  }
  return unavailable(`The state folder ${folder} does not work: ${text}. Trying again may help.`, cause);
}
