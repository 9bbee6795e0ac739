import { sha256Hex } from '../model/digest.ts';
import { StoreFailure } from '../model/failure.ts';
import { keyProblem } from '../model/key.ts';
import { noMetadata, type ObjectMetadata } from '../model/metadata.ts';
import type { SiteId } from '../model/version.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import type { World } from '../ports/world.ts';
import type { Body } from '../replicate/attempt.ts';
import { bodyOf, contentBody, projectionEntry } from './body.ts';
import { type Collection, collectRemoval } from './collect.ts';
import { removal, type Value, type Versioned } from './head.ts';
import { collect, type Sightings } from './heads.ts';
import { inBackground, type Operation, operate, tagSent } from './operation.ts';
import { OutcomeUnknown } from './outcome-unknown.ts';
import { type Projection, project, projectTo } from './project.ts';
import { type Repair, repair } from './repair.ts';
import { settle } from './settle.ts';
import {
  assertSites,
  defaultStrongSettings,
  type StrongEvents,
  type StrongSettings,
  type StrongShell,
} from './shell.ts';
import { stage } from './staging.ts';
import { encodeTag, parseTag } from './tag.ts';
import { type StrongCondition, write, writeIf } from './write.ts';

export interface StrongParts {
  /** Three or five; a majority must answer. */
  readonly sites: ReadonlyMap<SiteId, ObjectStore>;
  readonly world: World;
  /** Names this process among all that write there: letters, digits, `-` and `_`. */
  readonly writer: string;
  readonly settings?: Partial<StrongSettings>;
  readonly events?: StrongEvents;
  /** `none`: keys that no native client reads, as leases. By default every write is projected in the background. */
  readonly projection?: 'background' | 'none';
}

/** What a key holds. Its body is read from where it stands; `changed` where a later write has taken its place. */
export interface StrongObject extends Body {
  readonly key: string;
  /** Names this write, for `if-match`. */
  readonly tag: string;
  /** See model/digest.ts. */
  readonly digest: string;
  readonly metadata: ObjectMetadata;
}

export type StrongWrite =
  | { readonly kind: 'written'; readonly tag: string }
  /** The condition did not hold. `tag` names what the key held instead; absent: nothing. */
  | { readonly kind: 'conflict'; readonly tag?: string };

export interface StrongPut {
  readonly metadata?: ObjectMetadata;
  readonly condition?: StrongCondition;
}

/**
 * A linearizable register per key, over the sites alone: docs/strong.md. Each call is about one key; there is no
 * write over several. Throws `OutcomeUnknown` where a write was sent and not confirmed; whatever else a write throws,
 * it has not taken effect and never will.
 */
export class StrongRegister {
  readonly #shell: StrongShell;
  readonly #projects: boolean;
  /** By site and key; true: asked again while it ran. */
  readonly #projecting = new Map<string, boolean>();

  constructor({ sites, world, writer, settings, events = {}, projection = 'background' }: StrongParts) {
    assertSites(sites);
    if (!/^[\w-]{1,64}$/.test(writer)) {
      throw new StoreFailure(
        'invalid',
        `the writer "${writer}" has other than 1 to 64 letters, digits, - and _`,
      );
    }
    this.#shell = {
      sites,
      world,
      writer,
      settings: { ...defaultStrongSettings, ...settings },
      events,
      background: new Set(),
    };
    this.#projects = projection === 'background';
  }

  /** Undefined when absent. One round trip where a majority agrees. `unavailable` without a majority. */
  async get(key: string, signal: AbortSignal): Promise<StrongObject | undefined> {
    this.#check(key);
    const held = await this.#operate(key, signal, settle);
    const { tag, value } = held;
    if (value.deleted) return undefined;
    const { size, digest, metadata } = value;
    const { read } = contentBody(this.#shell, key, { tag, value }, signal);
    return { key, tag: encodeTag(tag), size, digest, metadata, read };
  }

  /** Two round trips without a condition, three with one. Resolves when a majority has it durably. */
  async put(
    key: string,
    body: Body | Uint8Array,
    { metadata = noMetadata, condition }: StrongPut,
    signal: AbortSignal,
  ): Promise<StrongWrite> {
    this.#check(key, condition, metadata);
    const id = this.#shell.world.uniqueId();
    const source = body instanceof Uint8Array ? bodyOf(body) : body;
    if (source.size > this.#shell.settings.inlineBytes) {
      return this.#putLarge(key, id, source, metadata, condition, signal);
    }
    const inline = await source.read({ from: 0, to: source.size });
    const digest = sha256Hex(inline);
    const value: Value = { deleted: false, size: inline.length, digest, metadata, inline };
    return this.#write(key, id, value, condition, signal);
  }

  /** As a put; of a key that is absent, too. */
  async remove(
    key: string,
    condition: StrongCondition | undefined,
    signal: AbortSignal,
  ): Promise<StrongWrite> {
    this.#check(key, condition);
    return this.#write(key, this.#shell.world.uniqueId(), removal, condition, signal);
  }

  /** Puts under the native key of every site what the key holds. Idempotent, and never over a later one. */
  project(key: string, signal: AbortSignal): Promise<Projection> {
    this.#check(key);
    return project(this.#shell, key, signal);
  }

  /** Brings every site up: heads, staged bodies, native keys; and clears what nothing refers to any more. */
  repair(key: string, signal: AbortSignal): Promise<Repair> {
    this.#check(key);
    return repair(this.#shell, key, this.#projects, signal);
  }

  /** Forgets a removal that all sites have had for `settings.graceMs`. */
  collect(key: string, signal: AbortSignal): Promise<Collection> {
    this.#check(key);
    return collectRemoval(this.#shell, key, signal);
  }

  /** Until nothing goes on in the background. */
  async settled(): Promise<void> {
    while (this.#shell.background.size > 0) await Promise.all(this.#shell.background);
  }

  /** Looks while it stages; what it saw long before the body was there is looked at again. */
  async #putLarge(
    key: string,
    id: string,
    body: Body,
    metadata: ObjectMetadata,
    condition: StrongCondition | undefined,
    signal: AbortSignal,
  ): Promise<StrongWrite> {
    const { world, settings } = this.#shell;
    const begunMs = world.monotonicMs();
    const seen = condition ? undefined : this.#operate(key, signal, (operation) => collect(operation));
    const [value, early] = await Promise.all([
      stage(this.#shell, key, id, body, metadata, signal),
      seen?.catch(() => undefined),
    ]);
    const isFresh = world.monotonicMs() - begunMs < settings.timeoutMs;
    return this.#write(key, id, value, condition, signal, isFresh ? early : undefined);
  }

  async #write(
    key: string,
    id: string,
    value: Value,
    condition: StrongCondition | undefined,
    signal: AbortSignal,
    seen?: Sightings,
  ): Promise<StrongWrite> {
    const done = await this.#operate(
      key,
      signal,
      async (operation) => {
        if (condition) return writeIf(operation, value, condition);
        return write(operation, value, seen ?? (await collect(operation)));
      },
      id,
    );
    const tag = encodeTag(done.held.tag);
    if (done.kind === 'conflict')
      return done.held.value.deleted ? { kind: 'conflict' } : { kind: 'conflict', tag };
    if (this.#projects) this.#projectLater(key, done.held);
    return { kind: 'written', tag };
  }

  #operate<T>(
    key: string,
    signal: AbortSignal,
    run: (operation: Operation) => Promise<T>,
    id = this.#shell.world.uniqueId(),
  ): Promise<T> {
    return operate(this.#shell, key, id, signal, async (operation) => {
      try {
        return await run(operation);
      } catch (cause) {
        if (operation.sent) throw new OutcomeUnknown(key, tagSent(operation), cause);
        throw cause;
      }
    });
  }

  #projectLater(key: string, held: Versioned): void {
    for (const site of this.#shell.sites.keys()) {
      const name = `${site}\0${key}`;
      const running = this.#projecting.has(name);
      this.#projecting.set(name, running);
      if (!running) inBackground(this.#shell, this.#projectUntilQuiet(site, key, name, held));
    }
  }

  async #projectUntilQuiet(site: SiteId, key: string, name: string, held: Versioned): Promise<void> {
    const { signal } = new AbortController();
    try {
      await projectTo(this.#shell, site, key, signal, held);
      while (this.#projecting.get(name)) {
        this.#projecting.set(name, false);
        await projectTo(this.#shell, site, key, signal);
      }
    } catch (error) {
      this.#shell.events.failed?.({ site, key, error });
    } finally {
      this.#projecting.delete(name);
    }
  }

  #check(key: string, condition?: StrongCondition, metadata: ObjectMetadata = noMetadata): void {
    assertSites(this.#shell.sites);
    if (typeof key !== 'string') {
      const text = 'a strong write is about one key: there is none over several; write each by itself';
      throw new StoreFailure('unsupported', text);
    }
    const problem = keyProblem(key);
    if (problem) throw new StoreFailure('invalid', problem);
    if (condition?.kind === 'if-match' && !parseTag(condition.tag)) {
      throw new StoreFailure(
        'invalid',
        `"${condition.tag}" is no tag; a get or a put of the key tells its tag`,
      );
    }
    if (projectionEntry in metadata.user) {
      throw new StoreFailure('invalid', `the metadata name "${projectionEntry}" is Isobar's own`);
    }
  }
}
