// What Linux tells of processes in /proc.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

const clockTicksPerSecond = 100;

/** A pid and its start time together name a process for good. */
export function startTicks(pid: number): string | undefined {
  return statFields(String(pid))?.[19];
}

/** The fields of /proc/<pid>/stat from `state` on: the name before may hold spaces. */
export function statFields(pid: string): string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined;
  }
}

export function groupMembers(group: number): string[] {
  return readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && statFields(pid)?.[2] === String(group));
}

export function groupCpuSeconds(group: number): number {
  let ticks = 0;
  for (const pid of groupMembers(group)) {
    const fields = statFields(pid) ?? [];
    // utime, stime, and those of children it has waited for
    for (const index of [11, 12, 13, 14]) ticks += Number(fields[index] ?? 0);
  }
  return ticks / clockTicksPerSecond;
}

export function isListening(group: number | undefined, port: number): boolean {
  if (process.platform !== 'linux' || group === undefined) return true;
  const inodes = listenerInodes(port);
  for (const pid of groupMembers(group)) {
    try {
      for (const fd of readdirSync(`/proc/${pid}/fd`)) {
        const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1];
        if (inode !== undefined && inodes.has(inode)) return true;
      }
    } catch {
      // A descriptor that closed while we looked.
    }
  }
  return false;
}

function listenerInodes(port: number): Set<string> {
  const hexPort = port.toString(16).toUpperCase().padStart(4, '0');
  const inodes = new Set<string>();
  for (const line of readFileSync('/proc/net/tcp', 'latin1').split('\n')) {
    const fields = line.trim().split(/\s+/);
    // 0A is LISTEN
    if (fields[1]?.endsWith(`:${hexPort}`) && fields[3] === '0A' && fields[9] !== undefined)
      inodes.add(fields[9]);
  }
  return inodes;
}
