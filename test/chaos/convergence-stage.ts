import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Daemon } from '../e2e/daemon-process.ts';
import { honestClouds, type LiveSite, type LiveSystem, startSystem } from '../e2e/sites.ts';
import { FaultProxy } from '../servers/fault-proxy.ts';
import type { SiteConfig } from '../servers/start.ts';
import { keyPrefix } from './bodies.ts';
import { type NativeClient, nativeClient } from './native-client.ts';
import { type Act, Recorder } from './recorder.ts';
import { Users } from './users.ts';

const userScript = join(import.meta.dirname, 'convergence-user.ts');

/** A site of the run: its server, the recorder before it, and a proxy before that for workers and one for users. */
export interface StagedSite extends LiveSite {
  readonly recorder: Recorder;
  readonly workers: FaultProxy;
  readonly users: FaultProxy;
  readonly client: NativeClient;
}

/** Three servers, three workers over one state folder, and users of Isobar beside them. */
export class Stage {
  readonly system: LiveSystem;
  readonly sites: StagedSite[] = [];
  /** The configuration of workers and of the command line. */
  readonly configFile: string;
  readonly acts: Act[] = [];
  readonly users = new Users();
  /** Processes that ended by themselves. */
  readonly ended: string[] = [];
  readonly #usersFile: string;
  readonly #journal: string;
  readonly #workers: (Daemon | undefined)[] = [undefined, undefined, undefined];
  #user: ChildProcess | undefined;
  #userRuns = 0;
  #stopping = false;

  private constructor(system: LiveSystem, journal: string) {
    this.system = system;
    this.#journal = journal;
    this.configFile = join(system.folder, 'isobar-workers.yaml');
    this.#usersFile = join(system.folder, 'isobar-users.yaml');
  }

  static async open(journal: string, signal: AbortSignal): Promise<Stage> {
    // Azurite on disk: in memory every body is an extent of its own there, which it collects every ten minutes one by
    // one, and answers nobody for minutes.
    const system = await startSystem(honestClouds);
    const stage = new Stage(system, journal);
    try {
      await stage.#build();
      for (const worker of stage.workers) await stage.startWorker(worker, signal);
      stage.startUsers();
      return stage;
    } catch (error) {
      await stage.close();
      throw error;
    }
  }

  get workers(): readonly number[] {
    return [...this.#workers.keys()];
  }

  async startWorker(number: number, signal: AbortSignal): Promise<void> {
    this.#workers[number] = await Daemon.start(this.configFile, signal);
  }

  /** True when it owned the state. */
  async killWorker(number: number): Promise<boolean> {
    const worker = this.#workers[number];
    if (!worker) return false;
    this.#workers[number] = undefined;
    const owned = this.#ownerPid() === worker.pid;
    const code = await worker.kill('SIGKILL');
    if (code !== null) this.ended.push(`worker ${number} with ${code}`);
    this.journal({ killed: `worker ${number}`, owned });
    this.#keepLog(number, worker);
    return owned;
  }

  ownerNumber(): number | undefined {
    const found = this.#workers.findIndex(
      (worker) => worker !== undefined && worker.pid === this.#ownerPid(),
    );
    return found < 0 ? undefined : found;
  }

  startUsers(): void {
    const name = `u${this.#userRuns++}`;
    const child = spawn(process.execPath, [userScript, this.#usersFile, name], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#user = child;
    child.once('exit', (code) => {
      if (code !== null && code !== 0) this.ended.push(`users ${name} with ${code}`);
    });
    let rest = '';
    child.stdout.on('data', (piece: Buffer) => {
      const lines = (rest + piece.toString()).split('\n');
      rest = lines.pop()!;
      for (const line of lines) this.#userSaid(line);
    });
    child.stderr.on('data', (piece: Buffer) => appendFileSync(join(this.#journal, 'users.log'), piece));
  }

  /** True when it owned the state. */
  async killUsers(): Promise<boolean> {
    const child = this.#user!;
    const owned = this.#ownerPid() === child.pid;
    child.kill('SIGKILL');
    await closed(child);
    this.users.killed(this.sites.map(({ name: site }) => site));
    this.journal({ killed: 'users', owned });
    return owned;
  }

  /** Every write of theirs is answered when it resolves. */
  async endUsers(): Promise<void> {
    const child = this.#user!;
    child.kill('SIGTERM');
    await closed(child);
  }

  /** As a person ends them. */
  async endWorkers(): Promise<void> {
    for (const [number, worker] of this.#workers.entries()) {
      const code = await worker?.kill('SIGTERM');
      if (code !== 0) this.ended.push(`worker ${number} with ${code}`);
    }
  }

  journal(line: object): void {
    appendFileSync(
      join(this.#journal, 'journal.ndjson'),
      `${JSON.stringify({ atMs: Date.now(), ...line })}\n`,
    );
  }

  async close(): Promise<void> {
    this.#stopping = true;
    this.#user?.kill('SIGKILL');
    for (const [number, worker] of this.#workers.entries()) {
      await worker?.stop();
      if (worker) this.#keepLog(number, worker);
    }
    for (const { server, workers, users, recorder } of this.sites) {
      server.resume();
      await Promise.all([workers.stop(), users.stop()]);
      await recorder.stop();
    }
    await this.system.stop();
  }

  async #build(): Promise<void> {
    const document = JSON.parse(await readFile(this.system.configFile, 'utf8')) as Document;
    const forUsers = structuredClone(document);
    for (const site of this.system.sites) {
      const { name, server } = site;
      const recorder = await Recorder.before(name, server, keyPrefix, (act) => {
        this.acts.push(act);
        this.journal({ act });
      });
      const workers = await FaultProxy.before({ port: recorder.port('worker') });
      const users = await FaultProxy.before({ port: recorder.port('user') });
      const place = document.sites[name]!;
      const client = nativeClient(at(place, server.port, recorder.port('native')));
      this.sites.push({ ...site, recorder, workers, users, client });
      document.sites[name] = at(place, server.port, workers.port);
      forUsers.sites[name] = at(place, server.port, users.port);
    }
    await writeFile(this.configFile, JSON.stringify(document, null, 2));
    await writeFile(this.#usersFile, JSON.stringify(forUsers, null, 2));
  }

  #ownerPid(): number | undefined {
    try {
      const file = join(this.system.config.state, 'owner.json');
      return (JSON.parse(readFileSync(file, 'utf8')) as { pid: number }).pid;
    } catch {
      return undefined;
    }
  }

  #userSaid(line: string): void {
    this.users.said(line);
    if (!this.#stopping) this.journal({ user: line });
  }

  #keepLog(number: number, worker: Daemon): void {
    appendFileSync(join(this.#journal, `worker-${number}.log`), worker.stderr);
  }
}

async function closed(child: ChildProcess): Promise<void> {
  const isClosed = child.stdout?.closed === true && (child.exitCode !== null || child.signalCode !== null);
  if (!isClosed) await once(child, 'close');
}

interface Document {
  readonly sites: Record<string, SiteConfig>;
}

/** The same place, at another port. */
function at<C extends SiteConfig>(config: C, from: number, to: number): C {
  return JSON.parse(JSON.stringify(config).replaceAll(`127.0.0.1:${from}`, `127.0.0.1:${to}`)) as C;
}
