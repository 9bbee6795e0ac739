import { setTimeout as pause } from 'node:timers/promises';
import { type MemoryBusBacking, memoryBus } from '../buses/memory/bus.ts';
import { Dataset, type DatasetParts, type SyncResult } from '../dataset.ts';
import { MemoryLedger, type MemoryLedgerBacking } from '../ledgers/memory/ledger.ts';
import { noMetadata, type ObjectMetadata } from '../model/metadata.ts';
import type { Policy } from '../model/policy.ts';
import type { SiteId } from '../model/version.ts';
import type { Bus } from '../ports/bus.ts';
import type { Ledger } from '../ports/ledger.ts';
import type { Capabilities, StoreLimits } from '../ports/object-store.ts';
import type { World } from '../ports/world.ts';
import type { MergeFor } from '../replicate/merge.ts';
import type { Loser, Parked } from '../replicate/records.ts';
import type { Body } from '../replicate/write.ts';
import { MemoryBucket } from '../stores/memory/memory-bucket.ts';
import { MemoryStore } from '../stores/memory/memory-store.ts';
import { systemWorld } from '../system-world.ts';
import { FaultyStore } from './faulty-store.ts';

export interface TrialOptions {
  readonly sites?: readonly SiteId[];
  readonly policy?: Partial<Policy>;
  readonly settings?: NonNullable<DatasetParts['settings']>;
  readonly limits?: Readonly<Record<SiteId, Partial<StoreLimits>>>;
  readonly capabilities?: Partial<Capabilities>;
  readonly merges?: MergeFor;
  readonly world?: World;
  readonly ledger?: MemoryLedgerBacking;
  readonly bus?: MemoryBusBacking;
  /** Those of another trial, for two workers over the same sites. */
  readonly buckets?: ReadonlyMap<SiteId, MemoryBucket>;
  /** A ledger around the ledger. */
  readonly ledgerAround?: (ledger: Ledger) => Ledger;
}

/** One dataset over memory stores that can be made to fail, in a world whose time runs twenty times faster. */
export class Trial {
  readonly names: readonly SiteId[];
  readonly world: World;
  readonly #options: TrialOptions;
  readonly buckets: ReadonlyMap<SiteId, MemoryBucket>;
  readonly signal = AbortSignal.timeout(60_000);
  /** Everything that the engine said went wrong. */
  readonly failures: string[] = [];
  readonly removed: { readonly site: SiteId; readonly key: string }[] = [];
  bus: Bus = memoryBus();
  #stores = new Map<SiteId, FaultyStore>();
  #dataset: Dataset | undefined;

  constructor(options: TrialOptions = {}) {
    this.#options = options;
    this.names = options.sites ?? ['aws', 'gcp', 'azure'];
    this.world = options.world ?? fastWorld(20);
    this.buckets =
      options.buckets ?? new Map(this.names.map((site) => [site, new MemoryBucket({ world: this.world })]));
    this.#open(options.ledger, options.bus);
  }

  get dataset(): Dataset {
    return this.#dataset!;
  }

  /** The store of a site, with its faults. */
  at(site: SiteId): FaultyStore {
    return this.#stores.get(site)!;
  }

  bucket(site: SiteId): MemoryBucket {
    return this.buckets.get(site)!;
  }

  /** Another process: the buckets stay, faults go; without a backing the ledger and the bus are lost. */
  async restart(ledger?: MemoryLedgerBacking, bus?: MemoryBusBacking): Promise<void> {
    await this.dataset.close();
    this.#open(ledger, bus);
  }

  sync(options: { readonly yes?: boolean } = {}): Promise<SyncResult> {
    return this.dataset.sync(options, this.signal);
  }

  /** Until no site is away: breakers let a healed one in again after a pause. */
  async syncAll(options: { readonly yes?: boolean } = {}): Promise<SyncResult> {
    for (;;) {
      const result = await this.sync(options);
      if (Object.keys(result.away).length === 0) return result;
      await pause(20, undefined, { signal: this.signal });
    }
  }

  /** What a provider's notification says: something happened to the key, go and look. */
  notify(site: SiteId, ...keys: readonly string[]): Promise<void> {
    const at = { dataset: 'photos', site, atMs: this.world.nowMs() };
    return this.bus.publish(keys.map((key) => ({ ...at, key, id: this.world.uniqueId() })));
  }

  /** Runs the daemon while `work` lasts; scans once at the beginning, or as often as said. */
  async watching(work: () => Promise<void>, scanEveryMs = 3_600_000): Promise<void> {
    const stop = new AbortController();
    const watched = this.dataset.watch({ scanEveryMs }, stop.signal);
    try {
      await work();
    } finally {
      stop.abort(new Error('seen enough'));
      await watched.catch(() => {});
    }
  }

  async until(holds: () => boolean | Promise<boolean>): Promise<void> {
    while (!(await holds())) await pause(5, undefined, { signal: this.signal });
  }

  async busQuiet(): Promise<void> {
    await this.until(async () => (await this.bus.backlog('photos')).changes === 0);
    await this.dataset.quiet();
  }

  put(key: string, text: string, metadata: ObjectMetadata = noMetadata) {
    return this.dataset.put(key, textBody(text), metadata, this.signal);
  }

  /** As a native client does it: past Isobar, past the faults. */
  async nativePut(
    site: SiteId,
    key: string,
    text: string | Uint8Array,
    metadata: ObjectMetadata = noMetadata,
  ): Promise<void> {
    const { store } = this.at(site);
    const head = await store.head(key, this.signal);
    const condition = head ? ({ kind: 'match', token: head.token } as const) : ({ kind: 'absent' } as const);
    const done = await store.write({ key, body: Buffer.from(text), metadata, condition }, this.signal);
    if (done.kind === 'conflict') throw new Error(`${key} at ${site} was written meanwhile`);
  }

  async nativeRemove(site: SiteId, key: string): Promise<void> {
    const { store } = this.at(site);
    const head = await store.head(key, this.signal);
    if (head) await store.remove(key, head.token, this.signal);
  }

  async nativeRead(site: SiteId, key: string): Promise<string | undefined> {
    const read = await this.at(site).store.read(key, {}, this.signal);
    return read && Buffer.from(await read.bytes()).toString();
  }

  /** Keys and bodies of the users, as a native client finds them. */
  async contents(site: SiteId, prefix = ''): Promise<Record<string, string>> {
    const found: Record<string, string> = {};
    for await (const page of this.at(site).store.list({ prefix }, this.signal)) {
      for (const { key } of page) found[key] = (await this.nativeRead(site, key))!;
    }
    return found;
  }

  /** A body that rots: other bytes under the same token. */
  rot(site: SiteId, key: string, text: string): void {
    const object = this.bucket(site).object(key)!;
    (object as { body: Uint8Array }).body = new Uint8Array(Buffer.from(text));
  }

  async losers(): Promise<readonly Loser[]> {
    return collect(this.dataset.losers());
  }

  async parked(): Promise<readonly Parked[]> {
    return collect(this.dataset.parked());
  }

  close(): Promise<void> {
    for (const store of this.#stores.values()) store.heal();
    return this.dataset.close();
  }

  #open(ledger?: MemoryLedgerBacking, bus?: MemoryBusBacking): void {
    const { limits, capabilities, policy, settings, merges, ledgerAround = (one) => one } = this.#options;
    this.#stores = new Map(
      this.names.map((site) => {
        const bucket = this.bucket(site);
        const all = { bucket, limits: { ...limits?.[site] }, capabilities: { ...capabilities } };
        return [site, new FaultyStore(new MemoryStore(all))];
      }),
    );
    this.bus = memoryBus(bus);
    this.#dataset = new Dataset({
      policy: { ...policyOver(this.names), ...policy },
      stores: this.#stores,
      ledger: ledgerAround(new MemoryLedger(ledger)),
      bus: this.bus,
      world: this.world,
      ...(settings ? { settings } : {}),
      ...(merges ? { merges } : {}),
      events: {
        failed: ({ site, key, error }) => void this.failures.push(`${site} ${key ?? ''}: ${error.message}`),
        copied: ({ site, key, outcome }) => {
          if (outcome === 'removed') this.removed.push({ site, key });
        },
      },
    });
  }
}

function policyOver(sites: readonly SiteId[]): Policy {
  return {
    dataset: 'photos',
    sites,
    write: { kind: 'async' },
    reads: 'nearest',
    conflicts: 'last-writer-wins',
    guards: { maxDeletes: { keys: 100, share: 0.05 } },
  };
}

/** Time that runs `speed` times faster and never shows the same millisecond twice. */
export function fastWorld(speed: number): World {
  const begunMs = Date.UTC(2026, 0, 1);
  const elapsedMs = () => systemWorld.monotonicMs() * speed;
  let lastMs = 0;
  return {
    ...systemWorld,
    nowMs: () => {
      lastMs = Math.max(lastMs + 1, Math.floor(begunMs + elapsedMs()));
      return lastMs;
    },
    monotonicMs: elapsedMs,
    sleep: (ms, signal) => systemWorld.sleep(ms / speed, signal),
  };
}

export function textBody(text: string | Uint8Array): Body {
  const bytes = Buffer.from(text);
  return { size: bytes.length, read: async ({ from, to }) => bytes.subarray(from, to) };
}

export async function collect<T>(pages: AsyncIterable<readonly T[]>): Promise<T[]> {
  const all: T[] = [];
  for await (const page of pages) all.push(...page);
  return all;
}
