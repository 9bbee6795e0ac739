import { keyProblem } from './model/key.ts';
import type { ObjectMetadata } from './model/metadata.ts';
import { conflictRules, type Policy } from './model/policy.ts';
import type { SiteId } from './model/version.ts';
import type { Bus } from './ports/bus.ts';
import type { ChangeSource } from './ports/change-source.ts';
import type { Ledger } from './ports/ledger.ts';
import type { ObjectStore } from './ports/object-store.ts';
import type { World } from './ports/world.ts';
import { type Listed, list } from './reconcile/list.ts';
import { adoptReleased } from './reconcile/parking.ts';
import { type PassOptions, type PassResult, pass } from './reconcile/pass.ts';
import { type Plan, type PlannedStep, plan } from './reconcile/plan.ts';
import { type Rebuilt, rebuild, survey } from './reconcile/rebuild.ts';
import { repairRotten } from './reconcile/repair.ts';
import { type SyncResult, summaryOf } from './reconcile/summary.ts';
import { type UndoOptions, type UndoStep, undo } from './reconcile/undo.ts';
import { type Difference, type Verified, type VerifyOptions, verify } from './reconcile/verify.ts';
import { AdaptiveLimit, defaultAdaptiveSettings } from './replicate/adaptive-limit.ts';
import { BodyPool } from './replicate/body-pool.ts';
import { Breaker } from './replicate/breaker.ts';
import { type KeptWrite, keptWrites, openKept, pick, type Released, release } from './replicate/conflicts.ts';
import { DamageGuard } from './replicate/damage-guard.ts';
import { DeletionGuard } from './replicate/deletion-guard.ts';
import { type Explained, explain } from './replicate/explain.ts';
import { collectFormer } from './replicate/former.ts';
import { GuardedStore, type Ready, type RequestReport } from './replicate/guarded-store.ts';
import { type SiteStatus, statusOf } from './replicate/lag.ts';
import type { MergeFor } from './replicate/merge.ts';
import { onlooker } from './replicate/onlooker.ts';
import { type Fetched, get } from './replicate/read.ts';
import { type Loser, type Parked, Records, type SiteState } from './replicate/records.ts';
import { Replicator } from './replicate/replicator.ts';
import { Semaphore } from './replicate/semaphore.ts';
import { SharedReads } from './replicate/shared-reads.ts';
import { defaultSettings, type Events, type Settings, type Shell, type Site } from './replicate/shell.ts';
import { clearUploads } from './replicate/upload.ts';
import { type Body, put, remove, type WriteResult } from './replicate/write.ts';

export type { Explained, Listed, SyncResult };

/** What a dataset is made of: drivers and settings, put together by whoever opens it. */
export interface DatasetParts {
  readonly policy: Policy;
  readonly stores: ReadonlyMap<SiteId, ObjectStore>;
  /** What rests on a store's promises waits for these; undefined: they are known. Listings do not wait. */
  readonly ready?: ReadonlyMap<SiteId, Ready>;
  /** Requests under way at once, per site; default 96. */
  readonly concurrency?: ReadonlyMap<SiteId, number>;
  readonly ledger: Ledger;
  readonly bus: Bus;
  readonly world: World;
  readonly sources?: readonly ChangeSource[];
  readonly events?: Events & { readonly request?: (site: SiteId, report: RequestReport) => void };
  readonly settings?: Partial<Settings>;
  /** Absent: writes that a rule would merge are decided as the last writer wins. */
  readonly merges?: MergeFor;
}

/** Bad input to a call: nothing was done. */
export class UsageFailure extends Error {
  override readonly name = 'UsageFailure';
}

const sharedReadBytes = 48 * 1024 * 1024;
/** As much as is under way to one target. */
const pooledBytes = 40 * 1024 * 1024;
const aheadBytes = 16 * 1024 * 1024;
const notMerging: MergeFor = () => () => ({ kind: 'not-merged', because: 'nothing here can merge' });
const never = new AbortController().signal;

/** A set of keys, replicated over sites under one policy. */
export class Dataset {
  readonly #shell: Shell;
  readonly #parts: DatasetParts;
  #replicator: Replicator | undefined;

  constructor(parts: DatasetParts) {
    this.#parts = parts;
    const records = new Records(parts.ledger, parts.policy.dataset);
    this.#shell = {
      policy: parts.policy,
      merges: parts.merges ?? notMerging,
      ruleOf: conflictRules(parts.policy.conflicts),
      sites: new Map(parts.policy.sites.map((id) => [id, guardedSite(parts, id)])),
      records,
      deletions: new DeletionGuard(records, parts.policy, parts.world),
      damage: new DamageGuard(records, parts.policy, parts.world),
      bus: parts.bus,
      reads: new SharedReads(sharedReadBytes),
      pool: new BodyPool(pooledBytes),
      ahead: new Semaphore(aheadBytes),
      uploading: new Set(),
      proved: new Set(),
      world: parts.world,
      events: parts.events ?? {},
      settings: { ...defaultSettings, ...parts.settings },
    };
  }

  get policy(): Policy {
    return this.#shell.policy;
  }

  /** For tools of the house (doctor, chaos, bench): the guarded store of one site. */
  store(site: SiteId): ObjectStore {
    return this.#siteNamed(site).store;
  }

  /**
   * Resolves when the body is durable at as many sites as the write mode names. Throws `WriteFailure` when it is
   * not, and then says what happened where; such a write may still take effect.
   */
  async put(key: string, body: Body, metadata: ObjectMetadata, signal: AbortSignal): Promise<WriteResult> {
    checkKey(key);
    return put(this.#shell, this.#working(), key, body, metadata, signal);
  }

  /** The newest version from the nearest healthy site that holds it; undefined when the key is absent. */
  async get(
    key: string,
    options: { readonly site?: SiteId },
    signal: AbortSignal,
  ): Promise<Fetched | undefined> {
    checkKey(key);
    if (options.site !== undefined) this.#siteNamed(options.site);
    return get(onlooker(this.#shell, this.#parts.ledger), key, options, signal);
  }

  /** Undefined when no site holds the key. */
  async remove(key: string, signal: AbortSignal): Promise<WriteResult | undefined> {
    checkKey(key);
    return remove(this.#shell, this.#working(), key, signal);
  }

  /** Keys in order: of one site as it lists them, or of all readable sites and the ledger together. */
  async *list(
    options: { readonly prefix?: string; readonly site?: SiteId },
    signal: AbortSignal,
  ): AsyncGenerator<readonly Listed[]> {
    const { prefix = '', site } = options;
    const sites = site === undefined ? this.policy.sites : [this.#siteNamed(site).id];
    yield* list(this.#shell, sites, { prefix, alone: site !== undefined }, signal);
  }

  /** One pass until every site that can be reached agrees. */
  async sync(options: PassOptions, signal: AbortSignal): Promise<SyncResult> {
    const replicator = this.#working();
    replicator.start();
    this.#getReady(signal);
    const draining = new AbortController();
    const drained = replicator.consume(AbortSignal.any([signal, draining.signal]));
    try {
      const result = await pass(this.#shell, replicator, options, signal);
      for (const [site, lane] of replicator.lanes)
        if (!result.sites[site]?.away) await lane.settleDebts(true);
      await this.#busQuiet(signal);
      await this.#cleanUploads(result, signal);
      return await summaryOf(this.#shell, result);
    } finally {
      draining.abort();
      await drained.catch(() => {});
    }
  }

  /** What `sync` would do; writes nothing. */
  plan(
    step: (step: PlannedStep) => void | Promise<void>,
    options: PassOptions,
    signal: AbortSignal,
  ): Promise<Plan> {
    return plan(this.#shell, step, options, signal);
  }

  /** Brings back what stood before a time, as new writes; `told` hears of every key that was changed since. */
  undo(
    options: UndoOptions,
    told: (step: UndoStep) => void | Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    return undo(this.#shell, this.#working(), options, told, signal);
  }

  /** Compares all sites. Writes nothing. */
  verify(
    options: VerifyOptions,
    found: (difference: Difference) => void | Promise<void>,
    signal: AbortSignal,
  ): Promise<Verified> {
    return verify(this.#shell, options, found, signal);
  }

  /** Makes a lost or outdated ledger again from the sites; copies and removes nothing. `dryRun`: only counts. */
  rebuild(options: { readonly dryRun: boolean }, signal: AbortSignal): Promise<Rebuilt> {
    return options.dryRun ? survey(this.#shell, signal) : rebuild(this.#shell, signal);
  }

  /** Rewrites a body that `verify` found rotten. */
  repair(difference: Difference, signal: AbortSignal): Promise<boolean> {
    return repairRotten(this.#shell, this.#working(), difference, signal);
  }

  /** Replicates continuously until `signal` aborts: the bus, pushed notices, and a scan every `scanEveryMs`. */
  async watch(options: { readonly scanEveryMs: number }, signal: AbortSignal): Promise<void> {
    const replicator = this.#working();
    replicator.start();
    this.#getReady(signal);
    const accept = (changes: Parameters<Bus['publish']>[0]) => this.#shell.bus.publish(changes);
    await Promise.all([
      replicator.consume(signal),
      this.#scanForever(replicator, options.scanEveryMs, signal),
      ...(this.#parts.sources ?? []).map((source) => source.watch(accept, signal)),
    ]);
  }

  /** Sites are tried side by side with their listings; whoever needs the answer waits for it. */
  #getReady(signal: AbortSignal): void {
    for (const ready of this.#parts.ready?.values() ?? []) ready('write', signal)?.catch(() => {});
  }

  status(): Promise<SiteStatus[]> {
    return statusOf(this.#shell, this.#replicator);
  }

  /** Keys that the lane of a target holds in memory now; bounded whatever it owes. */
  keysInHand(site: SiteId): number {
    return this.#replicator?.lanes.get(site)?.size ?? 0;
  }

  siteState(site: SiteId): Promise<SiteState> {
    return this.#shell.records.siteState(site);
  }

  updateSite(site: SiteId, change: Partial<SiteState>): Promise<void> {
    return this.#shell.records.updateSite(site, change);
  }

  /** Every site's version of the key as it is now, and what stands against it. Changes nothing. */
  async explain(key: string, signal: AbortSignal): Promise<Explained> {
    checkKey(key);
    return explain(this.#shell, this.#parts.ledger, key, signal);
  }

  parked(): AsyncGenerator<readonly Parked[]> {
    return this.#shell.records.parked();
  }

  losers(): AsyncGenerator<readonly Loser[]> {
    return this.#shell.records.losers();
  }

  /** What lost a conflict and is kept; see docs/conflicts.md. */
  keptWrites(key?: string): AsyncGenerator<KeptWrite> {
    return keptWrites(this.#shell, key);
  }

  openKept(id: string, signal: AbortSignal): Promise<Fetched | undefined> {
    return openKept(this.#shell, id, signal);
  }

  /** It becomes the current version again, and what it is written over is kept. Throws as `put`. */
  pick(id: string, signal: AbortSignal): ReturnType<typeof pick> {
    return pick(this.#shell, this.#working(), id, signal);
  }

  /** Removes what is kept, for good. */
  release(id: string, signal: AbortSignal): Promise<Released | undefined> {
    return release(this.#shell, id, signal);
  }

  /**
   * A person says go: a parked key is tried at once, what a guard holds back is taken up by the next pass.
   * False when nothing is parked under that id.
   */
  async retryParked(id: string, signal: AbortSignal = never): Promise<boolean> {
    const { records } = this.#shell;
    const parked = await records.parkedBy(id);
    if (!parked) return false;
    if (parked.reason === 'damage') await this.#shell.damage.release(parked);
    else await records.commit([records.park({ ...parked, released: true })]);
    if (parked.key === undefined) await records.updateSite(parked.site, { scanWanted: true });
    else await this.#working().dispatch(parked.key, await adoptReleased(this.#shell, parked.key, signal));
    return true;
  }

  /** Forgets a parked change: the target stays as it is until the key is written again. */
  async dropParked(id: string): Promise<boolean> {
    const { records } = this.#shell;
    const parked = await records.parkedBy(id);
    if (!parked || parked.dropped) return false;
    if (parked.key === undefined) {
      throw new UsageFailure(
        parked.reason === 'damage'
          ? `${id} holds deletions and overwrites of many keys back: release it with "isobar parked retry", or take them back with "isobar undo" first`
          : `${id} holds a whole site back: release it with "isobar parked retry", or put the keys back at ${parked.site}`,
      );
    }
    const { released: _, ...held } = parked;
    await records.commit([records.park({ ...held, dropped: true })]);
    return true;
  }

  /** What is under way is finished or stays owed. Does not close the stores, the ledger or the bus. */
  async close(): Promise<void> {
    await this.#replicator?.stop();
    await this.#shell.damage.flush();
  }

  /** Resolves when nothing is in hand of any target; debts may be left. */
  async quiet(): Promise<void> {
    await Promise.all([...(this.#replicator?.lanes.values() ?? [])].map((lane) => lane.quiet()));
  }

  #working(): Replicator {
    this.#replicator ??= new Replicator(this.#shell);
    return this.#replicator;
  }

  async #scanForever(replicator: Replicator, everyMs: number, signal: AbortSignal): Promise<void> {
    const { world, records, policy } = this.#shell;
    while (!signal.aborted) {
      try {
        const result = await pass(this.#shell, replicator, {}, signal);
        await this.#cleanUploads(result, signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#shell.events.failed?.({ site: policy.sites[0]!, error: error as Error });
      }
      const nextMs = world.monotonicMs() + everyMs;
      while (!signal.aborted && world.monotonicMs() < nextMs) {
        await world.sleep(Math.min(1_000, everyMs), signal).catch(() => {});
        const states = await Promise.all(policy.sites.map((site) => records.siteState(site)));
        const wanted = policy.sites.some(
          (site, i) => states[i]!.scanWanted && this.#siteNamed(site).breaker.closed,
        );
        if (wanted) break;
      }
    }
  }

  async #busQuiet(signal: AbortSignal): Promise<void> {
    const { bus, policy, world } = this.#shell;
    while ((await bus.backlog(policy.dataset)).changes > 0) await world.sleep(20, signal);
  }

  async #cleanUploads(result: PassResult, signal: AbortSignal): Promise<void> {
    for (const site of this.policy.sites) {
      if (!result.sites[site]?.away) await clearUploads(this.#shell, this.#siteNamed(site), signal);
    }
    await collectFormer(this.#shell, signal);
  }

  #siteNamed(id: SiteId): Site {
    const site = this.#shell.sites.get(id);
    if (!site) {
      throw new UsageFailure(
        `dataset ${this.policy.dataset} has no site "${id}"; it has ${this.policy.sites.join(', ')}`,
      );
    }
    return site;
  }
}

function checkKey(key: string): void {
  const problem = keyProblem(key);
  if (problem) throw new UsageFailure(problem);
}

function guardedSite(parts: DatasetParts, id: SiteId): Site {
  const breaker = new Breaker(id, parts.world);
  const most = parts.concurrency?.get(id) ?? defaultAdaptiveSettings.most;
  const limit = new AdaptiveLimit({ ...defaultAdaptiveSettings, most });
  const request = parts.events?.request;
  const ready = parts.ready?.get(id);
  const store = new GuardedStore({
    store: parts.stores.get(id)!,
    world: parts.world,
    breaker,
    limit,
    ...(ready ? { ready } : {}),
    ...(request ? { report: (report) => request(id, report) } : {}),
  });
  return { id, store, breaker };
}
