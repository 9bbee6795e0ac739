import { StoreFailure } from '../model/failure.ts';
import { noMetadata, type ObjectMetadata } from '../model/metadata.ts';
import type { Assurance, Capabilities, ObjectStore, Token, Upload } from '../ports/object-store.ts';
import type { World } from '../ports/world.ts';

const racers = 6;
const absent = { kind: 'absent' } as const;

export interface Probed {
  readonly capabilities: Capabilities;
  /** False where nothing may be removed: then `remove` is what the provider promises. */
  readonly removalTried: boolean;
  /** Whether it still is so, tried with what could not be removed: another probe would leave as much again. */
  stillDenied(signal: AbortSignal): Promise<boolean>;
  /** What the probe wrote is removed again; never rejects. */
  readonly cleaned: Promise<void>;
}

/**
 * Finds out what a store really promises, by trying it: stale conditions, and races with exactly one winner.
 * Uses keys below `.isobar/probe/`. Throws the store's own failure when it cannot be used.
 */
export async function probe(store: ObjectStore, world: World, signal: AbortSignal): Promise<Probed> {
  const key = `.isobar/probe/${world.uniqueId()}`;
  const trial = new Probe(store, key, signal);
  try {
    // Side by side, each under keys of its own: far from the store every step is a round trip.
    const [conditions, complete, tags, keys] = await allOf([
      trial.conditions(),
      trial.complete(),
      store.capabilities.tags ? trial.tags() : false,
      trial.keys(),
    ]);
    const capabilities = { ...store.capabilities, ...conditions, complete, tags, keys };
    const removalTried = 'remove' in conditions;
    const stillDenied = (again: AbortSignal) => trial.stillDenied(again);
    return { capabilities, removalTried, stillDenied, cleaned: trial.clean() };
  } catch (failure) {
    await trial.clean();
    throw failure;
  }
}

/** As `probe`, and nothing is left when it resolves. */
export async function probeCapabilities(
  store: ObjectStore,
  world: World,
  signal: AbortSignal,
): Promise<Capabilities> {
  const { capabilities, removalTried, cleaned } = await probe(store, world, signal);
  await cleaned;
  if (!removalTried)
    throw new StoreFailure('denied', 'nothing may be removed here: deletions could not be tried');
  return capabilities;
}

/** As `Promise.all`, but nothing is still under way when it throws. */
async function allOf<T extends readonly unknown[]>(
  steps: T,
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  await Promise.allSettled(steps);
  return Promise.all(steps);
}

class Probe {
  readonly #store: ObjectStore;
  readonly #key: string;
  readonly #signal: AbortSignal;
  #current: Token | undefined;
  #stale: Token | undefined;
  #upload: Upload | undefined;
  /** What stands at the store because of the probe, beside `#current`. */
  readonly #written: { readonly key: string; readonly token: Token }[] = [];

  constructor(store: ObjectStore, key: string, signal: AbortSignal) {
    this.#store = store;
    this.#key = key;
    this.#signal = signal;
  }

  /** Each step stands on what the one before left; what must be refused is tried side by side. */
  async conditions(): Promise<Pick<Capabilities, 'create' | 'replace'> & { remove?: Assurance }> {
    const create = await this.#create();
    this.#stale = this.#current;
    const second = await this.#write('second', this.#current!);
    if (second === undefined) return { create, replace: 'none', remove: 'none' };
    this.#current = second;
    const [replace, late] = await allOf([this.#replaceLate(), this.#removeLate()]);
    if (late === 'denied') return { create, replace };
    return { create, replace, remove: late === 'conflict' ? await this.#remove() : 'none' };
  }

  async #create(): Promise<Assurance> {
    const writes = Array.from({ length: racers }, (_, i) => this.#write(`racer ${i}`, undefined));
    const results = await Promise.all(writes);
    const winners = results.filter((token) => token !== undefined);
    // Where several won, only the store knows which one it kept.
    this.#current = winners.length === 1 ? winners[0] : await this.#tokenNow();
    return assured(winners.length === 1);
  }

  async #replaceLate(): Promise<Assurance> {
    const results = await Promise.all(
      Array.from({ length: racers }, (_, i) => this.#write(`late ${i}`, this.#stale!)),
    );
    const refused = results.every((token) => token === undefined);
    if (!refused) this.#current = await this.#tokenNow();
    return assured(refused);
  }

  async complete(): Promise<Assurance> {
    const key = `${this.#key}-parts`;
    const body = Buffer.from('in parts');
    const metadata = noMetadata;
    const partSizeBytes = Math.max(this.#store.limits.minPartBytes, body.length);
    const request = { key, size: body.length, partSizeBytes, metadata };
    const [, upload] = await allOf([
      this.#make(key, metadata),
      this.#store.startUpload(request, this.#signal),
    ]);
    this.#upload = upload;
    const receipt = await this.#store.writePart(upload, { index: 0, bytes: body }, this.#signal);
    const done = await this.#store.completeUpload(
      upload,
      [receipt],
      { condition: absent, metadata },
      this.#signal,
    );
    if (done.kind === 'written') this.#written.push({ key, token: done.token });
    return assured(done.kind === 'conflict');
  }

  async #removeLate(): Promise<'conflict' | 'removed' | 'denied'> {
    try {
      return (await this.#store.remove(this.#key, this.#stale!, this.#signal)).kind;
    } catch (failure) {
      if (failure instanceof StoreFailure && failure.code === 'denied') return 'denied';
      throw failure;
    }
  }

  async #remove(): Promise<Assurance> {
    if (this.#current === undefined) return 'none';
    const removals = Array.from({ length: racers }, () =>
      this.#store.remove(this.#key, this.#current!, this.#signal),
    );
    const results = await Promise.all(removals);
    return assured(results.filter(({ kind }) => kind === 'removed').length === 1);
  }

  /** Some servers take tags and never tell of them. */
  async tags(): Promise<boolean> {
    const key = `${this.#key}-tagged`;
    const metadata = { user: {}, tags: { purpose: 'probe' } };
    await this.#make(key, metadata);
    const head = await this.#store.head(key, this.#signal);
    return head?.metadata.tags['purpose'] === 'probe';
  }

  /** A server that keeps keys as paths of files bends some keys in silence. */
  async keys(): Promise<NonNullable<Capabilities['keys']>> {
    const below = `${this.#key}-key/`;
    const [asPath, asText] = [`${below}x/./y`, `${below}a\u0001b`];
    await allOf([this.#tryKey(asPath), this.#tryKey(asText)]);
    const there = new Set<string>();
    for await (const page of this.#store.list({ prefix: below }, this.#signal)) {
      for (const { key } of page) there.add(key);
    }
    if (there.has(asPath)) return 'any';
    return there.has(asText) ? 'paths' : 'files';
  }

  async #tryKey(key: string): Promise<void> {
    try {
      await this.#make(key, noMetadata);
    } catch (failure) {
      if (!(failure instanceof StoreFailure && failure.remedy === 'park')) throw failure;
    }
  }

  /** An empty object. */
  async #make(key: string, metadata: ObjectMetadata): Promise<void> {
    const request = { key, body: new Uint8Array(), metadata, condition: absent };
    const done = await this.#store.write(request, this.#signal);
    if (done.kind === 'written') this.#written.push({ key, token: done.token });
  }

  /** Asks for every removal before it returns: a store that was told what it does not promise would refuse. */
  async clean(): Promise<void> {
    const token = this.#current;
    const rest = token === undefined ? this.#written : [...this.#written, { key: this.#key, token }];
    // What is left over all the same, below `.isobar/probe/`, nobody minds.
    await Promise.allSettled([
      this.#upload && this.#store.abortUpload(this.#upload, this.#signal),
      ...rest.map((one) => this.#store.remove(one.key, one.token, this.#signal)),
    ]);
  }

  async stillDenied(signal: AbortSignal): Promise<boolean> {
    const left = this.#written[0];
    if (left === undefined) return false;
    try {
      await this.#store.remove(left.key, left.token, signal);
      return false;
    } catch (failure) {
      if (failure instanceof StoreFailure && failure.code === 'denied') return true;
      throw failure;
    }
  }

  async #tokenNow(): Promise<Token | undefined> {
    return (await this.#store.head(this.#key, this.#signal))?.token;
  }

  async #write(text: string, token: Token | undefined): Promise<Token | undefined> {
    const condition = token === undefined ? absent : ({ kind: 'match', token } as const);
    const request = { key: this.#key, body: Buffer.from(text), metadata: noMetadata, condition };
    const done = await this.#store.write(request, this.#signal);
    return done.kind === 'written' ? done.token : undefined;
  }
}

function assured(holds: boolean): Assurance {
  return holds ? 'conditional' : 'none';
}
