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
 * Kept free on the disk of the state folder. Below this nothing is written: a clear refusal instead of LMDB's
 * (which prints its errors), and its lock file never lies on a page that does not exist, which would end the
 * process.
 */
const reserveBytes = 4 * 1024 * 1024;
const lookAgainMs = 100;
const probeBytes = 64 * 1024;

/** Whether there is room for a write to the state folder. */
export class Space {
  readonly #folder: string;
  readonly #dataPath: string;
  #lookedMs = Number.NEGATIVE_INFINITY;

  constructor(folder: string, dataPath: string) {
    this.#folder = folder;
    this.#dataPath = dataPath;
  }

  /** Throws `full`. Looks at the disk ten times a second at most, and each time after it was full. */
  assertFree(): void {
    const nowMs = performance.now();
    if (nowMs - this.#lookedMs < lookAgainMs) return;
    const { bavail, bsize } = statfsSync(this.#folder);
    if (bavail * bsize < reserveBytes) throw full(this.#folder);
    this.#lookedMs = nowMs;
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
