import {
  closeSync,
  fdatasyncSync,
  ftruncateSync,
  openSync,
  rmSync,
  statfsSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { full } from './failures.ts';

/**
 * Kept free on the disk of the state folder, beside what a transaction may take. LMDB must not meet the end of the
 * disk: where it tells of that it writes past a buffer of 100 bytes (`last_error` in the mdb.c of lmdb 3.5.6), and
 * its lock file must not lie on a page that does not exist; either would end the process.
 */
const reserveBytes = 4 * 1024 * 1024;
const probeBytes = 64 * 1024;

/** Whether there is room for a write to the state folder. */
export class Space {
  readonly #folder: string;
  readonly #dataPath: string;
  #refused = false;

  constructor(folder: string, dataPath: string) {
    this.#folder = folder;
    this.#dataPath = dataPath;
  }

  /** Throws `full` where a transaction that takes so much would leave less than the reserve. */
  assertFree(bytes = 0): void {
    const { bavail, bsize } = statfsSync(this.#folder);
    this.#refused &&= this.isExhausted();
    if (this.#refused || bavail * bsize < reserveBytes + bytes) throw full(this.#folder);
  }

  /** LMDB met the end of the disk all the same, by a quota say: it is not asked again before there is room. */
  noteRefusal(): void {
    this.#refused = true;
  }

  /**
   * LMDB answers EIO for a write that was cut short, which is how a quota, a limit of the file size, and a disk
   * that filled up just now look; a small write of our own tells them from a broken disk.
   */
  isExhausted(): boolean {
    const path = join(this.#folder, `.space.${process.pid}`);
    try {
      probe(path, statSync(this.#dataPath).size + probeBytes);
      return false;
    } catch (failure) {
      return ['ENOSPC', 'EDQUOT', 'EFBIG'].includes((failure as NodeJS.ErrnoException).code ?? '');
    } finally {
      rmSync(path, { force: true });
    }
  }
}

function probe(path: string, sizeBytes: number): void {
  const fd = openSync(path, 'w', 0o600);
  try {
    ftruncateSync(fd, sizeBytes);
    writeSync(fd, Buffer.alloc(probeBytes));
    fdatasyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
