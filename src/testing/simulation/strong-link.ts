import { StoreFailure } from '../../model/failure.ts';
import type {
  ListEntry,
  ListRequest,
  ObjectStore,
  PartReceipt,
  ReadOptions,
  Token,
  Upload,
  UploadEntry,
  UploadPart,
  UploadRequest,
  WriteRequest,
} from '../../ports/object-store.ts';
import type { Clock } from './clock.ts';
import type { Random } from './random.ts';

/** What happened to requests, by kind. */
export interface LinkFaults {
  lostRequests: number;
  lostReplies: number;
  late: number;
  held: number;
  refused: number;
}

export interface LinkRates {
  /** Of each request, in [0, 1]. */
  readonly lost: number;
  readonly late: number;
  /** One way, in milliseconds: at least, usual at most, and when late. */
  readonly delayMs: readonly [number, number, number];
  readonly patienceMs: number;
}

/** A site as everybody's network sees it: until then it answers nobody. */
export interface Outage {
  untilMs: number;
  /** True: it refuses at once instead of holding requests back. */
  refuses: boolean;
}

/** One process of the simulation; what it sent before it died still arrives. */
export interface SimulatedProcess {
  dead: boolean;
}

/** The way of one process to one store. A request whose caller gave up, or died, still takes effect. */
export class Link implements ObjectStore {
  readonly #store: ObjectStore;
  readonly #process: SimulatedProcess;
  readonly #outage: Outage;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #rates: LinkRates;
  readonly #faults: LinkFaults;
  /** Every request in order. */
  readonly asked: { readonly verb: string; readonly key: string }[] = [];

  constructor(
    store: ObjectStore,
    parts: {
      readonly process: SimulatedProcess;
      readonly outage: Outage;
      readonly clock: Clock;
      readonly random: Random;
      readonly rates: LinkRates;
      readonly faults: LinkFaults;
    },
  ) {
    this.#store = store;
    this.#process = parts.process;
    this.#outage = parts.outage;
    this.#clock = parts.clock;
    this.#random = parts.random;
    this.#rates = parts.rates;
    this.#faults = parts.faults;
  }

  get limits() {
    return this.#store.limits;
  }

  get capabilities() {
    return this.#store.capabilities;
  }

  head(key: string, signal: AbortSignal) {
    return this.#call('head', key, signal, () => this.#store.head(key, unstopped));
  }

  read(key: string, options: ReadOptions, signal: AbortSignal) {
    return this.#call('read', key, signal, () => this.#store.read(key, options, unstopped));
  }

  write(request: WriteRequest, signal: AbortSignal) {
    return this.#call('write', request.key, signal, () => this.#store.write(request, unstopped));
  }

  remove(key: string, token: Token, signal: AbortSignal) {
    return this.#call('remove', key, signal, () => this.#store.remove(key, token, unstopped));
  }

  startUpload(request: UploadRequest, signal: AbortSignal): Promise<Upload> {
    return this.#call('startUpload', request.key, signal, () => this.#store.startUpload(request, unstopped));
  }

  writePart(upload: Upload, part: UploadPart, signal: AbortSignal): Promise<PartReceipt> {
    return this.#call('writePart', upload.key, signal, () => this.#store.writePart(upload, part, unstopped));
  }

  completeUpload(
    upload: Upload,
    receipts: readonly PartReceipt[],
    commit: Parameters<ObjectStore['completeUpload']>[2],
    signal: AbortSignal,
  ) {
    const complete = () => this.#store.completeUpload(upload, receipts, commit, unstopped);
    return this.#call('completeUpload', upload.key, signal, complete);
  }

  abortUpload(upload: Pick<Upload, 'id' | 'key'>, signal: AbortSignal): Promise<void> {
    return this.#call('abortUpload', upload.key, signal, () => this.#store.abortUpload(upload, unstopped));
  }

  async *listUploads(signal: AbortSignal): AsyncGenerator<readonly UploadEntry[]> {
    yield await this.#call('listUploads', '', signal, async () => {
      return (await Array.fromAsync(this.#store.listUploads(unstopped))).flat();
    });
  }

  async *list(request: ListRequest, signal: AbortSignal): AsyncGenerator<readonly ListEntry[]> {
    yield await this.#call('list', request.prefix ?? '', signal, async () => {
      return (await Array.fromAsync(this.#store.list(request, unstopped))).flat();
    });
  }

  sameWrite(recorded: Token, seen: Token): boolean {
    return this.#store.sameWrite(recorded, seen);
  }

  async close(): Promise<void> {}

  #call<T>(verb: string, key: string, signal: AbortSignal, run: () => Promise<T>): Promise<T> {
    this.asked.push({ verb, key });
    return new Promise((resolve, reject) => {
      const answer = (settle: () => void) => {
        signal.removeEventListener('abort', abort);
        if (!this.#process.dead) settle();
      };
      const abort = () => answer(() => reject(signal.reason));
      if (signal.aborted || this.#process.dead) return abort();
      signal.addEventListener('abort', abort, { once: true });
      this.#deliver(run).then(
        (result) => answer(() => resolve(result)),
        (error: unknown) => answer(() => reject(error)),
      );
    });
  }

  async #deliver<T>(run: () => Promise<T>): Promise<T> {
    if (this.#random.chance(this.#rates.lost)) {
      this.#faults.lostRequests += 1;
      return this.#noAnswer();
    }
    await this.#clock.sleep(this.#delayMs());
    await this.#reach();
    const isLost = this.#random.chance(this.#rates.lost);
    const backMs = this.#delayMs();
    if (isLost) this.#faults.lostReplies += 1;
    const result = await run().finally(() => this.#clock.sleep(backMs));
    return isLost ? this.#noAnswer() : result;
  }

  async #reach(): Promise<void> {
    for (;;) {
      const awayMs = this.#outage.untilMs - this.#clock.elapsedMs;
      if (awayMs <= 0) return;
      if (this.#outage.refuses) {
        this.#faults.refused += 1;
        await this.#clock.sleep(this.#delayMs());
        throw failure('a refusal');
      }
      this.#faults.held += 1;
      await this.#clock.sleep(awayMs);
    }
  }

  async #noAnswer(): Promise<never> {
    await this.#clock.sleep(this.#rates.patienceMs);
    throw failure('no answer');
  }

  #delayMs(): number {
    const [least, usual, late] = this.#rates.delayMs;
    if (!this.#random.chance(this.#rates.late)) return least + this.#random.next() * (usual - least);
    this.#faults.late += 1;
    return usual + this.#random.next() * (late - usual);
  }
}

const unstopped = new AbortController().signal;

function failure(text: string): StoreFailure {
  return new StoreFailure('unavailable', `the simulated site gave ${text}`);
}
