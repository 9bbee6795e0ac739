import { StoreFailure, type StoreFailureCode } from '../../model/failure.ts';
import { reservedPrefix } from '../../model/key.ts';
import type { ObjectMetadata } from '../../model/metadata.ts';
import type {
  Capabilities,
  ListEntry,
  ListRequest,
  ObjectRead,
  ObjectStore,
  PartReceipt,
  ReadOptions,
  StoreLimits,
  Token,
  Upload,
  UploadEntry,
  UploadPart,
  UploadRequest,
  WriteRequest,
} from '../../ports/object-store.ts';
import type { Clock } from './clock.ts';
import type { FaultKind, Rates } from './faults.ts';
import type { Process } from './process.ts';
import type { Random } from './random.ts';

/** What stands between one worker and one site now; changed by the schedule. */
export interface Way {
  /** Nothing gets through, in either direction. */
  cut: boolean;
  /** Everything is refused so. */
  storm: 'throttled' | 'unavailable' | undefined;
}

export interface WireParts {
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly process: Process;
  readonly way: Way;
  /** May be changed at any time: none when the weather is over. */
  readonly rates: () => Rates;
  readonly tell: (kind: FaultKind) => void;
  readonly trace: (line: string) => void;
  /** A write or removal under a condition sets out, whatever becomes of it. */
  /** A tombstone sets out. */
  readonly buries?: (body: Uint8Array) => void;
  readonly asks?: (key: string, token: Token, metadata: ObjectMetadata | undefined) => void;
}

/** Nothing that was sent is given up by the network: it takes effect, or does not, whoever still waits. */
const never = new AbortController().signal;
/** What a client waits for an answer that does not come. */
const giveUpMs = 2_000;

/** A site as one worker sees it: requests travel, take effect, and their answers travel back; or something of it fails. */
export class Wire implements ObjectStore {
  readonly #parts: WireParts;

  constructor(parts: WireParts) {
    this.#parts = parts;
  }

  get limits(): StoreLimits {
    return this.#parts.store.limits;
  }

  get capabilities(): Capabilities {
    return this.#parts.store.capabilities;
  }

  head(key: string, signal: AbortSignal) {
    return this.#ask('head', key, signal, () => this.#parts.store.head(key, never));
  }

  read(key: string, options: ReadOptions, signal: AbortSignal): Promise<ObjectRead | undefined> {
    return this.#ask('read', key, signal, async () => {
      const read = await this.#parts.store.read(key, options, never);
      return read && this.#happens('corrupt-read') ? damagedRead(read) : read;
    });
  }

  write(request: WriteRequest, signal: AbortSignal) {
    const { key, condition, metadata, body } = request;
    if (condition.kind === 'match') this.#parts.asks?.(key, condition.token, metadata);
    if (key.startsWith(`${reservedPrefix}tombstones/`)) this.#parts.buries?.(body);
    return this.#ask('write', request.key, signal, async () => {
      // Servers compare what arrives with the digest that comes with it; a damaged body is not stored.
      if (this.#happens('corrupt-write')) throw failed('corrupt', 'write', request.key);
      return this.#parts.store.write(request, never);
    });
  }

  startUpload(request: UploadRequest, signal: AbortSignal) {
    return this.#ask('startUpload', request.key, signal, () => this.#parts.store.startUpload(request, never));
  }

  writePart(upload: Upload, part: UploadPart, signal: AbortSignal): Promise<PartReceipt> {
    return this.#ask('writePart', upload.key, signal, () => this.#parts.store.writePart(upload, part, never));
  }

  completeUpload(
    upload: Upload,
    receipts: readonly PartReceipt[],
    commit: Parameters<ObjectStore['completeUpload']>[2],
    signal: AbortSignal,
  ) {
    return this.#ask('completeUpload', upload.key, signal, () =>
      this.#parts.store.completeUpload(upload, receipts, commit, never),
    );
  }

  abortUpload(upload: Pick<Upload, 'id' | 'key'>, signal: AbortSignal): Promise<void> {
    return this.#ask('abortUpload', upload.key, signal, () => this.#parts.store.abortUpload(upload, never));
  }

  remove(key: string, token: Token, signal: AbortSignal) {
    this.#parts.asks?.(key, token, undefined);
    return this.#ask('remove', key, signal, () => this.#parts.store.remove(key, token, never));
  }

  async *listUploads(signal: AbortSignal): AsyncGenerator<readonly UploadEntry[]> {
    yield* await this.#ask('listUploads', '', signal, () => all(this.#parts.store.listUploads(never)));
  }

  async *list(request: ListRequest, signal: AbortSignal): AsyncGenerator<readonly ListEntry[]> {
    const pages = await this.#ask('list', request.prefix ?? '', signal, () =>
      all(this.#parts.store.list({ pageSize: 4, ...request }, never)),
    );
    const half = Math.ceil(pages.length / 2);
    if (pages.length > 0 && this.#happens('listing-empty')) return;
    if (pages.length > 1 && this.#happens('listing-truncated')) pages.length = half;
    if (pages.length > 1 && this.#happens('listing-repeated')) pages.splice(half, 0, pages[half - 1]!);
    const broken = pages.length > 0 && this.#happens('listing-broken');
    for (const [index, page] of pages.entries()) {
      if (index > 0) await this.#ask('list', request.prefix ?? '', signal, async () => {});
      if (broken && index >= half - 1) throw failed('unavailable', 'list', request.prefix ?? '');
      yield page;
    }
  }

  sameWrite(recorded: Token, seen: Token): boolean {
    return this.#parts.store.sameWrite(recorded, seen);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #happens(kind: FaultKind): boolean {
    const { random, rates, tell } = this.#parts;
    if (!random.chance(rates()[kind] ?? 0)) return false;
    tell(kind);
    return true;
  }

  #ask<T>(verb: string, key: string, signal: AbortSignal, effect: () => Promise<T>): Promise<T> {
    const { process, trace } = this.#parts;
    signal.throwIfAborted();
    trace(`${process.name} ${verb} ${key}`);
    return process.through(() => unlessAborted(signal, this.#travel(verb, key, effect)));
  }

  async #travel<T>(verb: string, key: string, effect: () => Promise<T>): Promise<T> {
    const { clock, random, process, way, tell, trace } = this.#parts;
    if (this.#happens('worker-crash')) process.kill();
    const slow = this.#happens('slow-request') ? random.between(200, 4_000) : 0;
    await clock.sleep(random.between(1, 20) + slow);
    if (way.cut || this.#happens('lost-request')) {
      if (way.cut) tell('partition');
      await clock.sleep(giveUpMs);
      throw failed('unavailable', verb, key);
    }
    const refusal = way.storm ?? this.#refusal();
    if (refusal) {
      tell(refusal);
      await clock.sleep(random.between(1, 20));
      throw failed(refusal, verb, key, refusal === 'throttled' ? { retryAfterMs: 200 } : {});
    }
    const result = await settled(effect());
    trace(`${process.name} ${verb} ${key} ${outcomeOf(result)}`);
    if (this.#happens('worker-crash')) process.kill();
    await clock.sleep(random.between(1, 20));
    if (way.cut || this.#happens('lost-reply')) {
      if (way.cut) tell('partition');
      await clock.sleep(giveUpMs);
      throw failed('unavailable', verb, key);
    }
    if ('failure' in result) throw result.failure;
    return result.value;
  }

  #refusal(): 'throttled' | 'unavailable' | undefined {
    const { random, rates } = this.#parts;
    if (random.chance(rates().throttled ?? 0)) return 'throttled';
    return random.chance(rates().unavailable ?? 0) ? 'unavailable' : undefined;
  }
}

type Result<T> = { readonly value: T } | { readonly failure: unknown };

async function settled<T>(promise: Promise<T>): Promise<Result<T>> {
  try {
    return { value: await promise };
  } catch (failure) {
    return { failure };
  }
}

function outcomeOf(result: Result<unknown>): string {
  if ('failure' in result) return result.failure instanceof StoreFailure ? result.failure.code : 'error';
  const { value } = result;
  if (typeof value !== 'object' || value === null) return value === undefined ? 'none' : 'done';
  return 'kind' in value ? String(value.kind) : 'found';
}

/** The caller goes; what it sent goes on. */
function unlessAborted<T>(signal: AbortSignal, answer: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason as Error);
    signal.addEventListener('abort', abort, { once: true });
    answer.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

function failed(
  code: StoreFailureCode,
  verb: string,
  key: string,
  options: { readonly retryAfterMs?: number } = {},
): StoreFailure {
  return new StoreFailure(code, `${verb} of "${key}" met a simulated fault (${code})`, options);
}

async function all<T>(pages: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const page of pages) found.push(page);
  return found;
}

function damaged(body: Uint8Array): Uint8Array {
  const copy = new Uint8Array(body);
  if (copy.length > 0) copy[copy.length >> 1]! ^= 0x20;
  return copy;
}

function damagedRead(read: ObjectRead): ObjectRead {
  const bytes = async () => damaged(await read.bytes());
  async function* body() {
    yield await bytes();
  }
  return { head: read.head, body: body(), bytes };
}
