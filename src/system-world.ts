import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { World } from './ports/world.ts';

/** The real clock and real randomness. */
export const systemWorld: World = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  random: () => Math.random(),
  uniqueId: () => randomBytes(16).toString('base64url'),
  worker: workerOf(process.pid),
  hasEnded(worker) {
    const [machine = '', pid = ''] = worker.split('#');
    return machine === thisMachine() && workerOf(Number(pid)) !== worker;
  },
  sleep: async (ms, signal) => {
    try {
      await sleep(ms, undefined, { signal });
    } catch {
      throw signal.reason;
    }
  },
};

/** Machine, process id and, on Linux, when the process was started: ids are used again. */
function workerOf(pid: number): string {
  const stat = textOf(`/proc/${pid}/stat`);
  const started = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  return `${thisMachine()}#${pid}#${started}`;
}

function thisMachine(): string {
  return `${hostname()}/${textOf('/proc/sys/kernel/random/boot_id').trim()}`;
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
