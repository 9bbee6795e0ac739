import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { systemWorld } from '../../src/system-world.ts';

const program = join(import.meta.dirname, '..', '..', 'src', 'cli', 'main.ts');

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `isobar` to its end. */
export function isobar(configFile: string, args: readonly string[], input = ''): Promise<Ended> {
  const child = start(configFile, args);
  child.stdin!.end(input);
  const out = collect(child);
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, ...out() })));
}

/** `isobar run` as a process of its own. */
export class Daemon {
  readonly #child: ChildProcess;
  readonly #out: () => { stdout: string; stderr: string };
  readonly #ended: Promise<number | null>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#out = collect(child);
    this.#ended = new Promise((resolve) => child.once('close', resolve));
  }

  /** Resolves when it says that everything is up. */
  static async start(configFile: string, signal: AbortSignal): Promise<Daemon> {
    const child = start(configFile, ['run', '--json']);
    child.stdin!.end();
    const daemon = new Daemon(child);
    while (!daemon.#out().stdout.includes('\n')) {
      if (child.exitCode !== null) throw new Error(`isobar run ended (${child.exitCode}): ${daemon.stderr}`);
      await systemWorld.sleep(20, signal);
    }
    return daemon;
  }

  get ready(): { readonly type: string; readonly url: string; readonly sources?: readonly string[] } {
    return JSON.parse(this.#out().stdout.split('\n')[0]!);
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get stderr(): string {
    return this.#out().stderr;
  }

  /** The lines of its log. */
  get log(): Record<string, unknown>[] {
    const lines = this.stderr.split('\n').filter((line) => line.startsWith('{'));
    return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  async get(path: string): Promise<{ status: number; text: string }> {
    const answer = await fetch(`${this.ready.url}${path}`);
    return { status: answer.status, text: await answer.text() };
  }

  /** Waits until the first scan of all sites is complete: what happens from now on only a source, or the next scan, can tell. */
  async scanned(sites: number, signal: AbortSignal): Promise<void> {
    for (;;) {
      const { text } = await this.get('/metrics');
      if ((text.match(/^isobar_scan_age_seconds\{.*\} \d/gm) ?? []).length === sites) return;
      await systemWorld.sleep(100, signal);
    }
  }

  kill(signal: NodeJS.Signals): Promise<number | null> {
    this.#child.kill(signal);
    return this.#ended;
  }

  /** For the end of a test, whatever state it is in. */
  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await this.kill('SIGKILL');
  }
}

function start(configFile: string, args: readonly string[]): ChildProcess {
  return spawn(process.execPath, [program, ...args, '--config', configFile], { stdio: 'pipe' });
}

function collect(child: ChildProcess): () => { stdout: string; stderr: string } {
  const pieces = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  child.stdout!.on('data', (piece: Buffer) => pieces.stdout.push(piece));
  child.stderr!.on('data', (piece: Buffer) => pieces.stderr.push(piece));
  const text = (all: Buffer[]) => Buffer.concat(all).toString('utf8');
  return () => ({ stdout: text(pieces.stdout), stderr: text(pieces.stderr) });
}
