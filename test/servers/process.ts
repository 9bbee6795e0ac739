import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { groupCpuSeconds, groupMembers, isListening, startTicks, statFields } from './linux-proc.ts';

/** Folders of this prefix in the temporary folder are ours; each tells in `owner.json` whose. */
const folderPrefix = 'isobar-server-';
const markName = 'ISOBAR_TEST_SERVER';

export interface Launch {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export interface GroupOptions {
  readonly name: string;
  /** Kept when given, else private and removed by `stop`. */
  readonly dataDir?: string | undefined;
  /** A free one when absent. */
  readonly port?: number | undefined;
  readonly launch: (port: number, dataDir: string) => Launch;
  /** True once the server answers; may throw while it does not. */
  readonly ready: (port: number) => Promise<boolean>;
  readonly deadlineMs?: number;
}

/** A server's process group: it dies with us, however we die. */
export interface ProcessGroup {
  readonly pid: number;
  readonly port: number;
  readonly dataDir: string;
  readonly logFile: string;
  pause(): void;
  resume(): void;
  /** At once, as in a crash; the data folder stays. */
  kill(): Promise<void>;
  /** Politely, then by force; removes the private folder. */
  stop(): Promise<void>;
  /** User and system time of all its processes so far. Linux only. */
  cpuSeconds(): number;
}

export async function startGroup(options: GroupOptions): Promise<ProcessGroup> {
  sweepLeftovers();
  const attempts = options.port === undefined ? 3 : 1;
  for (let attempt = 1; ; attempt++) {
    try {
      return await startOnce(options, options.port ?? (await freePort()));
    } catch (error) {
      // Between our look and the server's bind somebody else may take the port.
      const portTaken = /address (already )?in use|EADDRINUSE/i.test(String(error));
      if (!portTaken || attempt >= attempts) throw error;
    }
  }
}

async function startOnce(options: GroupOptions, port: number): Promise<ProcessGroup> {
  const folder = mkdtempSync(join(tmpdir(), folderPrefix));
  const dataDir = options.dataDir ?? join(folder, 'data');
  mkdirSync(dataDir, { recursive: true });
  const logFile = join(folder, 'server.log');
  const mark = randomUUID();
  const launch = options.launch(port, dataDir);

  const log = openSync(logFile, 'a');
  const child = spawn(launch.command, launch.args, {
    cwd: folder,
    detached: true,
    stdio: ['ignore', log, log],
    env: { PATH: process.env.PATH, HOME: folder, TMPDIR: tmpdir(), ...launch.env, [markName]: mark },
  });
  closeSync(log);
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  child.unref();
  if (child.pid === undefined) {
    rmSync(folder, { recursive: true, force: true });
    throw new Error(`${options.name}: cannot run ${launch.command}`);
  }
  const pid = child.pid;
  writeFileSync(join(folder, 'owner.json'), JSON.stringify({ ...ownIdentity(), group: pid, mark }));
  const guard = startGuard(pid, mark, folder);

  const kill = async (): Promise<void> => {
    child.ref();
    signalGroup(child, 'SIGKILL');
    await exited;
  };
  const stop = async (): Promise<void> => {
    child.ref();
    signalGroup(child, 'SIGCONT');
    signalGroup(child, 'SIGTERM');
    await Promise.race([exited, sleep(3_000, undefined, { ref: false })]);
    await kill();
    rmSync(folder, { recursive: true, force: true });
    guard.kill('SIGKILL');
  };

  try {
    await waitUntilReady(options, child, port);
  } catch (error) {
    const tail = logTail(logFile);
    await stop();
    const command = [launch.command, ...launch.args].join(' ');
    throw new Error(`${options.name}: ${String(error)}\n  command: ${command}\n  its log ends:\n${tail}`);
  }
  return {
    pid,
    port,
    dataDir,
    logFile,
    pause: () => pauseGroup(child),
    resume: () => signalGroup(child, 'SIGCONT'),
    kill,
    stop,
    cpuSeconds: () => groupCpuSeconds(pid),
  };
}

async function waitUntilReady(options: GroupOptions, child: ChildProcess, port: number): Promise<void> {
  const deadlineMs = options.deadlineMs ?? 30_000;
  const end = Date.now() + deadlineMs;
  let lastProblem: unknown = 'no answer';
  while (Date.now() < end) {
    if (hasExited(child))
      throw new Error(`exited with ${child.exitCode ?? child.signalCode} before it was ready`);
    try {
      // Another server may have taken our port: only an answer from our own process counts.
      if ((await options.ready(port)) && isListening(child.pid, port)) return;
    } catch (error) {
      lastProblem = error;
    }
    await sleep(25);
  }
  throw new Error(`not ready after ${deadlineMs} ms (${String(lastProblem)})`);
}

function hasExited(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** Never signals a group whose leader has been reaped: its number may belong to another by now. */
function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined || hasExited(child)) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // Gone in the meantime.
  }
}

/** Comes back once nothing of the group can answer any more. */
function pauseGroup(child: ChildProcess): void {
  signalGroup(child, 'SIGSTOP');
  const tick = new Int32Array(new SharedArrayBuffer(4));
  for (let waitedMs = 0; waitedMs < 1_000; waitedMs++) {
    if (groupMembers(child.pid ?? 0).every((pid) => /^[TtZ]/.test(statFields(pid)?.[0] ?? 'Z'))) return;
    Atomics.wait(tick, 0, 0, 1);
  }
}

/**
 * A small shell in a group of its own. Its standard input ends when we die, by whatever signal; then it kills
 * the group, if that still carries our mark, and removes the folder.
 */
function startGuard(group: number, mark: string, folder: string): ChildProcess {
  const script =
    'cat >/dev/null; grep -qz "^$2$" "/proc/$1/environ" && kill -s KILL -- "-$1"; sleep 0.2; rm -rf -- "$3"';
  const guard = spawn('sh', ['-c', script, 'guard', String(group), `${markName}=${mark}`, folder], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  guard.unref();
  const pipe = guard.stdin as unknown as { unref?: () => void } | null;
  pipe?.unref?.();
  return guard;
}

/** Removes what a run left whose guard was killed as well. Touches only groups that carry the mark we gave. */
export function sweepLeftovers(): void {
  for (const entry of readdirSync(tmpdir())) {
    if (!entry.startsWith(folderPrefix)) continue;
    const folder = join(tmpdir(), entry);
    const owner = readOwner(folder);
    if (owner === undefined || startTicks(owner.pid) === owner.startTicks) continue;
    try {
      if (readFileSync(`/proc/${owner.group}/environ`, 'latin1').includes(`${markName}=${owner.mark}`)) {
        process.kill(-owner.group, 'SIGKILL');
      }
    } catch {
      // The group has ended.
    }
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Owner {
  readonly pid: number;
  readonly startTicks: string;
  readonly group: number;
  readonly mark: string;
}

function ownIdentity(): Pick<Owner, 'pid' | 'startTicks'> {
  return { pid: process.pid, startTicks: startTicks(process.pid) ?? '' };
}

function readOwner(folder: string): Owner | undefined {
  try {
    return JSON.parse(readFileSync(join(folder, 'owner.json'), 'utf8')) as Owner;
  } catch {
    return undefined;
  }
}

export async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() =>
        address && typeof address === 'object' ? resolve(address.port) : reject(new Error('no port')),
      );
    });
  });
}

function logTail(file: string): string {
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
  return lines
    .slice(-30)
    .map((line) => `    ${line}`)
    .join('\n');
}
