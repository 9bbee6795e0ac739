import { StoreFailure, type StoreFailureCode } from '../../model/failure.ts';
import { errnoOf } from './calls.ts';

const meanings: Record<string, readonly [StoreFailureCode, string]> = {
  EACCES: ['denied', 'permission denied; give the user that runs Isobar read and write access to the folder'],
  EPERM: ['denied', 'the system does not permit it; check owner, attributes and mount options of the folder'],
  EROFS: ['denied', 'the folder is mounted read-only; mount it for writing'],
  ENOSPC: ['full', 'no space left; make room on the disk that holds the folder'],
  EDQUOT: ['full', 'the disk quota is used up; make room or raise the quota'],
  EFBIG: ['invalid', 'the file is larger than this file system can hold'],
  ENAMETOOLONG: ['invalid', 'the path is longer than this system can hold'],
  EXDEV: ['misplaced', 'a folder inside is another file system; make that one a site of its own'],
  ENOTSUP: ['unsupported', 'this file system has no hard links, without which nothing can be created safely'],
  EMFILE: ['unavailable', 'too many open files; raise the limit of open files or lower the concurrency'],
  ENFILE: ['unavailable', 'too many open files on this machine'],
  ENOENT: ['unavailable', 'a file or folder of the store was moved or deleted meanwhile'],
  ENOTDIR: ['unavailable', 'a folder of the store was replaced by a file meanwhile'],
};
meanings.EOPNOTSUPP = meanings.ENOTSUP!;
meanings.ENOSYS = meanings.ENOTSUP!;

/** Whatever a call threw, as the failure that the caller gets. `doing` reads like "writing a/b". */
export function asStoreFailure(cause: unknown, doing: string): StoreFailure {
  if (cause instanceof StoreFailure) return cause;
  const errno = errnoOf(cause);
  const [code, why] = meanings[errno ?? ''] ?? [
    'unavailable',
    cause instanceof Error ? cause.message : `${cause}`,
  ];
  const shown = errno === undefined ? '' : ` (${errno})`;
  return new StoreFailure(code, `${doing} failed: ${why}${shown}`, { cause });
}

/**
 * Runs `work`; whatever it throws becomes a StoreFailure, except the reason of `signal`.
 */
export async function translated<T>(doing: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  signal.throwIfAborted();
  try {
    return await work();
  } catch (cause) {
    if (signal.aborted && cause === signal.reason) throw cause;
    throw asStoreFailure(cause, doing);
  }
}
