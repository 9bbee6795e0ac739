import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';

/** What one client process took, start to end. */
export interface Measured {
  readonly exitCode: number;
  /** From its start to its end, the start of the program included. */
  readonly seconds: number;
  /** User and system time, as its parent shell was told by the kernel when it ended. */
  readonly cpuSeconds: number;
  /** The highest of the samples. */
  readonly rssAnonMiB: number;
  /** The kernel's own high-water mark of resident memory, files mapped by it included. */
  readonly vmHwmMiB: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Command {
  readonly program: string;
  readonly args: readonly string[];
  /** Complete: nothing of ours is added. */
  readonly env: Readonly<Record<string, string>>;
}

const sampleEveryMs = 10;

/**
 * The shell starts the client, tells its number, and after its end the processor time of its children: the kernel
 * tells that only to a parent, and Node does not pass it on.
 */
const launcher = '"$@" 3>&- & pid=$!; echo "$pid" >&3; wait "$pid"; code=$?; times >&3; exit "$code"';

/** Runs a client as a process of its own and measures it. Never throws for its exit code. */
export async function measure({ program, args, env }: Command): Promise<Measured> {
  const begunMs = performance.now();
  const child = spawn('sh', ['-c', launcher, 'sh', program, ...args], {
    env,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  });
  const [, out, err, side] = child.stdio as unknown as Readable[];
  let endMs = 0;
  const ended = new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => {
      endMs = performance.now();
      resolve(code ?? -1);
    });
  });
  const peak = { rssAnonKiB: 0, vmHwmKiB: 0 };
  let told = '';
  side!.setEncoding('utf8').on('data', (text: string) => {
    told += text;
  });
  const sampler = setInterval(() => sample(Number.parseInt(told, 10), peak), sampleEveryMs);
  const [exitCode, stdout, stderr] = await Promise.all([ended, textOf(out!), textOf(err!)]);
  clearInterval(sampler);
  return {
    exitCode,
    seconds: (endMs - begunMs) / 1000,
    cpuSeconds: childSeconds(told),
    rssAnonMiB: peak.rssAnonKiB / 1024,
    vmHwmMiB: peak.vmHwmKiB / 1024,
    stdout,
    stderr,
  };
}

/** Like `measure`, but a client that fails ends the benchmark: a figure of a failed run is worth nothing. */
export async function measureDone(what: string, command: Command): Promise<Measured> {
  const measured = await measure(command);
  if (measured.exitCode !== 0) {
    const said = `${measured.stdout.slice(-2000)}\n${measured.stderr.slice(-2000)}`;
    throw new Error(`${what} ended with exit code ${measured.exitCode}:\n${said}`);
  }
  return measured;
}

function sample(pid: number, peak: { rssAnonKiB: number; vmHwmKiB: number }): void {
  if (Number.isNaN(pid)) return;
  let status: string;
  try {
    status = readFileSync(`/proc/${pid}/status`, 'latin1');
  } catch {
    return;
  }
  peak.rssAnonKiB = Math.max(peak.rssAnonKiB, Number(/^RssAnon:\s+(\d+)/m.exec(status)?.[1] ?? 0));
  peak.vmHwmKiB = Math.max(peak.vmHwmKiB, Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1] ?? 0));
}

/** The last line of `times`: what the shell's children took. */
function childSeconds(told: string): number {
  const [user = '', system = ''] = told.trim().split('\n').at(-1)?.split(/\s+/) ?? [];
  return secondsOf(user) + secondsOf(system);
}

function secondsOf(text: string): number {
  const [, minutes, seconds] = /^(\d+)m([\d.]+)s$/.exec(text) ?? [];
  return Number(minutes ?? Number.NaN) * 60 + Number(seconds ?? Number.NaN);
}

async function textOf(stream: Readable): Promise<string> {
  let text = '';
  for await (const piece of stream.setEncoding('utf8')) text += piece as string;
  return text;
}
