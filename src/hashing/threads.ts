import { hash } from 'node:crypto';
import { availableParallelism } from 'node:os';
import type { Worker } from 'node:worker_threads';

export interface HashJob {
  readonly algorithm: string;
  readonly memory: SharedArrayBuffer;
  readonly from: number;
  readonly bytes: number;
}

interface Waiting {
  readonly job: HashJob;
  readonly resolve: (hex: string | Promise<string>) => void;
}

/** More of them would wait for memory, not for processors. */
const mostThreads = 4;
/** A thread that has so much to do already is no faster than whoever asks. */
const jobsPerThread = 2;

/** Threads that hash, started when they are first needed; an idle one keeps no process alive. */
export class HashThreads {
  readonly #most: number;
  readonly #threads: HashThread[] = [];

  /** As many as there are processors beside the one that asks. */
  constructor(most = Math.min(mostThreads, availableParallelism() - 1)) {
    this.#most = most;
  }

  /** Undefined when all are busy: then whoever asks does it. */
  hash(job: HashJob): Promise<string> | undefined {
    const usable = this.#threads.filter((thread) => !thread.isBroken);
    const idlest = usable.sort((a, b) => a.jobs - b.jobs)[0];
    if (idlest && (idlest.jobs === 0 || this.#threads.length >= this.#most))
      return idlest.jobs < jobsPerThread ? idlest.hash(job) : undefined;
    if (this.#threads.length >= this.#most) return undefined;
    const thread = new HashThread();
    this.#threads.push(thread);
    return thread.hash(job);
  }
}

class HashThread {
  readonly #worker: Worker;
  /** In the order in which they were given away, which is that of the answers. */
  readonly #waiting: Waiting[] = [];
  isBroken = false;

  constructor() {
    const { Worker } = process.getBuiltinModule('node:worker_threads');
    this.#worker = new Worker(`(${serve})()`, {
      eval: true,
      execArgv: [],
      env: {},
      resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2 },
    });
    this.#worker.unref();
    this.#worker.on('message', (hex: string) => this.#answered(hex));
    this.#worker.on('error', () => this.#broke());
    this.#worker.on('exit', () => this.#broke());
  }

  get jobs(): number {
    return this.#waiting.length;
  }

  hash(job: HashJob): Promise<string> {
    return new Promise((resolve) => {
      this.#waiting.push({ job, resolve });
      this.#worker.ref();
      this.#worker.postMessage(job);
    });
  }

  #answered(hex: string): void {
    this.#waiting.shift()?.resolve(hex);
    if (this.#waiting.length === 0) this.#worker.unref();
  }

  /** Nobody knows why; what it had to do is done here. */
  #broke(): void {
    this.isBroken = true;
    for (const { job, resolve } of this.#waiting.splice(0)) resolve(hashHere(job));
  }
}

async function hashHere({ algorithm, memory, from, bytes }: HashJob): Promise<string> {
  return hash(algorithm, new Uint8Array(memory, from, bytes));
}

/** Runs in the thread, as text: it knows nothing of this module. */
function serve(): void {
  const { hash } = process.getBuiltinModule('node:crypto');
  const { parentPort } = process.getBuiltinModule('node:worker_threads');
  parentPort?.on('message', ({ algorithm, memory, from, bytes }: HashJob) => {
    parentPort.postMessage(hash(algorithm, new Uint8Array(memory, from, bytes)));
  });
}
