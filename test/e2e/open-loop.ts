import type { Dataset } from '../../src/dataset.ts';
import { noMetadata } from '../../src/model/metadata.ts';
import type { SiteId } from '../../src/model/version.ts';
import type { ObjectStore } from '../../src/ports/object-store.ts';
import type { Records } from '../../src/replicate/records.ts';
import type { Events } from '../../src/replicate/shell.ts';
import { systemWorld } from '../../src/system-world.ts';

/** One write of the load, every key once; moments in milliseconds of `performance.now()`. */
export interface Arrival {
  readonly key: string;
  /** When it was to be sent; latencies count from here, so that a late sender does not flatter. */
  readonly dueMs: number;
  ackedMs?: number;
  error?: string;
  /** When each site had it. */
  readonly at: Map<SiteId, number>;
}

export interface Figures {
  readonly offeredPerSecond: number;
  /** Of what was due in the window: acknowledged and at all the sites asked about before the window ended. */
  readonly achievedPerSecond: number;
  readonly share: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly ackP50Ms: number;
  readonly ackP99Ms: number;
  readonly failed: number;
}

const keyPrefix = 'load/';

/** A load whose writes come by a schedule whether or not earlier ones were answered, and what became of them. */
export class OpenLoop {
  readonly #sites: readonly SiteId[];
  readonly #sizeBytes: number;
  readonly #byKey = new Map<string, Arrival>();
  readonly #waiting: { arrival: Arrival; resolve: () => void }[] = [];
  #next = 0;

  constructor(sites: readonly SiteId[], sizeBytes: number) {
    this.#sites = sites;
    this.#sizeBytes = sizeBytes;
  }

  /** To be given to the dataset: how the load learns what arrived where. */
  readonly events: Events = {
    copied: ({ site, key }) => {
      const arrival = this.#byKey.get(key);
      if (arrival) this.#arrived(arrival, site);
    },
  };

  get arrivals(): readonly Arrival[] {
    return [...this.#byKey.values()];
  }

  /** Writes at `perSecond`, at random moments (Poisson), until the signal aborts. Never waits for an answer. */
  async run(dataset: Dataset, perSecond: number, stop: AbortSignal, signal: AbortSignal): Promise<void> {
    const underWay = new Set<Promise<unknown>>();
    let dueMs = performance.now();
    while (!stop.aborted) {
      dueMs += (-Math.log(1 - Math.random()) * 1000) / perSecond;
      const waitMs = dueMs - performance.now();
      if (waitMs > 0) await systemWorld.sleep(waitMs, stop).catch(() => {});
      if (stop.aborted) break;
      const sent: Promise<unknown> = this.#send(dataset, dueMs, signal).finally(() => underWay.delete(sent));
      underWay.add(sent);
    }
    await Promise.all(underWay);
  }

  /** Writes per second that reach every site, each of `lanes` waiting for one before it sends the next. */
  async capacity(dataset: Dataset, lanes: number, durationMs: number, signal: AbortSignal): Promise<number> {
    const begunMs = performance.now();
    let done = 0;
    const lane = async () => {
      while (performance.now() - begunMs < durationMs) {
        const arrival = await this.#send(dataset, performance.now(), signal);
        await new Promise<void>((resolve) => {
          this.#waiting.push({ arrival, resolve });
          this.#settle();
        });
        done += 1;
      }
    };
    await Promise.all(Array.from({ length: lanes }, lane));
    return (done * 1000) / (performance.now() - begunMs);
  }

  /** Acknowledged keys that `site` does not have, as far as the load knows. */
  missingAt(site: SiteId): Arrival[] {
    return this.arrivals.filter((one) => one.ackedMs !== undefined && !one.at.has(site));
  }

  /** Asks the site itself: nobody is told of a write that had taken effect although its answer was lost. */
  async look(site: SiteId, store: ObjectStore, signal: AbortSignal): Promise<void> {
    for await (const page of store.list({ prefix: keyPrefix }, signal)) {
      for (const { key } of page) {
        const arrival = this.#byKey.get(key);
        if (arrival) this.#arrived(arrival, site);
      }
    }
  }

  /** Waits until the site itself lists the first `count` writes, those that failed aside. */
  async untilListed(site: SiteId, store: ObjectStore, count: number, signal: AbortSignal): Promise<void> {
    const first = this.arrivals.slice(0, count);
    const open = () => first.some(({ error, at }) => error === undefined && !at.has(site));
    for (;;) {
      const there = new Set<string>();
      for await (const page of store.list({ prefix: keyPrefix }, signal))
        for (const { key } of page) there.add(key);
      if (!open() && first.every(({ key, error }) => error !== undefined || there.has(key))) return;
      await systemWorld.sleep(200, signal);
    }
  }

  /** What became of the writes that were due from `fromMs` to `toMs`, at the given sites. */
  figures(fromMs: number, toMs: number, sites: readonly SiteId[]): Figures {
    const due = this.arrivals.filter(({ dueMs }) => dueMs >= fromMs && dueMs < toMs);
    const doneMs = (one: Arrival) =>
      Math.max(
        one.ackedMs ?? Number.POSITIVE_INFINITY,
        ...sites.map((site) => one.at.get(site) ?? Number.POSITIVE_INFINITY),
      );
    const inTime = due.filter((one) => doneMs(one) < toMs);
    const seconds = (toMs - fromMs) / 1000;
    const latencies = due.map((one) => doneMs(one) - one.dueMs);
    const acks = due.map((one) => (one.ackedMs ?? Number.POSITIVE_INFINITY) - one.dueMs);
    return {
      offeredPerSecond: round(due.length / seconds),
      achievedPerSecond: round(inTime.length / seconds),
      share: round(inTime.length / due.length),
      p50Ms: quantile(latencies, 0.5),
      p99Ms: quantile(latencies, 0.99),
      ackP50Ms: quantile(acks, 0.5),
      ackP99Ms: quantile(acks, 0.99),
      failed: due.filter((one) => one.error !== undefined).length,
    };
  }

  async #send(dataset: Dataset, dueMs: number, signal: AbortSignal): Promise<Arrival> {
    const key = `${keyPrefix}${String(this.#next++).padStart(7, '0')}`;
    const arrival: Arrival = { key, dueMs, at: new Map() };
    this.#byKey.set(key, arrival);
    const bytes = Buffer.alloc(this.#sizeBytes, key);
    try {
      const read = async ({ from, to }: { from: number; to: number }) => bytes.subarray(from, to);
      const { sites } = await dataset.put(key, { size: bytes.length, read }, noMetadata, signal);
      arrival.ackedMs = performance.now();
      for (const { site, outcome } of sites) if (outcome === 'durable') this.#arrived(arrival, site);
    } catch (error) {
      arrival.error = (error as Error).message;
    }
    return arrival;
  }

  #arrived(arrival: Arrival, site: SiteId): void {
    if (!arrival.at.has(site)) arrival.at.set(site, performance.now());
    this.#settle();
  }

  #settle(): void {
    for (const one of this.#waiting.splice(0)) {
      const done = one.arrival.error !== undefined || this.#sites.every((site) => one.arrival.at.has(site));
      if (done) one.resolve();
      else this.#waiting.push(one);
    }
  }
}

export interface LagSample {
  readonly site: SiteId;
  readonly askedMs: number;
  readonly answeredMs: number;
  readonly reportedMs: number | undefined;
  /** Age when status was asked, from its acknowledgement, of the oldest write that the site lacked; 0: none. */
  readonly leastMs: number;
}

/** Asks `status()` again and again, and right after each answer what was missing all the time. */
export async function sampleLag(
  { dataset, load, records }: { dataset: Dataset; load: OpenLoop; records: Records },
  everyMs: number,
  sample: (sample: LagSample) => void,
  stop: AbortSignal,
): Promise<void> {
  while (!stop.aborted) {
    const askedMs = performance.now();
    const statuses = await dataset.status();
    const answeredMs = performance.now();
    for (const { site, lagMs } of statuses) {
      const ackedMs = await oldestMissing(load, records, site, askedMs);
      const leastMs = askedMs - (ackedMs ?? askedMs);
      sample({ site, askedMs, answeredMs, reportedMs: lagMs, leastMs });
    }
    await systemWorld.sleep(everyMs, stop).catch(() => {});
  }
}

/**
 * When the oldest of the writes acknowledged by `askedMs` that the site lacks was acknowledged. The ledger has the
 * last word: a commit can be read some milliseconds before whoever asked for it is told, and status reads it then.
 */
async function oldestMissing(
  load: OpenLoop,
  records: Records,
  site: SiteId,
  askedMs: number,
): Promise<number | undefined> {
  const missing = load.missingAt(site).sort((a, b) => a.ackedMs! - b.ackedMs!);
  for (const { key, ackedMs } of missing) {
    if (ackedMs! > askedMs) return undefined;
    if (!(await records.read(key)).replicas[site]) return ackedMs;
  }
  return undefined;
}

/** Age, from when it was due, of the oldest write that the site lacked, as far as is known, before the answer; 0: none. */
export function mostLag(load: OpenLoop, { site, askedMs, answeredMs }: LagSample): number {
  const lacked = load.arrivals.filter(
    ({ dueMs, at }) => dueMs < answeredMs && (at.get(site) ?? Number.POSITIVE_INFINITY) > askedMs,
  );
  return Math.max(0, ...lacked.map(({ dueMs }) => answeredMs - dueMs));
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN);
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
