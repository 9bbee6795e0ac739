import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { noMetadata, type ObjectMetadata } from '../../model/metadata.ts';
import type { Assurance, Capabilities, Condition, ObjectStore, Token } from '../../ports/object-store.ts';
import { sendInParts } from './parts.ts';

/** What a driver's test hands to the suite. */
export interface OpenedStore {
  readonly store: ObjectStore;
  close(): Promise<void>;
  /** A second, independent instance over the same bucket; the suite closes it. */
  readonly anotherOn?: () => Promise<ObjectStore>;
  /** A store of the same kind over a bucket, container or folder that does not exist: every verb must say `misplaced`. */
  readonly onAbsentBucket?: () => Promise<ObjectStore>;
  /** A store over the same bucket with credentials that are not valid: every verb must say `denied`. */
  readonly onWrongCredentials?: () => Promise<ObjectStore>;
  /** Keys that this store cannot hold and refuses as `invalid`; declared here or held. */
  readonly refusedKeys?: (key: string) => boolean;
  /** The server keeps objects as files, so `a` cannot stand beside `a/b`: those tests are skipped by name. */
  readonly keysAreFiles?: boolean;
  /** Where tests put objects when `store` itself can neither create nor complete: same bucket, full capabilities. */
  readonly seedThrough?: ObjectStore;
}

export type Verb = 'create' | 'replace' | 'complete' | 'remove';

/** 1 s granularity of S3's Last-Modified, and some. */
const distinguishableMs = 1_100;
const testTimeoutMs = 60_000;

/** The store under test, and a fresh place in it for every test. */
export class Subject {
  readonly #open: () => Promise<OpenedStore>;
  readonly #run = randomBytes(4).toString('hex');
  #opened: OpenedStore | undefined;
  #other: ObjectStore | undefined;
  #tests = 0;

  constructor(open: () => Promise<OpenedStore>) {
    this.#open = open;
  }

  async open(): Promise<void> {
    this.#opened = await this.#open();
    this.#other = await this.#opened.anotherOn?.();
  }

  async close(): Promise<void> {
    await this.#other?.close();
    await this.#opened?.close();
  }

  /** A named test that runs only where the store promises every verb of `needs`. */
  test(name: string, needs: readonly Verb[], run: (scratch: Scratch) => Promise<void>): void {
    test(name, { timeout: testTimeoutMs }, async (t) => {
      const scratch = this.#scratch(t);
      const lacking = needs.find((verb) => scratch.assurance(verb) === 'none');
      if (lacking !== undefined) return t.skip(`the store declares ${lacking}: none; its refusal is tested`);
      await runUnlessSkipped(t, () => run(scratch));
    });
  }

  #scratch(t: TestContext): Scratch {
    assert.ok(this.#opened, 'the store under test could not be opened');
    this.#tests += 1;
    return new Scratch(t, this.#opened, this.#other, `conf-${this.#run}/${this.#tests}/`);
  }
}

/** Ends a test as skipped, with a reason. */
export class Skipped extends Error {}

async function runUnlessSkipped(t: TestContext, run: () => Promise<void>): Promise<void> {
  try {
    await run();
  } catch (error) {
    if (!(error instanceof Skipped)) throw error;
    t.skip(error.message);
  }
}

/** One test's own corner of the bucket. */
export class Scratch {
  readonly opened: OpenedStore;
  readonly store: ObjectStore;
  /** The second instance, or the same one where the driver's test opens none. */
  readonly other: ObjectStore;
  /** Ends with a slash; nothing else writes below it. */
  readonly prefix: string;
  /** Aborts when the test runs out of time. */
  readonly signal: AbortSignal;

  constructor(t: TestContext, opened: OpenedStore, other: ObjectStore | undefined, prefix: string) {
    this.opened = opened;
    this.store = opened.store;
    this.other = other ?? opened.store;
    this.prefix = prefix;
    this.signal = t.signal;
  }

  key(name: string): string {
    return this.prefix + name;
  }

  assurance(verb: Verb): Assurance {
    return this.store.capabilities[verb];
  }

  refuses(key: string): boolean {
    return this.opened.refusedKeys?.(key) ?? false;
  }

  /** Puts an object where none is, by whatever the store can promise. */
  put(key: string, body: Uint8Array, metadata: ObjectMetadata = noMetadata): Promise<Token> {
    return this.#place(key, body, metadata, { kind: 'absent' }, 'create');
  }

  /** Overwrites the write that `token` names, by whatever the store can promise. */
  replace(
    key: string,
    token: Token,
    body: Uint8Array,
    metadata: ObjectMetadata = noMetadata,
  ): Promise<Token> {
    return this.#place(key, body, metadata, { kind: 'match', token }, 'replace');
  }

  /** Waits until an overwrite can be told by time, where tokens are digests. */
  async letTimePass(): Promise<void> {
    if (this.store.capabilities.tokenIsContentDigest) await sleep(distinguishableMs);
  }

  async #place(
    key: string,
    body: Uint8Array,
    metadata: ObjectMetadata,
    condition: Condition,
    verb: keyof Capabilities & Verb,
  ): Promise<Token> {
    const store = this.#placer(verb);
    const answer =
      store.capabilities[verb] === 'none'
        ? await sendInParts(store, { key, body, metadata, condition, signal: this.signal })
        : await store.write({ key, body, metadata, condition }, this.signal);
    assert.equal(answer.kind, 'written', `the test could not put ${JSON.stringify(key)}`);
    return answer.kind === 'written' ? answer.token : '';
  }

  #placer(verb: Verb): ObjectStore {
    if (this.assurance(verb) !== 'none' || this.assurance('complete') !== 'none') return this.store;
    if (this.opened.seedThrough) return this.opened.seedThrough;
    throw new Skipped(
      `the store declares ${verb}: none and complete: none, so the test has no object to work on`,
    );
  }
}
