import { setTimeout as pause } from 'node:timers/promises';
import { StoreFailure, type StoreFailureCode } from '../model/failure.ts';
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

export type Verb = Exclude<keyof ObjectStore, 'limits' | 'capabilities' | 'sameWrite' | 'close'>;

export type ListingFault =
  /** Two pages at most, then `unavailable`. */
  | 'half-way'
  /** Complete, says the store, and nothing in it. */
  | 'empty'
  /** Ends after half of the keys as if it were complete. */
  | 'truncated'
  /** A page comes twice. */
  | 'repeated-page'
  /** The keys of a page come backwards. */
  | 'disorder';

export type Effect =
  /** Nothing happens at the store. */
  | { readonly kind: 'fail'; readonly code: StoreFailureCode; readonly retryAfterMs?: number }
  /** The store does it, and the caller gets `unavailable`. */
  | { readonly kind: 'lost-reply' }
  /** No answer until the fault is lifted or the call is aborted. */
  | { readonly kind: 'hang' }
  | { readonly kind: 'delay'; readonly ms: number }
  /** Runs before the store is asked: somebody else gets in between. */
  | { readonly kind: 'before'; readonly run: (key: string) => Promise<unknown> }
  /** A body that is read or written has one byte changed; nobody says so. */
  | { readonly kind: 'corrupt' }
  /** A body is stored damaged, and the digest that the store reports betrays it: `corrupt`, as a driver says. */
  | { readonly kind: 'wrong-digest' }
  | { readonly kind: 'listing'; readonly how: ListingFault };

export interface Fault {
  /** Absent: every verb. */
  readonly verbs?: readonly Verb[];
  /** Absent: every key. A listing asks with its prefix. */
  readonly key?: (key: string) => boolean;
  /** So often; absent: until it is lifted. */
  readonly times?: number;
  readonly effect: Effect;
}

export interface Asked {
  readonly verb: Verb;
  readonly key: string;
}

interface Active {
  readonly fault: Fault;
  left: number;
  readonly lifted: PromiseWithResolvers<void>;
}

/** A store around a store, with faults that can be switched on and off at any time. */
export class FaultyStore implements ObjectStore {
  readonly store: ObjectStore;
  /** Every request, in order, those that a fault met included; may be emptied. */
  readonly asked: Asked[] = [];
  readonly #active = new Set<Active>();

  constructor(store: ObjectStore) {
    this.store = store;
  }

  get limits(): StoreLimits {
    return this.store.limits;
  }

  get capabilities(): Capabilities {
    return this.store.capabilities;
  }

  /** Switches a fault on; the result lifts it. */
  inject(fault: Fault): () => void {
    const active = {
      fault,
      left: fault.times ?? Number.POSITIVE_INFINITY,
      lifted: Promise.withResolvers<void>(),
    };
    this.#active.add(active);
    return () => {
      this.#active.delete(active);
      active.lifted.resolve();
    };
  }

  /** Every call fails with `code`, until it is lifted. */
  break(code: StoreFailureCode, ...verbs: readonly Verb[]): () => void {
    return this.inject({ ...(verbs.length > 0 ? { verbs } : {}), effect: { kind: 'fail', code } });
  }

  heal(): void {
    for (const active of this.#active) active.lifted.resolve();
    this.#active.clear();
  }

  count(verb: Verb, key?: string): number {
    return this.asked.filter((one) => one.verb === verb && (key === undefined || one.key === key)).length;
  }

  head(key: string, signal: AbortSignal) {
    return this.#call('head', key, signal, () => this.store.head(key, signal));
  }

  read(key: string, options: ReadOptions, signal: AbortSignal): Promise<ObjectRead | undefined> {
    return this.#call('read', key, signal, async (effect) => {
      const read = await this.store.read(key, options, signal);
      return effect === 'corrupt' && read ? corruptRead(read) : read;
    });
  }

  write(request: WriteRequest, signal: AbortSignal) {
    return this.#call('write', request.key, signal, (effect) => {
      if (effect === undefined) return this.store.write(request, signal);
      const { sha256: _, ...rest } = request;
      return this.store.write({ ...rest, body: damaged(request.body) }, signal);
    });
  }

  startUpload(request: UploadRequest, signal: AbortSignal) {
    return this.#call('startUpload', request.key, signal, () => this.store.startUpload(request, signal));
  }

  writePart(upload: Upload, part: UploadPart, signal: AbortSignal): Promise<PartReceipt> {
    return this.#call('writePart', upload.key, signal, (effect) => {
      if (effect === undefined) return this.store.writePart(upload, part, signal);
      return this.store.writePart(upload, { index: part.index, bytes: damaged(part.bytes) }, signal);
    });
  }

  completeUpload(
    upload: Upload,
    receipts: readonly PartReceipt[],
    commit: Parameters<ObjectStore['completeUpload']>[2],
    signal: AbortSignal,
  ) {
    return this.#call('completeUpload', upload.key, signal, () =>
      this.store.completeUpload(upload, receipts, commit, signal),
    );
  }

  abortUpload(upload: Pick<Upload, 'id' | 'key'>, signal: AbortSignal): Promise<void> {
    return this.#call('abortUpload', upload.key, signal, () => this.store.abortUpload(upload, signal));
  }

  remove(key: string, token: Token, signal: AbortSignal) {
    return this.#call('remove', key, signal, () => this.store.remove(key, token, signal));
  }

  async *listUploads(signal: AbortSignal): AsyncGenerator<readonly UploadEntry[]> {
    await this.#call('listUploads', '', signal, async () => {});
    yield* this.store.listUploads(signal);
  }

  async *list(request: ListRequest, signal: AbortSignal): AsyncGenerator<readonly ListEntry[]> {
    const how = await this.#call('list', request.prefix ?? '', signal, async (effect) => effect);
    const pages = this.store.list(request, signal);
    if (how === undefined || how === 'corrupt') yield* pages;
    else yield* faultyPages(how, pages);
  }

  sameWrite(recorded: Token, seen: Token): boolean {
    return this.store.sameWrite(recorded, seen);
  }

  close(): Promise<void> {
    return this.store.close();
  }

  /** `call` is handed the effect that it must bring about itself. */
  async #call<T>(
    verb: Verb,
    key: string,
    signal: AbortSignal,
    call: (effect: 'corrupt' | ListingFault | undefined) => Promise<T>,
  ): Promise<T> {
    this.asked.push({ verb, key });
    let own: 'corrupt' | ListingFault | undefined;
    let after: StoreFailureCode | undefined;
    for (const active of this.#matching(verb, key)) {
      const { effect } = active.fault;
      if (effect.kind === 'fail') throw failed(effect.code, verb, key, effect.retryAfterMs);
      if (effect.kind === 'delay') await pause(effect.ms, undefined, { signal });
      if (effect.kind === 'before') await effect.run(key);
      if (effect.kind === 'hang') await waitFor(active.lifted.promise, signal);
      if (effect.kind === 'corrupt' || effect.kind === 'wrong-digest') own = 'corrupt';
      if (effect.kind === 'listing') own = effect.how;
      if (effect.kind === 'wrong-digest') after = 'corrupt';
      if (effect.kind === 'lost-reply') after = 'unavailable';
    }
    const result = await call(own);
    if (after !== undefined) throw failed(after, verb, key);
    return result;
  }

  *#matching(verb: Verb, key: string): Generator<Active> {
    for (const active of [...this.#active]) {
      const { verbs, key: wanted } = active.fault;
      if (verbs && !verbs.includes(verb)) continue;
      if (wanted && !wanted(key)) continue;
      active.left -= 1;
      if (active.left <= 0) this.#active.delete(active);
      yield active;
    }
  }
}

function failed(code: StoreFailureCode, verb: Verb, key: string, retryAfterMs?: number): StoreFailure {
  const options = retryAfterMs === undefined ? {} : { retryAfterMs };
  return new StoreFailure(code, `${verb} of "${key}" met a fault that was injected (${code})`, options);
}

async function waitFor(lifted: Promise<void>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason as Error);
  signal.addEventListener('abort', abort, { once: true });
  try {
    await Promise.race([lifted, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

function damaged(body: Uint8Array): Uint8Array {
  const copy = new Uint8Array(body);
  if (copy.length > 0) copy[copy.length >> 1]! ^= 0x20;
  return copy;
}

function corruptRead(read: ObjectRead): ObjectRead {
  const bytes = async () => damaged(await read.bytes());
  async function* body() {
    yield await bytes();
  }
  return { head: read.head, body: body(), bytes };
}

async function* faultyPages(
  how: ListingFault,
  pages: AsyncIterable<readonly ListEntry[]>,
): AsyncGenerator<readonly ListEntry[]> {
  if (how === 'empty') return;
  const all: ListEntry[] = [];
  for await (const page of pages) all.push(...page);
  const half = all.slice(0, Math.ceil(all.length / 2));
  if (how === 'disorder') {
    yield all.reverse();
    return;
  }
  yield half;
  if (how === 'half-way') throw failed('unavailable', 'list', '');
  if (how === 'truncated') return;
  yield half;
  yield all.slice(half.length);
}
