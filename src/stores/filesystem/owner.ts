import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { type FileCalls, unless } from './calls.ts';

/** One opened store of one process, as other processes see it. */
export interface Owner {
  readonly id: string;
  readonly host: string;
  /** Linux: this start of the machine. Empty elsewhere. */
  readonly boot: string;
  /** Linux: in which process ids mean the same. Empty elsewhere. */
  readonly namespace: string;
  readonly pid: number;
  /** Linux: ticks between the start of the machine and the start of the process; tells apart a reused pid. */
  readonly started: string;
}

export async function thisOwner(calls: FileCalls): Promise<Owner> {
  return {
    id: randomBytes(8).toString('hex'),
    host: hostname(),
    boot: await textOf(calls, '/proc/sys/kernel/random/boot_id'),
    namespace: (await unless(unreadable, calls.readlink('/proc/self/ns/pid'))) ?? '',
    pid: process.pid,
    started: await startOf(calls, process.pid),
  };
}

/**
 * Whether the process of `other` still runs; `unknown` when it cannot be seen from here: another machine, another
 * start of this one, another container.
 */
export async function fateOf(
  calls: FileCalls,
  other: Owner,
  own: Owner,
): Promise<'alive' | 'dead' | 'unknown'> {
  const isNeighbour = other.host === own.host && other.boot === own.boot && other.namespace === own.namespace;
  if (!isNeighbour) return 'unknown';
  if (own.started !== '') return (await startOf(calls, other.pid)) === other.started ? 'alive' : 'dead';
  // Without a start time, a living process may be another one that got the same id.
  return hasProcess(other.pid) ? 'unknown' : 'dead';
}

const unreadable = ['ENOENT', 'ESRCH', 'EACCES', 'EPERM', 'ENOTDIR', 'EINVAL'];

async function textOf(calls: FileCalls, path: string): Promise<string> {
  return (await unless(unreadable, calls.readFile(path)))?.toString('utf8').trim() ?? '';
}

/** Field 22 of /proc/PID/stat; the name of the program before it may hold blanks and parentheses. */
async function startOf(calls: FileCalls, pid: number): Promise<string> {
  const stat = await textOf(calls, `/proc/${pid}/stat`);
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}

function hasProcess(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (cause) {
    return cause instanceof Error && 'code' in cause && cause.code === 'EPERM';
  }
}

export function parseOwner(bytes: Buffer): Owner | undefined {
  try {
    const value = JSON.parse(bytes.toString('utf8')) as Owner | null;
    return typeof value?.id === 'string' && typeof value.pid === 'number' ? value : undefined;
  } catch {
    return undefined;
  }
}
