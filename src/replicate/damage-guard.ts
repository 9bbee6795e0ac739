import {
  afterHappening,
  type DamageState,
  type DamageVerb,
  type Happening,
  newDamageState,
  released,
  type Standing,
} from '../decide/damage.ts';
import { entropyOf, isJump } from '../decide/damage-entropy.ts';
import { extensionOf, renamedTo, stemOf } from '../decide/damage-renames.ts';
import type { DamageRule } from '../model/damage-rule.ts';
import { StoreFailure } from '../model/failure.ts';
import { keyHash } from '../model/key.ts';
import { matcherOf } from '../model/pattern.ts';
import type { Policy } from '../model/policy.ts';
import { type KeyRecord, type Replica, sameContent } from '../model/record.ts';
import { millisOf } from '../model/stamp.ts';
import type { SiteId } from '../model/version.ts';
import type { Json } from '../ports/ledger.ts';
import type { World } from '../ports/world.ts';
import { KeyedQueue } from './keyed-queue.ts';
import { RecentKeys } from './recent-keys.ts';
import type { Parked, Records } from './records.ts';

/** A change at a site, by whoever uses it: found there, or written through Isobar. */
export interface UserChange {
  readonly site: SiteId;
  readonly key: string;
  /** What the site held before. */
  readonly from: Replica | undefined;
  readonly to: Replica;
}

/** A person must say go: the key stays owed, and nobody needs to hear of each try. */
export class HeldBack extends StoreFailure {
  constructor(key: string, detail: string) {
    super('unavailable', `${key} is held back: ${detail}; see "isobar parked ls"`);
  }
}

/** Unique in a dataset, and no site begins like this. */
export function damageId({ match }: DamageRule): string {
  return `//damage/${keyHash(match).slice(0, 8)}`;
}

export interface Sampled {
  readonly entropy?: number;
}

interface Watched {
  readonly id: string;
  readonly rule: DamageRule;
  readonly matches: (key: string) => boolean;
  /** As the ledger has it, and `pending` after that. */
  state: DamageState;
  /** Counted, and not yet in the ledger. */
  readonly pending: Happening[];
  readMs: number;
}

/** A crash forgets no more than this many changes of a rule, or what was counted within a second. */
const mostPending = 64;
const freshMs = 1_000;

/** Extensions of objects that have stood this long were there before. */
const settledMs = 7 * 86_400_000;

/** Holds deletions and overwrites back when a rule of `guards.damage` says so. Counted once, where they are learned. */
export class DamageGuard {
  readonly #records: Records;
  readonly #rules: readonly DamageRule[];
  readonly #sites: readonly SiteId[];
  readonly #world: World;
  readonly #queue = new KeyedQueue();
  #watched: Promise<readonly Watched[]> | undefined;
  /** While a pass lasts: since when that which it finds at a site may have happened. */
  readonly #gapMs = new Map<SiteId, number>();
  readonly #scanned = new Map<Watched, { known: number; extensions: Set<string> }>();
  readonly #created: RecentKeys;
  readonly #gone: RecentKeys;
  readonly #sampledWrites: RecentKeys;

  constructor(records: Records, { guards, sites }: Pick<Policy, 'guards' | 'sites'>, world: World) {
    this.#records = records;
    this.#rules = guards.damage ?? [];
    this.#sites = sites;
    this.#world = world;
    const longestMs = Math.max(0, ...this.#rules.map(({ windowMs }) => windowMs));
    this.#created = new RecentKeys(longestMs);
    this.#gone = new RecentKeys(longestMs);
    this.#sampledWrites = new RecentKeys(longestMs);
  }

  /** Whether the entropy of bodies is asked for. */
  get samples(): boolean {
    return this.#rules.some(({ entropy }) => entropy);
  }

  /** Takes up what a user did; durable soon. Never fails for what it finds. */
  async changed(change: UserChange): Promise<void> {
    if (this.#rules.length === 0) return;
    const { key, from, to } = change;
    if (from?.version.operation === to.version.operation) return;
    const wasLive = from !== undefined && !from.version.deleted;
    if (!wasLive && to.version.deleted) return;
    if (!wasLive) return this.#arrived(change);
    if (sameContent(from, to)) return;
    const verb = to.version.deleted ? 'deletes' : 'overwrites';
    for (const one of await this.#rulesFor(key)) {
      if (this.#isYoung(one, from)) continue;
      await this.#count(one, verb, change);
      if (verb === 'deletes' && one.rule.renames) await this.#lookForRename(one, change);
    }
    if (to.version.deleted)
      for (const name of [key, stemOf(key)]) this.#gone.add(name, key, this.#world.nowMs());
  }

  /** Throws `HeldBack` where the target would lose what it holds, and a rule holds such changes back. */
  async demand(key: string, held: Replica | undefined, newest: Replica): Promise<void> {
    if (this.#rules.length === 0 || !held || held.version.deleted || sameContent(held, newest)) return;
    for (const one of await this.#rulesFor(key)) {
      if (this.#world.monotonicMs() - one.readMs >= freshMs) await this.#flush(one);
      const { held: standing } = one.state;
      if (standing) throw new HeldBack(key, detailOf(standing, one.rule));
    }
  }

  /** What would be held back now, for a plan; undefined: nothing. */
  async holding(key: string): Promise<string | undefined> {
    for (const { state, rule } of await this.#rulesFor(key))
      if (state.held) return detailOf(state.held, rule);
    return undefined;
  }

  /** Judges a body that is on its way, over the one that the target holds. Answers with its entropy. */
  async sample(key: string, newest: Replica, target: SiteId, body: Uint8Array): Promise<Sampled> {
    if (!this.samples) return {};
    const entropy = entropyOf(body);
    if (entropy === undefined) return {};
    const record = await this.#records.read(key);
    const held = record.replicas[target];
    if (held?.entropy === undefined || held.version.operation === newest.version.operation)
      return { entropy };
    const { operation, dot, stamp } = newest.version;
    const nowMs = this.#world.nowMs();
    if (this.#sampledWrites.get(operation) !== undefined) return { entropy };
    this.#sampledWrites.add(operation, key, nowMs);
    const jump = isJump(held.entropy, entropy);
    for (const one of await this.#rulesFor(key))
      if (one.rule.entropy && !this.#isYoung(one, held))
        await this.#take(one, {
          kind: 'sample',
          atMs: nowMs,
          site: dot.site,
          writtenMs: millisOf(stamp),
          jump,
        });
    return { entropy };
  }

  /** A pass begins: what it finds at a site happened since that was last scanned. Reads what others have counted. */
  async scanBegins(): Promise<void> {
    if (this.#rules.length === 0) return;
    const nowMs = this.#world.nowMs();
    for (const site of this.#sites) {
      const { scannedMs } = await this.#records.siteState(site);
      if (scannedMs !== undefined) this.#gapMs.set(site, nowMs - scannedMs);
    }
    for (const one of await this.#all()) {
      await this.#flush(one);
      this.#scanned.set(one, { known: 0, extensions: new Set() });
    }
  }

  /** A key that the pass goes by; without a record it was not known before. */
  saw(key: string, record: KeyRecord | undefined): void {
    for (const [one, found] of this.#scanned) {
      if (!one.matches(key)) continue;
      const live = record && liveIn(record);
      if (record && !live) continue;
      found.known += 1;
      if (!live || !one.rule.renames || millisOf(live.version.stamp) > this.#world.nowMs() - settledMs)
        continue;
      const extension = extensionOf(key);
      if (extension !== undefined) found.extensions.add(extension);
    }
  }

  async scanEnds(): Promise<void> {
    this.#gapMs.clear();
    const found = [...this.#scanned];
    this.#scanned.clear();
    for (const [one, { known, extensions }] of found) {
      await this.#take(one, { kind: 'scan', atMs: this.#world.nowMs(), known, extensions: [...extensions] });
      await this.#flush(one);
    }
  }

  /** Makes durable what was counted. */
  async flush(): Promise<void> {
    for (const one of (await this.#watched) ?? []) if (one.pending.length > 0) await this.#flush(one);
  }

  /** A person says go to what is parked. False: nothing is held under that id. */
  async release({ id, keys }: Pick<Parked, 'id' | 'keys'>): Promise<boolean> {
    const one = (await this.#all()).find((watched) => watched.id === id);
    if (!one) return false;
    await this.#flush(one);
    return this.#queue.run(id, async () => {
      for (;;) {
        const { state, revision } = await this.#read(one);
        if (!state.held) return false;
        const next = released(state, keys, this.#world.nowMs(), one.rule);
        const parked = next.held ? this.#park(one, next.held) : this.#records.unpark(id);
        if (!(await this.#records.changeGuard(id, plain(next), revision, [parked]))) continue;
        one.state = one.pending.reduce((now, happening) => afterHappening(now, happening, one.rule), next);
        return next.held === undefined;
      }
    });
  }

  async #arrived({ site, key }: UserChange): Promise<void> {
    const nowMs = this.#world.nowMs();
    this.#created.add(key, key, nowMs);
    const gone = this.#gone.get(stemOf(key));
    const extension = gone === undefined ? undefined : renamedTo(gone, key);
    if (extension === undefined) return;
    for (const one of await this.#rulesFor(gone!))
      if (one.rule.renames) await this.#take(one, { kind: 'rename', atMs: nowMs, site, extension });
  }

  /** What is gone may stand beside itself under another name. */
  async #lookForRename(one: Watched, { site, key }: UserChange): Promise<void> {
    const atMs = this.#world.nowMs();
    const sinceMs = one.state.window.startMs - one.rule.windowMs;
    for await (const page of this.#records.scan({ prefix: `${stemOf(key)}.` })) {
      const heir = page.find((record) => {
        if (renamedTo(key, record.key) === undefined) return false;
        const live = liveIn(record);
        // A file keeps its time when it is renamed; what came just now is remembered as well.
        return (
          live && (millisOf(live.version.stamp) >= sinceMs || this.#created.get(record.key) !== undefined)
        );
      });
      if (heir) await this.#take(one, { kind: 'rename', atMs, site, extension: renamedTo(key, heir.key)! });
      return;
    }
  }

  /** What is younger than the window is no old data: a key counts once in each. */
  #isYoung({ rule }: Watched, { version }: Replica): boolean {
    const nowMs = this.#world.nowMs();
    return millisOf(version.stamp) >= nowMs - (nowMs % rule.windowMs);
  }

  #count(one: Watched, kind: DamageVerb, { site }: UserChange): Promise<void> {
    const spread = Math.max(1, Math.ceil((this.#gapMs.get(site) ?? 0) / one.rule.windowMs));
    return this.#take(one, { kind, atMs: this.#world.nowMs(), site, spread });
  }

  async #take(one: Watched, happening: Happening): Promise<void> {
    const stood = one.state.held !== undefined;
    one.state = afterHappening(one.state, happening, one.rule);
    one.pending.push(happening);
    const isOld = this.#world.monotonicMs() - one.readMs >= freshMs;
    const begins = !stood && one.state.held !== undefined;
    if (begins || isOld || one.pending.length >= mostPending) await this.#flush(one);
  }

  /** Counts on from what the ledger has: another process may have counted, held or released. */
  #flush(one: Watched): Promise<void> {
    return this.#queue.run(one.id, async () => {
      for (;;) {
        const count = one.pending.length;
        const { state, revision } = await this.#read(one);
        const next = one.pending
          .slice(0, count)
          .reduce((now, happening) => afterHappening(now, happening, one.rule), state);
        const parked = next.held ? [this.#park(one, next.held)] : [];
        if (count > 0 && !(await this.#records.changeGuard(one.id, plain(next), revision, parked))) continue;
        one.pending.splice(0, count);
        one.state = one.pending.reduce((now, happening) => afterHappening(now, happening, one.rule), next);
        one.readMs = this.#world.monotonicMs();
        return;
      }
    });
  }

  async #read({ id, rule }: Pick<Watched, 'id' | 'rule'>) {
    const row = await this.#records.guardState(id);
    const state = (row?.value as unknown as DamageState) ?? newDamageState(this.#world.nowMs(), rule);
    return { state, revision: row?.revision };
  }

  #park({ id, rule }: Watched, held: Standing) {
    const { site, sinceMs, keys } = held;
    const detail = detailOf(held, rule);
    return this.#records.park({ id, site, reason: 'damage', detail, sinceMs, keys, bytes: 0 });
  }

  async #rulesFor(key: string): Promise<readonly Watched[]> {
    return (await this.#all()).filter(({ matches }) => matches(key));
  }

  #all(): Promise<readonly Watched[]> {
    this.#watched ??= this.#open().catch((error: unknown) => {
      this.#watched = undefined;
      throw error;
    });
    return this.#watched;
  }

  async #open(): Promise<readonly Watched[]> {
    const watched = await Promise.all(
      this.#rules.map(async (rule): Promise<Watched> => {
        const id = damageId(rule);
        const { state } = await this.#read({ id, rule });
        const matches = rule.match === '**' ? () => true : matcherOf(rule.match);
        return { id, rule, matches, state, pending: [], readMs: this.#world.monotonicMs() };
      }),
    );
    await this.#mend(watched);
    return watched;
  }

  /** A crash may have parted what is held from what is parked, and a rule may be gone from the configuration. */
  async #mend(watched: readonly Watched[]): Promise<void> {
    const parked = new Set<string>();
    for await (const page of this.#records.parked())
      for (const { id, reason } of page) if (reason === 'damage') parked.add(id);
    const stands = watched.filter(({ state }) => state.held);
    for (const one of stands)
      if (!parked.delete(one.id)) await this.#records.commit([this.#park(one, one.state.held!)]);
    await this.#records.commit([...parked].map((id) => this.#records.unpark(id)));
  }
}

function liveIn({ replicas }: KeyRecord): Replica | undefined {
  return Object.values(replicas).find(({ version }) => !version.deleted);
}

function detailOf({ because, numbers, extension }: Standing, { match, windowMs }: DamageRule): string {
  const { count, allowed, of } = numbers;
  const keys = of === undefined ? `${count} keys` : `${count} of ${of} keys`;
  const minutes = Math.round(windowMs / 60_000);
  const within = `within ${minutes} minute${minutes === 1 ? '' : 's'}`;
  const what = {
    deletes: `${keys} were deleted ${within}, ${allowed} are allowed`,
    overwrites: `${keys} were overwritten ${within}, ${allowed} are allowed`,
    'unusual-deletes': `${count} keys were deleted ${within}; at this hour ${allowed} would be unusual`,
    'unusual-overwrites': `${count} keys were overwritten ${within}; at this hour ${allowed} would be unusual`,
    entropy: `${count} of ${of} overwritten bodies turned into noise ${within}, as encryption does`,
    renames: `${keys} were renamed to ".${extension}" ${within}, which nobody used before`,
  }[because];
  return `${what} (guards.damage, "${match}"): deletions and overwrites are held back, creations go on`;
}

function plain(state: DamageState): Json {
  return state as unknown as Json;
}
