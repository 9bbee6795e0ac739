import { StoreFailure } from '../model/failure.ts';
import { compareKeys } from '../model/key.ts';
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
} from '../ports/object-store.ts';
import type { World } from '../ports/world.ts';
import type { AdaptiveLimit } from './adaptive-limit.ts';
import type { Breaker, RequestKind } from './breaker.ts';
import { markerKey } from './marker.ts';

/** What the wrapper tells of every request, for metrics. */
export interface RequestReport {
  readonly verb: string;
  readonly durationMs: number;
  readonly outcome: 'done' | 'conflict' | StoreFailure['code'];
}

export interface GuardSettings {
  /** Tries of one call, the first included. */
  readonly tries: number;
  readonly firstPauseMs: number;
  readonly longestPauseMs: number;
}

export const defaultGuardSettings: GuardSettings = { tries: 4, firstPauseMs: 100, longestPauseMs: 5_000 };

const smallBytes = 64 * 1024;

/** Waits until it is known what a store promises; undefined: it is. Rejects where it cannot be found out now. */
export type Ready = (need: 'write' | 'removal', signal: AbortSignal) => Promise<void> | undefined;

/**
 * What a call waits for: the promises that it rests on, no more than that they were tried (a read: a site that nobody
 * may write to can be read), or nothing.
 */
type Needs = 'write' | 'removal' | 'answer' | 'nothing';

export interface GuardedStoreParts {
  readonly store: ObjectStore;
  readonly ready?: Ready;
  readonly world: World;
  readonly breaker: Breaker;
  readonly limit: AdaptiveLimit;
  readonly settings?: GuardSettings;
  readonly report?: (report: RequestReport) => void;
}

/**
 * A store around a store: bounded concurrency, a circuit breaker, and retries with exponential backoff and full
 * jitter for failures whose remedy is `retry`. Safe because every write is conditional: a write that took effect
 * although its answer was lost turns up as a conflict, and whoever asked looks again.
 */
export class GuardedStore implements ObjectStore {
  readonly #parts: GuardedStoreParts;
  readonly #store: ObjectStore;
  readonly #settings: GuardSettings;

  constructor(parts: GuardedStoreParts) {
    this.#parts = parts;
    this.#store = parts.store;
    this.#settings = parts.settings ?? defaultGuardSettings;
  }

  get limits(): StoreLimits {
    return this.#store.limits;
  }

  get capabilities(): Capabilities {
    return this.#store.capabilities;
  }

  head(key: string, signal: AbortSignal) {
    return this.#call('head', 'brief', signal, () => this.#store.head(key, signal));
  }

  read(key: string, options: ReadOptions, signal: AbortSignal): Promise<ObjectRead | undefined> {
    // What a site is can be seen before it is known what it promises, and what it has listed can be read.
    const needs = key === markerKey || options.token !== undefined ? 'nothing' : 'answer';
    return this.#call('read', 'opening', signal, () => this.#store.read(key, options, signal), needs);
  }

  write(request: WriteRequest, signal: AbortSignal) {
    const kind = request.body.length <= smallBytes ? 'brief' : 'long';
    // Two that make the marker at once, where nobody checks: one of them will not know the site, and stop.
    const needs = request.key === markerKey ? 'nothing' : 'write';
    let tries = 0;
    const write = () => {
      const { again, ...sent } = tries++ === 0 ? request : (request.again?.() ?? request);
      return this.#store.write(sent, signal);
    };
    return this.#call('write', kind, signal, this.#inTime(request, write), needs);
  }

  startUpload(request: UploadRequest, signal: AbortSignal) {
    const start = () => this.#store.startUpload(request, signal);
    return this.#call('start-upload', 'opening', signal, start, 'write');
  }

  writePart(upload: Upload, part: UploadPart, signal: AbortSignal) {
    const write = () => this.#store.writePart(upload, part, signal);
    return this.#call('write-part', 'long', signal, write, 'write');
  }

  completeUpload(
    upload: Upload,
    receipts: readonly PartReceipt[],
    commit: Parameters<ObjectStore['completeUpload']>[2],
    signal: AbortSignal,
  ) {
    const complete = () => this.#store.completeUpload(upload, receipts, commit, signal);
    return this.#call('complete-upload', 'long', signal, this.#inTime(commit, complete), 'write');
  }

  abortUpload(upload: Pick<Upload, 'id' | 'key'>, signal: AbortSignal) {
    return this.#call('abort-upload', 'brief', signal, () => this.#store.abortUpload(upload, signal));
  }

  remove(key: string, token: Token, signal: AbortSignal) {
    return this.#call('remove', 'brief', signal, () => this.#store.remove(key, token, signal), 'removal');
  }

  async *listUploads(signal: AbortSignal): AsyncGenerator<readonly UploadEntry[]> {
    yield* this.#store.listUploads(signal);
  }

  /** A page that fails is asked for again, after the last key that was seen. */
  async *list(request: ListRequest, signal: AbortSignal): AsyncGenerator<readonly ListEntry[]> {
    let after = request.after;
    for (let tries = 1; ; tries++) {
      try {
        if (request.prefix) await this.#ready('answer', signal);
        const rest = { ...request, ...(after === undefined ? {} : { after }) };
        const pages = this.#store.list(rest, signal)[Symbol.asyncIterator]();
        for (;;) {
          const page = await this.#once('list', 'long', signal, () => pages.next());
          if (page.done) return;
          if (page.value.length === 0) continue;
          tries = 1;
          after = lastInOrder(page.value, after);
          yield page.value;
        }
      } catch (failure) {
        if (!this.#mayRetry(failure, tries) || (failure as StoreFailure).code === 'broken-listing')
          throw failure;
        await this.#pause(failure as StoreFailure, tries, signal);
      }
    }
  }

  sameWrite(recorded: Token, seen: Token): boolean {
    return this.#store.sameWrite(recorded, seen);
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  async #call<T>(
    verb: string,
    kind: RequestKind,
    signal: AbortSignal,
    call: () => Promise<T>,
    needs: Needs = 'answer',
  ): Promise<T> {
    let earlier: unknown;
    for (let tries = 1; ; tries++) {
      try {
        const ready = needs === 'nothing' ? undefined : this.#ready(needs, signal);
        if (ready) await ready;
        const result = await this.#once(verb, kind, signal, call);
        return isConflict(result) && tries > 1 ? { ...result, resent: true } : result;
      } catch (failure) {
        // That this try was not sent says nothing of the one before.
        earlier = isUnsent(failure) && earlier !== undefined ? earlier : failure;
        if (!this.#mayRetry(failure, tries) || isDamagedWrite(failure, verb)) throw earlier;
        await this.#pause(failure as StoreFailure, tries, signal);
      }
    }
  }

  /** Asked before every try: a process may have slept since the one before. */
  #inTime<T>({ untilMs }: { readonly untilMs?: number }, call: () => Promise<T>): () => Promise<T> {
    if (untilMs === undefined) return call;
    return async () => {
      if (this.#parts.world.nowMs() < untilMs) return call();
      throw new StoreFailure('changed', 'it was decided too long ago to be carried out; it is decided again');
    };
  }

  #ready(needs: Exclude<Needs, 'nothing'>, signal: AbortSignal): Promise<void> | undefined {
    if (needs !== 'answer') return this.#parts.ready?.(needs, signal);
    return this.#parts.ready?.('write', signal)?.catch(() => signal.throwIfAborted());
  }

  #mayRetry(failure: unknown, tries: number): boolean {
    if (!(failure instanceof StoreFailure) || failure.remedy !== 'retry') return false;
    if (failure.code === 'denied' || failure.code === 'misplaced' || failure.code === 'full') return false;
    return tries < this.#settings.tries && this.#parts.breaker.closed;
  }

  async #pause(failure: StoreFailure, tries: number, signal: AbortSignal): Promise<void> {
    const ceiling = Math.min(this.#settings.firstPauseMs * 2 ** (tries - 1), this.#settings.longestPauseMs);
    const pauseMs = Math.max(failure.retryAfterMs ?? 0, ceiling * this.#parts.world.random());
    await this.#parts.world.sleep(Math.min(pauseMs, 30_000), signal);
  }

  async #once<T>(verb: string, kind: RequestKind, signal: AbortSignal, call: () => Promise<T>): Promise<T> {
    const { breaker, limit, world } = this.#parts;
    if (!breaker.passable) return breaker.run(call);
    await limit.enter(signal);
    const begunMs = world.monotonicMs();
    let outcome: RequestReport['outcome'] = 'done';
    try {
      const result = await breaker.run(call, kind);
      if (isConflict(result)) outcome = 'conflict';
      return result;
    } catch (failure) {
      outcome = failure instanceof StoreFailure ? failure.code : 'unavailable';
      throw failure;
    } finally {
      const durationMs = world.monotonicMs() - begunMs;
      const answered = outcome === 'done' || outcome === 'conflict';
      limit.leave({
        throttled: outcome === 'throttled',
        smallMs: isSmall(kind) && answered ? durationMs : undefined,
      });
      this.#parts.report?.({ verb, durationMs, outcome });
    }
  }
}

function isUnsent(failure: unknown): boolean {
  return failure instanceof StoreFailure && failure.unsent;
}

/** The damaged body may stand there now: sent again, the write would meet it as a conflict and nobody would know. */
function isDamagedWrite(failure: unknown, verb: string): boolean {
  const commits = verb === 'write' || verb === 'complete-upload';
  return commits && failure instanceof StoreFailure && failure.code === 'corrupt';
}

/** The drivers check it too; here it also holds over the pages of several tries. */
function lastInOrder(page: readonly ListEntry[], after: string | undefined): string | undefined {
  let last = after;
  for (const { key } of page) {
    if (last !== undefined && compareKeys(last, key) >= 0) {
      throw new StoreFailure(
        'broken-listing',
        `the listing is out of order: ${JSON.stringify(key)} came after ${JSON.stringify(last)}; nothing is concluded from it`,
      );
    }
    last = key;
  }
  return last;
}

/** Requests whose time tells how busy the site is, and not how much was asked for; of a read, until its head. */
function isSmall(kind: RequestKind): boolean {
  return kind !== 'long';
}

function isConflict(result: unknown): boolean {
  return typeof result === 'object' && result !== null && 'kind' in result && result.kind === 'conflict';
}
