import { decide } from '../decide/decide.ts';
import { newestOf } from '../decide/resolve.ts';
import type { Change } from '../model/change.ts';
import { StoreFailure } from '../model/failure.ts';
import type { KeyRecord } from '../model/record.ts';
import { millisOf } from '../model/stamp.ts';
import type { SiteId, Version } from '../model/version.ts';
import type { Delivery } from '../ports/bus.ts';
import { type Carried, carry } from './carry.ts';
import { Lane, type Settled } from './lane.ts';
import { learn, look } from './observe.ts';
import type { Shell } from './shell.ts';

/** Changes delivered by the bus and not yet settled. */
const changesInFlight = 512;

/** Carries changes of one dataset to every site that lacks them: a lane for each target. */
export class Replicator {
  readonly #shell: Shell;
  readonly #lanes = new Map<SiteId, Lane>();
  readonly #work = new AbortController();
  #running: Promise<unknown> | undefined;

  constructor(shell: Shell) {
    this.#shell = shell;
    for (const site of shell.policy.sites) {
      this.#lanes.set(
        site,
        new Lane(shell, site, (key, sinceMs) => void this.#tellOthers(key, sinceMs), this.#work.signal),
      );
    }
  }

  get lanes(): ReadonlyMap<SiteId, Lane> {
    return this.#lanes;
  }

  /** Starts the lanes; they end with `stop`. */
  start(): void {
    this.#running ??= Promise.all([...this.#lanes.values()].map((lane) => lane.run()));
  }

  /** What is under way is finished or stays owed; nothing is half done. */
  async stop(): Promise<void> {
    this.#work.abort(new Error('stopped'));
    await this.#running;
    await Promise.all([...this.#lanes.values()].map((lane) => lane.quiet()));
  }

  /** Works on the bus until `signal` aborts. */
  async consume(signal: AbortSignal): Promise<void> {
    const { bus, policy } = this.#shell;
    const underWay = new Set<Promise<void>>();
    for await (const delivery of bus.subscribe(
      { dataset: policy.dataset, maxInFlight: changesInFlight },
      signal,
    )) {
      const handled: Promise<void> = this.#handle(delivery, signal)
        .catch((error: Error) => this.#handBack(delivery, error, signal))
        .finally(() => underWay.delete(handled));
      underWay.add(handled);
    }
    await Promise.all(underWay);
  }

  /** Offers the key to every target that lacks the newest version. */
  async dispatch(key: string, known?: KeyRecord, sinceMs?: number): Promise<Settled[]> {
    const record = known ?? (await this.#shell.records.read(key));
    const newest = newestOf(record, this.#shell.ruleOf);
    if (!newest) return [];
    const since = sinceMs ?? this.#madeMs(newest.replica.version);
    const offers: Promise<Settled>[] = [];
    for (const [site, lane] of this.#lanes) {
      if (decide(record, site, this.#shell.ruleOf).kind !== 'skip')
        offers.push(lane.offer(key, since, newest.replica.size));
    }
    return Promise.all(offers);
  }

  /** A native deletion bears the stamp of what it deleted (`adoptedDeletion`): its age counts from its discovery. */
  #madeMs({ stamp, deleted }: Version): number {
    return deleted ? this.#shell.world.nowMs() : millisOf(stamp);
  }

  /** One key to one target, now; for writes that are acknowledged by several sites. */
  carryNow(key: string, site: SiteId, signal: AbortSignal): Promise<Carried> {
    return carry(this.#shell, key, this.#lanes.get(site)!.target, signal);
  }

  async #handle(delivery: Delivery, signal: AbortSignal): Promise<void> {
    const { change } = delivery;
    if (!change.version && !(await this.#followUp(change, signal))) {
      await delivery.ack();
      return;
    }
    const settled = await this.dispatch(change.key, undefined, change.atMs);
    if (settled.includes('dropped')) await delivery.release();
    else await delivery.ack();
  }

  /** The ledger failed, or something that nobody foresaw: the bus keeps the change, and it is tried again. */
  async #handBack(delivery: Delivery, error: Error, signal: AbortSignal): Promise<void> {
    const { site, key } = delivery.change;
    this.#shell.events.failed?.({ site, key, error });
    await this.#shell.world.sleep(1_000, signal).catch(() => {});
    await delivery.release().catch(() => {});
  }

  /** A notice is only a reason to look. False: nothing more to do, or only a scan can tell. */
  async #followUp(change: Change, signal: AbortSignal): Promise<boolean> {
    const { records } = this.#shell;
    try {
      const sighting = await look(this.#shell, change.site, change.key, signal);
      if (sighting.kind === 'absent' && !(await this.#shell.deletions.allows(change.site, change.key)))
        return false;
      await learn(this.#shell, change.site, change.key, sighting, signal);
      return true;
    } catch (failure) {
      if (!(failure instanceof StoreFailure)) throw failure;
      this.#shell.events.failed?.({ site: change.site, key: change.key, error: failure });
      await records.updateSite(change.site, { scanWanted: true });
      return false;
    }
  }

  async #tellOthers(key: string, sinceMs: number): Promise<void> {
    await this.dispatch(key, undefined, sinceMs).catch((error: Error) =>
      this.#shell.events.failed?.({ site: this.#shell.policy.sites[0]!, key, error }),
    );
  }
}
