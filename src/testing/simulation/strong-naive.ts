import { StoreFailure } from '../../model/failure.ts';
import { noMetadata } from '../../model/metadata.ts';
import type { SiteId } from '../../model/version.ts';
import type { Condition, ObjectStore } from '../../ports/object-store.ts';
import type { World } from '../../ports/world.ts';
import { OutcomeUnknown } from '../../strong/outcome-unknown.ts';
import type { StrongCondition } from '../../strong/write.ts';
import type { OpenRegister, SimulatedRegister } from './strong.ts';

/** What is left out or done otherwise than in docs/strong.md. */
export interface Naive {
  /** The tag stands in the metadata of the native object, and an ETag of its body guards it. */
  readonly tagInMetadata?: boolean;
  /** Heads of the last call are taken for those of now, and a write that loses is sent again as another. */
  readonly retriesUnderNewTag?: boolean;
  /** A tag is (counter, writer): after an abort the next write of the same writer can have it, too. */
  readonly reusesTags?: boolean;
  /** A read takes a later write, met while it writes back, for a confirmation of the older one. */
  readonly readsAtLeast?: boolean;
  /** A write that meets later ones at a majority says that it failed. */
  readonly overtakenFails?: boolean;
  /** A conditional write looks, compares, and puts. */
  readonly looksThenPuts?: boolean;
}

interface Held {
  readonly tag: readonly [number, string, string];
  readonly value: string | undefined;
  readonly token: string | undefined;
}

const patienceMs = 600;

/** The register of Attiya, Bar-Noy and Dolev over compare-and-set, or what one might take for it. */
export function openNaive(naive: Naive): OpenRegister {
  return (sites, world, writer) => new NaiveRegister(naive, sites, world, writer);
}

class NaiveRegister implements SimulatedRegister {
  readonly #naive: Naive;
  readonly #sites: ReadonlyMap<SiteId, ObjectStore>;
  readonly #world: World;
  readonly #writer: string;
  readonly #majority: number;
  readonly #signal = new AbortController().signal;
  #last: Map<SiteId, Held> | undefined;

  constructor(naive: Naive, sites: ReadonlyMap<SiteId, ObjectStore>, world: World, writer: string) {
    this.#naive = naive;
    this.#sites = sites;
    this.#world = world;
    this.#writer = naive.reusesTags ? writer.split('-')[0]! : writer;
    this.#majority = Math.floor(sites.size / 2) + 1;
  }

  async get(key: string): Promise<{ readonly value: string; readonly tag: string } | undefined> {
    let seen = await this.#look(key);
    for (let round = 0; round < 8; round++) {
      const newest = newestOf(seen);
      const holders = [...seen.values()].filter((held) => order(held, newest) === 0).length;
      if (holders >= this.#majority) return answer(newest);
      const back = await this.#all((site) => this.#store(key, site, seen.get(site), newest));
      if (back.size < this.#majority) throw unavailable();
      if (this.#naive.readsAtLeast) return answer(newest);
      seen = new Map([...back].map(([site, { held }]) => [site, held]));
    }
    throw unavailable();
  }

  async write(key: string, value: string | undefined, condition?: StrongCondition) {
    const { retriesUnderNewTag, reusesTags, overtakenFails, looksThenPuts } = this.#naive;
    if (condition && !looksThenPuts) throw unavailable();
    let seen = (retriesUnderNewTag && this.#last) || (await this.#look(key));
    if (condition) {
      const held = await this.get(key);
      const holds = condition.kind === 'if-absent' ? !held : held?.tag === condition.tag;
      if (!holds) return { kind: 'conflict' } as const;
      seen = await this.#look(key);
    }
    for (let tries = 0; ; tries++) {
      const counter = newestOf(seen).tag[0] + 1;
      const next: Held = {
        tag: [counter, this.#writer, reusesTags ? '' : this.#world.uniqueId()],
        value,
        token: undefined,
      };
      const stored = await this.#all((site) =>
        this.#store(key, site, seen.get(site), next, retriesUnderNewTag === true),
      );
      const answers = [...stored.values()];
      const own = answers.filter(({ held }) => order(held, next) === 0).length;
      if (own >= this.#majority) return { kind: 'written', tag: name(next) } as const;
      const later = answers.filter(({ held }) => order(held, next) > 0).length;
      if (overtakenFails && later >= this.#majority) throw unavailable();
      if (!retriesUnderNewTag && answers.length >= this.#majority)
        return { kind: 'written', tag: name(next) } as const;
      if (!retriesUnderNewTag || tries === 3) throw new OutcomeUnknown(key, name(next), undefined);
      seen = await this.#look(key);
    }
  }

  async #look(key: string): Promise<Map<SiteId, Held>> {
    const seen = await this.#all((site) => this.#read(key, site));
    if (seen.size < this.#majority) throw unavailable();
    this.#last = seen;
    return seen;
  }

  /** Resolves with the first majority, or with what came in time. */
  #all<T>(call: (site: SiteId) => Promise<T>): Promise<Map<SiteId, T>> {
    const answers = new Map<SiteId, T>();
    return new Promise((resolve) => {
      for (const site of this.#sites.keys()) {
        call(site).then(
          (answer) => {
            answers.set(site, answer);
            if (answers.size >= this.#majority) resolve(new Map(answers));
          },
          () => {},
        );
      }
      void this.#world.sleep(patienceMs, this.#signal).then(() => resolve(new Map(answers)));
    });
  }

  async #read(key: string, site: SiteId): Promise<Held> {
    const read = await this.#sites.get(site)!.read(this.#name(key), {}, this.#signal);
    if (!read) return nothing;
    const text = Buffer.from(await read.bytes()).toString();
    const { token, metadata } = read.head;
    if (!this.#naive.tagInMetadata) return { ...(JSON.parse(text) as Held), token };
    return { tag: JSON.parse(metadata.user.tag!), value: text === '' ? undefined : text, token };
  }

  async #store(
    key: string,
    site: SiteId,
    seen: Held | undefined,
    next: Held,
    once = false,
  ): Promise<{ readonly held: Held }> {
    let held = seen;
    for (let round = 0; round < 8; round++) {
      held ??= await this.#read(key, site);
      if (order(held, next) >= 0) return { held };
      const { tag, value } = next;
      const condition: Condition =
        held.token === undefined ? { kind: 'absent' } : { kind: 'match', token: held.token };
      const write = this.#naive.tagInMetadata
        ? { body: Buffer.from(value ?? ''), metadata: { ...noMetadata, user: { tag: JSON.stringify(tag) } } }
        : { body: Buffer.from(JSON.stringify({ tag, value })), metadata: noMetadata };
      const store = this.#sites.get(site)!;
      const done = await store.write({ key: this.#name(key), condition, ...write }, this.#signal);
      if (done.kind === 'written') return { held: next };
      held = undefined;
      if (once) return { held: await this.#read(key, site) };
    }
    throw unavailable();
  }

  #name(key: string): string {
    return this.#naive.tagInMetadata ? key : `.isobar/naive/${key}`;
  }
}

const nothing: Held = { tag: [0, '', ''], value: undefined, token: undefined };

function newestOf(seen: ReadonlyMap<SiteId, Held>): Held {
  return [...seen.values()].reduce((max, held) => (order(held, max) > 0 ? held : max), nothing);
}

function order({ tag: a }: Held, { tag: b }: Held): number {
  if (a[0] !== b[0]) return a[0] - b[0];
  if (a[1] !== b[1]) return a[1] < b[1] ? -1 : 1;
  return a[2] === b[2] ? 0 : a[2] < b[2] ? -1 : 1;
}

function name({ tag }: Held): string {
  return tag.join('.');
}

function answer(held: Held) {
  return held.value === undefined ? undefined : { value: held.value, tag: name(held) };
}

function unavailable(): StoreFailure {
  return new StoreFailure('unavailable', 'no majority');
}
