import { MemoryBusBacking, memoryBus } from '../../buses/memory/bus.ts';
import { Dataset } from '../../dataset.ts';
import { MemoryLedger, MemoryLedgerBacking } from '../../ledgers/memory/ledger.ts';
import { mergeJson } from '../../merging/merge-json.ts';
import type { ObjectMetadata } from '../../model/metadata.ts';
import { conflictRules, type Policy, type RuleOf } from '../../model/policy.ts';
import type { SiteId } from '../../model/version.ts';
import type { Bus } from '../../ports/bus.ts';
import type { Json } from '../../ports/ledger.ts';
import type { Token } from '../../ports/object-store.ts';
import { decodeRecord } from '../../replicate/records.ts';
import { MemoryBucket } from '../../stores/memory/memory-bucket.ts';
import { MemoryStore } from '../../stores/memory/memory-store.ts';
import { Clock, WorkerWorld } from './clock.ts';
import { type FaultKind, type Rates, Tally } from './faults.ts';
import { GatedBus, GatedLedger, gatedWorld } from './gated.ts';
import { Process } from './process.ts';
import { Random } from './random.ts';
import type { Schedule } from './schedule.ts';
import { Trace } from './trace.ts';
import { type Way, Wire } from './wire.ts';

export const datasetName = 'photos';
const scanEveryMs = 10_000;
const superviseMs = 500;

/** One incarnation of a worker. */
export interface Worker {
  readonly process: Process;
  readonly world: WorkerWorld;
  readonly dataset: Dataset;
}

/** Sites, ledger, bus and workers, all in one thread, under one virtual clock and from one seed. */
export class Cluster {
  readonly clock = new Clock();
  readonly tally = new Tally();
  readonly trace = new Trace();
  readonly buckets: ReadonlyMap<SiteId, MemoryBucket>;
  readonly ledger: MemoryLedgerBacking;
  readonly bus: MemoryBusBacking;
  /** Told of every tombstone that is to be written. */
  buried: ((site: SiteId, body: Uint8Array) => void) | undefined;
  /** Told of every conditional request for a user's key. */
  asked:
    | ((site: SiteId, key: string, token: Token, metadata: ObjectMetadata | undefined) => void)
    | undefined;
  readonly #random: Random;
  readonly #schedule: Schedule;
  readonly #ruleOf: RuleOf;
  readonly #workers: (Worker | undefined)[] = [];
  readonly #ways = new Map<string, Way>();
  readonly #ended = new Set<string>();
  readonly #skewsMs: number[];
  readonly #buses = new Map<Process, Bus>();
  readonly #notices: Random;
  #incarnations = 0;
  #rates: Rates;

  constructor(schedule: Schedule) {
    this.#schedule = schedule;
    this.#ruleOf = conflictRules(schedule.conflicts);
    this.#random = new Random(schedule.seed).fork('cluster');
    this.#rates = schedule.rates;
    this.#skewsMs = [...schedule.skewsMs];
    const ids = this.#random.fork('ids');
    const world = { nowMs: () => this.clock.nowMs, uniqueId: () => ids.id() };
    this.buckets = new Map(schedule.sites.map((site) => [site, new MemoryBucket({ world })]));
    this.#notices = this.#random.fork('notices');
    const torn = this.#random.fork('torn');
    const disk = this.#random.fork('disk');
    const device = { sync: () => this.clock.sleep(disk.between(0, 4)), random: () => torn.next() };
    this.ledger = new MemoryLedgerBacking(device);
    this.bus = new MemoryBusBacking(device);
  }

  get ruleOf(): RuleOf {
    return this.#ruleOf;
  }

  get policy(): Policy {
    return {
      dataset: datasetName,
      sites: this.#schedule.sites,
      write: this.#schedule.write,
      reads: 'nearest',
      conflicts: this.#schedule.conflicts,
      guards: { maxDeletes: { keys: this.#schedule.maxDeletes, share: 0.05 } },
    };
  }

  tell(kind: FaultKind): void {
    this.tally.add(kind);
    this.trace.add(`fault ${kind}`);
  }

  /** Undefined while it is down. */
  worker(index: number): Worker | undefined {
    const worker = this.#workers[index];
    return worker?.process.alive ? worker : undefined;
  }

  start(index: number): void {
    const name = `n${index}.${this.#incarnations++}`;
    const process = new Process(name);
    const random = this.#random.fork(name);
    const world = new WorkerWorld(name, this.clock, random.fork('world'), (one) => this.#ended.has(one));
    world.skewMs = this.#skewsMs[index]!;
    if (world.skewMs !== 0) this.tell('clock-skew');
    const gate = {
      process,
      clock: this.clock,
      random: random.fork('gate'),
      rates: () => this.#rates,
      tell: (kind: FaultKind) => this.tell(kind),
    };
    const bus = memoryBus(this.bus);
    this.#buses.set(process, bus);
    const dataset = new Dataset({
      policy: this.policy,
      stores: new Map(this.#schedule.sites.map((site) => [site, this.#wire(process, index, site, random)])),
      ledger: new GatedLedger(new MemoryLedger(this.ledger), gate),
      bus: new GatedBus(bus, gate),
      world: gatedWorld(world, process),
      settings: { patienceMs: 300 },
      merges: () => mergeJson,
      events: this.#events(name),
    });
    this.#workers[index] = { process, world, dataset };
    void process.died.then(() => this.#bury(process, index));
    dataset.watch({ scanEveryMs }, new AbortController().signal).catch((error: Error) => {
      this.trace.add(`${name} ended: ${error.message}`);
      process.kill();
    });
  }

  /** It starts again by itself, as under a supervisor. */
  kill(index: number, downMs: number): void {
    const worker = this.worker(index);
    if (!worker) return;
    this.tell('worker-crash');
    this.#downMs.set(worker.process, downMs);
    worker.process.kill();
  }
  readonly #downMs = new Map<Process, number>();

  #bury(process: Process, index: number): void {
    this.trace.add(`${process.name} died`);
    this.#ended.add(process.name);
    // Its sessions are over: what it had not acknowledged goes to others.
    void this.#buses.get(process)!.close();
    this.clock.after(this.#downMs.get(process) ?? superviseMs, () => this.start(index));
  }

  jump(index: number, skewMs: number): void {
    this.#skewsMs[index] = skewMs;
    const worker = this.worker(index);
    if (worker) worker.world.skewMs = skewMs;
    this.tell('clock-jump');
  }

  way(index: number, site: SiteId): Way {
    const name = `${index} ${site}`;
    let way = this.#ways.get(name);
    if (!way) {
      way = { cut: false, storm: undefined };
      this.#ways.set(name, way);
    }
    return way;
  }

  /** The token that the ledger knows of a key at a site, as of now. */
  known(site: SiteId, key: string): Token | undefined {
    const row = this.ledger.volume.get('keys', `${datasetName}\0${key}`) as { value: Json } | undefined;
    return row && decodeRecord(key, row.value).replicas[site]?.token;
  }

  /** A provider's notification: it may come late, or not at all. */
  async notify(site: SiteId, key: string): Promise<void> {
    const random = this.#notices;
    if (random.chance(this.#rates['change-lost'] ?? 0)) return this.tell('change-lost');
    await this.clock.sleep(random.between(10, 1_000));
    const change = { id: random.id(), dataset: datasetName, key, site, atMs: this.clock.nowMs };
    await this.bus.publish([change]).catch(() => this.tell('change-lost'));
  }

  /** The ledger's and the bus' machine loses power: what was not synced is gone in part. */
  tearState(): void {
    this.tell('ledger-torn');
    this.ledger.crash();
    this.bus.crash();
  }

  crashSite(site: SiteId): void {
    this.tell('site-crash');
    this.buckets.get(site)!.crash();
  }

  /** The weather is over: nothing fails any more, clocks are right. */
  calm(): void {
    this.#rates = {};
    for (const way of this.#ways.values()) {
      way.cut = false;
      way.storm = undefined;
    }
    for (const index of this.#skewsMs.keys()) this.#skewsMs[index] = 0;
    for (const worker of this.#workers) if (worker) worker.world.skewMs = 0;
  }

  #wire(process: Process, index: number, site: SiteId, random: Random): Wire {
    const listsMetadata = site !== 'aws';
    return new Wire({
      store: new MemoryStore({ bucket: this.buckets.get(site)!, limits: { listsMetadata } }),
      clock: this.clock,
      random: random.fork(site),
      process,
      way: this.way(index, site),
      rates: () => this.#rates,
      tell: (kind) => this.tell(kind),
      buries: (body) => this.buried?.(site, body),
      asks: (key, token, metadata) => this.asked?.(site, key, token, metadata),
      trace: (line) => this.trace.add(`${line} @${site} ${this.clock.elapsedMs}`),
    });
  }

  #events(name: string): NonNullable<ConstructorParameters<typeof Dataset>[0]['events']> {
    const seen = (what: string, site: SiteId, key: string) => {
      this.tally.add(what);
      this.trace.add(`${name} ${what} ${key} @${site} ${this.clock.elapsedMs}`);
    };
    return {
      copied: ({ site, key, outcome }) => seen(outcome, site, key),
      adopted: ({ site, key, version }) => seen(version.deleted ? 'adopted-deletion' : 'adopted', site, key),
      lost: ({ site, key }) => seen('loser-kept', site, key),
      failed: ({ site, key, error }) => this.trace.add(`${name} failed ${key} @${site}: ${error.message}`),
    };
  }
}
