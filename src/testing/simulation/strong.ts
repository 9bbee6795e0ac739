import { StoreFailure } from '../../model/failure.ts';
import type { SiteId } from '../../model/version.ts';
import type { ObjectStore } from '../../ports/object-store.ts';
import type { World } from '../../ports/world.ts';
import { MemoryBucket } from '../../stores/memory/memory-bucket.ts';
import { MemoryStore } from '../../stores/memory/memory-store.ts';
import { tagOn } from '../../strong/body.ts';
import { OutcomeUnknown } from '../../strong/outcome-unknown.ts';
import { StrongRegister, type StrongWrite } from '../../strong/register.ts';
import type { StrongSettings } from '../../strong/shell.ts';
import { compareTags, encodeTag, type Tag } from '../../strong/tag.ts';
import type { StrongCondition } from '../../strong/write.ts';
import { checkHistory, type HistoryCall, type Verdict } from '../linearizability.ts';
import { Clock, WorkerWorld } from './clock.ts';
import { Random } from './random.ts';
import { Link, type LinkFaults, type LinkRates, type Outage, type SimulatedProcess } from './strong-link.ts';

/** What a simulated process calls: the register, or another one that should be caught. */
export interface SimulatedRegister {
  get(key: string): Promise<{ readonly value: string; readonly tag: string } | undefined>;
  /** Undefined removes. Rejects with `OutcomeUnknown`, or having done nothing. */
  write(key: string, value: string | undefined, condition?: StrongCondition): Promise<StrongWrite>;
  /** One of what happens beside the clients' operations. */
  maintain?(key: string, choice: number): Promise<unknown>;
  settled?(): Promise<unknown>;
}

export type OpenRegister = (
  sites: ReadonlyMap<SiteId, ObjectStore>,
  world: World,
  writer: string,
) => SimulatedRegister;

export interface StrongPlan {
  /** By default Isobar's own. */
  readonly open?: OpenRegister;
  /** False: puts, gets and removals alone. */
  readonly conditions?: boolean;
  /** How many bodies there are, for puts without conditions; by default each is another. */
  readonly bodies?: number;
  readonly clients?: number;
  readonly callsPerClient?: number;
  /** How likely a site's token is a digest of the content, as S3's. */
  readonly contentTokens?: number;
  /** Of requests and of replies, in [0, 1]. */
  readonly lost?: number;
  /** Removals, and pauses in which they are collected. By default in a fifth of the histories. */
  readonly collections?: boolean;
}

export interface StrongRun {
  readonly seed: number;
  readonly verdict: Verdict;
  /** What was not as it should be once all was quiet: natives, heads. */
  readonly problems: readonly string[];
  readonly history: readonly HistoryCall[];
  readonly faults: LinkFaults & { outages: number; crashes: number };
  readonly collected: number;
}

/** Small enough that a history of seconds sees stages, deadlines and collections. */
export const simulatedSettings = {
  inlineBytes: 24,
  timeoutMs: 1_500,
  graceMs: 7_000,
  fenceMs: 5_000,
  pauseMs: 10,
} satisfies Partial<StrongSettings>;

const key = 'k';
/** Longer than the fence, the removal that follows, and its grace. */
const eraMs = 20_000;
const rates: LinkRates = { lost: 0.03, late: 0.04, delayMs: [1, 12, 400], patienceMs: 120 };
const calm: LinkRates = { lost: 0, late: 0, delayMs: [1, 2, 2], patienceMs: 120 };

/** One history from one seed: the same seed, the same history. */
export async function simulateStrong(seed: number, plan: StrongPlan = {}): Promise<StrongRun> {
  const run = new Simulation(seed, plan);
  return run.clock.run(run.play(), 3_600_000);
}

class Simulation {
  readonly clock = new Clock();
  readonly #seed: number;
  readonly #plan: StrongPlan;
  readonly #open: OpenRegister;
  readonly #random: Random;
  readonly #sites = new Map<SiteId, { readonly store: MemoryStore; readonly outage: Outage }>();
  readonly #history: HistoryCall[] = [];
  readonly #faults = {
    lostRequests: 0,
    lostReplies: 0,
    late: 0,
    held: 0,
    refused: 0,
    outages: 0,
    crashes: 0,
  };
  readonly #rates: LinkRates;
  readonly #problems: string[] = [];
  readonly #collects: boolean;
  #collected = 0;
  /** The order of calls and returns: nothing happens at once in one thread. */
  #turn = 0;
  #busy = true;

  constructor(seed: number, plan: StrongPlan) {
    this.#seed = seed;
    this.#plan = plan;
    this.#open = plan.open ?? openStrong;
    this.#rates = { ...rates, lost: plan.lost ?? rates.lost };
    this.#random = new Random(`strong/${seed}`);
    const count = this.#random.chance(0.15) ? 5 : 3;
    this.#collects = plan.collections ?? this.#random.chance(0.2);
    for (let i = 0; i < count; i++) {
      const random = this.#random.fork(`bucket ${i}`);
      const world = { nowMs: () => Math.floor(this.clock.nowMs), uniqueId: () => random.id() };
      const capabilities = { tokenIsContentDigest: this.#random.chance(plan.contentTokens ?? 0.6) };
      const store = new MemoryStore({ bucket: new MemoryBucket({ world }), capabilities });
      this.#watch(`s${i}`, store);
      this.#sites.set(`s${i}`, { store, outage: { untilMs: 0, refuses: false } });
    }
  }

  async play(): Promise<StrongRun> {
    const { clients = 3, callsPerClient = this.#collects ? 9 : 4 } = this.#plan;
    const weather = this.#weather();
    const upkeep = this.#upkeep();
    await Promise.all(Array.from({ length: clients }, (_, i) => this.#client(`c${i}`, callsPerClient)));
    this.#busy = false;
    await Promise.all([weather, upkeep]);
    const problems = await this.#quiet();
    const verdict = checkHistory(named(this.#history));
    const { history, collected } = { history: this.#history, collected: this.#collected };
    return { seed: this.#seed, verdict, problems, history, faults: this.#faults, collected };
  }

  /**
   * A native key never goes back to an earlier write, unless it was absent in between, or bodies repeat: then a token
   * may come back, and what was projected late mends itself.
   */
  #watch(site: SiteId, store: MemoryStore): void {
    const write = store.write.bind(store);
    let last: Tag | undefined;
    store.write = async (request, signal) => {
      const written = await write(request, signal);
      const tag = request.key === key ? tagOn(key, request.metadata) : undefined;
      if (!tag || written.kind === 'conflict') return written;
      if (last && this.#plan.bodies === undefined && compareTags(tag, last) <= 0)
        this.#problems.push(`${site}: ${encodeTag(tag)} was projected after ${encodeTag(last)}`);
      last = tag;
      return written;
    };
    const remove = store.remove.bind(store);
    store.remove = async (name, token, signal) => {
      const removed = await remove(name, token, signal);
      if (name === key && removed.kind === 'removed') last = undefined;
      return removed;
    };
  }

  #register(writer: string, process: SimulatedProcess, linkRates = this.#rates): SimulatedRegister {
    const random = this.#random.fork(writer);
    const links = new Map<SiteId, ObjectStore>();
    for (const [site, { store, outage }] of this.#sites) {
      const link = { process, outage, clock: this.clock, random: random.fork(site), rates: linkRates };
      links.set(site, new Link(store, { ...link, faults: this.#faults }));
    }
    return this.#open(links, new WorkerWorld(writer, this.clock, random.fork('world')), writer);
  }

  /** A client, and after each of its deaths the next one in its place. */
  async #client(name: string, calls: number): Promise<void> {
    const random = this.#random.fork(`client ${name}`);
    let [process, life] = [{ dead: false }, 0];
    let register = this.#register(`${name}-${life}`, process);
    for (let i = 0; i < calls; i++) {
      await this.clock.sleep(this.#gapMs(random, i));
      const crash = Promise.withResolvers<'crashed'>();
      const mortal = process;
      const dies = random.chance(0.06);
      const withdraw = dies
        ? this.clock.after(random.between(0, 60), () => {
            mortal.dead = true;
            crash.resolve('crashed');
          })
        : () => {};
      const ended = await this.#call(register, `${name}.${i}`, `${name}-${life}`, random, crash.promise);
      withdraw();
      if (ended !== 'crashed') continue;
      this.#faults.crashes += 1;
      [process, life] = [{ dead: false }, life + 1];
      register = this.#register(`${name}-${life}`, process);
    }
  }

  /** Where removals are collected, three calls in each era: right when the collectors are at work. */
  #gapMs(random: Random, call: number): number {
    if (!this.#collects || call % 3 > 0) return random.between(0, 25);
    const fenceMs = random.chance(0.6) ? simulatedSettings.fenceMs : 0;
    return this.#untilEraMs(Math.ceil(this.clock.elapsedMs / eraMs)) + fenceMs + random.between(-60, 60);
  }

  #untilEraMs(era: number): number {
    return era * eraMs - this.clock.elapsedMs;
  }

  async #call(
    register: SimulatedRegister,
    name: string,
    client: string,
    random: Random,
    crash: Promise<'crashed'>,
  ): Promise<'crashed' | 'done'> {
    const call = { client, key, calledAt: this.#turn++ };
    if (random.chance(0.4)) {
      const read = await Promise.race([crash, settled(register.get(key))]);
      if (read === 'crashed') return read;
      if ('result' in read) this.#record({ ...call, kind: 'get', value: undefined, ...read.result });
      return 'done';
    }
    const value = random.chance(this.#collects ? 0.3 : 0.2) ? undefined : this.#body(name, random);
    const condition = this.#condition(random);
    const write = { ...call, kind: 'write' as const, value, ...(condition ? { condition } : {}) };
    const written = await Promise.race([crash, settled(register.write(key, value, condition))]);
    if (written === 'crashed' || 'error' in written) {
      const unknown = written === 'crashed' || written.error instanceof OutcomeUnknown;
      const error = written === 'crashed' ? undefined : written.error;
      const tag = error instanceof OutcomeUnknown && error.tag ? { tag: error.tag } : {};
      if (unknown) this.#history.push({ ...write, ...tag, outcome: 'unknown', returnedAt: Infinity });
      else this.#record({ ...write, outcome: 'failed' });
      return written === 'crashed' ? written : 'done';
    }
    if (written.result.kind === 'conflict') this.#record({ ...write, outcome: 'conflict' });
    else this.#record({ ...write, tag: written.result.tag, outcome: 'ok' });
    return 'done';
  }

  #record(call: HistoryCall | Omit<HistoryCall, 'returnedAt'>): void {
    this.#history.push({ ...call, returnedAt: this.#turn++ } as HistoryCall);
  }

  /** Half of them are large. */
  #body(name: string, random: Random): string {
    const { bodies } = this.#plan;
    const text = bodies === undefined ? `v${name}` : `body ${random.between(0, bodies)}`;
    return random.chance(0.5) && bodies === undefined ? text.padEnd(40, '.') : text;
  }

  #condition(random: Random): StrongCondition | undefined {
    if (this.#plan.conditions === false || random.chance(0.4)) return undefined;
    const tags = this.#history.flatMap((call) => (call.tag ? [call.tag] : []));
    const recent = tags.slice(-2);
    if (recent.length === 0 || random.chance(0.3)) return { kind: 'if-absent' };
    return { kind: 'if-match', tag: random.pick(recent) };
  }

  /** Sites hang and refuse, one at a time mostly. */
  async #weather(): Promise<void> {
    const random = this.#random.fork('weather');
    const outages = [...this.#sites.values()].map(({ outage }) => outage);
    while (this.#busy) {
      await this.clock.sleep(random.between(10, 300));
      const outage = random.pick(outages);
      const others = outages.filter((one) => one !== outage && one.untilMs > this.clock.elapsedMs);
      if (random.chance(0.6) || (others.length > 0 && random.chance(0.9))) continue;
      outage.refuses = random.chance(0.4);
      outage.untilMs = this.clock.elapsedMs + random.between(20, random.chance(0.2) ? 2_500 : 200);
      this.#faults.outages += 1;
    }
    for (const outage of outages) outage.untilMs = 0;
  }

  async #upkeep(): Promise<void> {
    const random = this.#random.fork('upkeep');
    const register = this.#register('upkeep', { dead: false });
    const collectors = this.#collects ? ['x', 'y'].map((name) => this.#collector(name)) : [];
    while (this.#busy) {
      await this.clock.sleep(random.between(20, this.#collects ? 3_000 : 600));
      await settled(register.maintain?.(key, random.between(0, 2)) ?? Promise.resolve());
    }
    await Promise.all(collectors);
    await register.settled?.();
  }

  /** Towards the end of each era a removal, brought to all sites; at its end, when it is old enough, it is collected. */
  async #collector(name: string): Promise<void> {
    const random = this.#random.fork(`collector ${name}`);
    const register = this.#register(`collector-${name}`, { dead: false });
    for (let era = 1; this.#busy; era++) {
      await this.clock.sleep(this.#untilEraMs(era) - eraMs + 7_500);
      if (name === 'x') await this.#removal(register, `collector-${name}`);
      await this.clock.sleep(2_500);
      await settled(register.maintain!(key, 0));
      const dueMs = this.#untilEraMs(era);
      for (const ms of [0, simulatedSettings.fenceMs]) this.#loseOneAt(dueMs + ms, random);
      await this.clock.sleep(dueMs + random.between(-40, 40));
      const done = await settled(register.maintain!(key, 2));
      if ('result' in done && done.result === 'collected') this.#collected += 1;
    }
  }

  /** In the middle of a collection. */
  #loseOneAt(inMs: number, random: Random): void {
    const { outage } = random.pick([...this.#sites.values()]);
    this.clock.after(inMs + random.between(-20, 60), () => {
      if (!this.#busy) return;
      outage.refuses = random.chance(0.5);
      outage.untilMs = this.clock.elapsedMs + random.between(20, 600);
      this.#faults.outages += 1;
    });
  }

  async #removal(register: SimulatedRegister, client: string): Promise<void> {
    const call = { client, key, calledAt: this.#turn++, kind: 'write' as const, value: undefined };
    const done = await settled(register.write(key, undefined));
    if ('result' in done) this.#record({ ...call, outcome: 'ok' });
    else if (!(done.error instanceof OutcomeUnknown)) this.#record({ ...call, outcome: 'failed' });
    else this.#history.push({ ...call, outcome: 'unknown', returnedAt: Infinity });
  }

  /** Everything answers again, and what was under way has arrived: now all must agree. */
  async #quiet(): Promise<string[]> {
    await this.clock.sleep(5_000);
    const random = this.#random.fork('quiet');
    const register = this.#register('quiet', { dead: false }, calm);
    for (let i = 0; i < 2; i++) await this.#call(register, `quiet.${i}`, 'quiet', random, never);
    await register.settled?.();
    // Before the last read: what somebody sent to one site before he died may be taken up now.
    await register.maintain?.(key, 0);
    const calledAt = this.#turn++;
    const held = await register.get(key);
    this.#record({ client: 'quiet', key, calledAt, kind: 'get', value: undefined, ...held });
    if (!register.maintain) return [];
    const problems = this.#problems;
    for (const [site, { store }] of this.#sites) {
      const native = store.bucket.object(key);
      const text = native && Buffer.from(native.body).toString();
      if (text !== held?.value)
        problems.push(`${site} has ${text}, not ${held?.value}, under its native key`);
    }
    return problems;
  }
}

const never = new Promise<'crashed'>(() => {});

async function settled<T>(work: Promise<T>): Promise<{ readonly result: T } | { readonly error: unknown }> {
  try {
    return { result: await work };
  } catch (error) {
    if (!(error instanceof StoreFailure || error instanceof OutcomeUnknown)) throw error;
    return { error };
  }
}

/** Each write of unknown outcome gets the tag under which its body was read; bodies that repeat are left as they are. */
function named(history: readonly HistoryCall[]): HistoryCall[] {
  const tags = new Map<string, string>();
  for (const call of history) {
    if (call.kind === 'get' && call.value !== undefined && call.tag) tags.set(call.value, call.tag);
  }
  const writers = Map.groupBy(history, (call) => (call.kind === 'write' ? call.value : undefined));
  return history.map((call) => {
    if (call.kind === 'get' || call.outcome !== 'unknown' || call.value === undefined) return call;
    const tag = tags.get(call.value);
    return tag && writers.get(call.value)!.length === 1 ? { ...call, tag } : call;
  });
}

/** Isobar's own, over links. */
export const openStrong: OpenRegister = (sites, world, writer) => {
  const register = new StrongRegister({ sites, world, writer, settings: simulatedSettings });
  const { signal } = new AbortController();
  return {
    async get(key) {
      const held = await register.get(key, signal);
      if (!held) return undefined;
      const bytes = await held.read({ from: 0, to: held.size });
      return { value: Buffer.from(bytes).toString(), tag: held.tag };
    },
    write(key, value, condition) {
      if (value === undefined) return register.remove(key, condition, signal);
      return register.put(key, Buffer.from(value), condition ? { condition } : {}, signal);
    },
    maintain: (key, choice) => {
      if (choice === 0) return register.repair(key, signal);
      return choice === 1 ? register.project(key, signal) : register.collect(key, signal);
    },
    settled: () => register.settled(),
  };
};
