import { mkdirSync, mkdtempSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const cache = join(import.meta.dirname, '..', 'node_modules', '.cache', 'isobar-bench');
const memory = '/dev/shm';
const neededBytes = 8 * 1024 ** 3;

/** A new folder on the disk, for Isobar's ledger: its commits are to cost what they cost. */
export function folderOnDisk(): string {
  mkdirSync(cache, { recursive: true });
  return mkdtempSync(join(cache, 'state-'));
}

/**
 * Lets the servers keep their data in memory where there is room, unless `TMPDIR` names another place: what a disk
 * shared with other machines does from one second to the next is larger than what is measured. Says where they are.
 */
export function placeServers(): string {
  if (process.env['TMPDIR'] === undefined && hasRoom()) process.env['TMPDIR'] = memory;
  return tmpdir() === memory ? 'in memory (tmpfs)' : `below ${tmpdir()}`;
}

function hasRoom(): boolean {
  try {
    const { bavail, bsize } = statfsSync(memory);
    return bavail * bsize >= neededBytes;
  } catch {
    return false;
  }
}
