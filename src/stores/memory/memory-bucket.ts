import { StoreFailure } from '../../model/failure.ts';
import type { ObjectMetadata } from '../../model/metadata.ts';
import type { World } from '../../ports/world.ts';
import { SortedKeys } from './sorted-keys.ts';

/** What a bucket needs of the world. */
export type BucketWorld = Pick<World, 'nowMs' | 'uniqueId'>;

/** One write, never changed afterwards: an overwrite puts another in its place. */
export interface StoredObject {
  readonly key: string;
  readonly body: Uint8Array;
  readonly metadata: ObjectMetadata;
  /** Differs between any two writes of a bucket, crashes included. */
  readonly generation: number;
  /** Of a whole body its MD5, of one sent in parts the MD5 of their MD5s and their count, as S3 does. */
  readonly etag: string;
  /** Hex; absent where the body came in parts. */
  readonly md5?: string;
  readonly lastModifiedMs: number;
}

export interface StoredPart {
  readonly bytes: Uint8Array;
  /** Hex. */
  readonly md5: string;
}

export interface StoredUpload {
  readonly id: string;
  readonly key: string;
  readonly metadata: ObjectMetadata;
  readonly startedMs: number;
  /** By index; changed only by `setPart`. */
  readonly parts: Map<number, StoredPart>;
}

/** What goes wrong with the bucket itself; may be changed at any time. */
export interface BucketFaults {
  /** A disk that lies: `sync` resolves and nothing is durable. */
  skipSync?: boolean;
  /** There is no such bucket. */
  absent?: boolean;
}

/**
 * What a server keeps: objects and open uploads, shared by any number of `MemoryStore`s. What was not synced
 * is visible and is lost by a crash.
 */
export class MemoryBucket {
  readonly world: BucketWorld;
  readonly faults: BucketFaults;
  /** Told of every change, those that a crash takes back included. */
  onChange:
    | ((key: string, before: StoredObject | undefined, after: StoredObject | undefined) => void)
    | undefined;
  readonly #objects = new Map<string, StoredObject>();
  readonly #keys = new SortedKeys();
  readonly #uploads = new Map<string, StoredUpload>();
  /** How to take back what is not durable yet, oldest first. */
  #unsynced: Array<() => void> = [];
  /** How many changes became durable or were lost before those in `#unsynced`. */
  #settled = 0;
  #crashes = 0;
  #generation = 0;

  constructor(options: { readonly world?: BucketWorld; readonly faults?: BucketFaults } = {}) {
    this.world = options.world ?? countingWorld();
    this.faults = options.faults ?? {};
  }

  /** How many objects there are. */
  get size(): number {
    return this.#objects.size;
  }

  nextGeneration(): number {
    this.#generation += 1;
    return this.#generation;
  }

  object(key: string): StoredObject | undefined {
    return this.#objects.get(key);
  }

  /** In key order from `start` on, itself included; not to be changed while it is walked. */
  *objects(start = ''): Generator<StoredObject, void, undefined> {
    for (const key of this.#keys.from(start)) yield this.#objects.get(key)!;
  }

  upload(id: string): StoredUpload | undefined {
    return this.#uploads.get(id);
  }

  uploads(): readonly StoredUpload[] {
    return [...this.#uploads.values()];
  }

  /** Undefined removes it. */
  setObject(key: string, object: StoredObject | undefined): void {
    const before = this.#objects.get(key);
    this.#unsynced.push(() => this.#apply(key, before));
    this.#apply(key, object);
  }

  /** Undefined removes it. */
  setUpload(id: string, upload: StoredUpload | undefined): void {
    const before = this.#uploads.get(id);
    this.#unsynced.push(() => putOrDelete(this.#uploads, id, before));
    putOrDelete(this.#uploads, id, upload);
  }

  setPart({ parts }: StoredUpload, index: number, part: StoredPart): void {
    const before = parts.get(index);
    this.#unsynced.push(() => putOrDelete(parts, index, before));
    parts.set(index, part);
  }

  /** Makes durable what was changed before this call. `unavailable` when a crash came first. */
  async sync(): Promise<void> {
    const crashes = this.#crashes;
    const changes = this.#settled + this.#unsynced.length;
    // A disk takes its time, and a crash may come in between.
    await Promise.resolve();
    if (crashes !== this.#crashes) {
      throw new StoreFailure(
        'unavailable',
        'the memory bucket crashed before the change was durable; try again',
      );
    }
    if (this.faults.skipSync || changes <= this.#settled) return;
    this.#unsynced.splice(0, changes - this.#settled);
    this.#settled = changes;
  }

  /** Power loss: what was not synced is gone, and whoever waits for its sync learns that it failed. */
  crash(): void {
    this.#crashes += 1;
    this.#settled += this.#unsynced.length;
    const lost = this.#unsynced;
    this.#unsynced = [];
    for (const takeBack of lost.reverse()) takeBack();
  }

  #apply(key: string, object: StoredObject | undefined): void {
    this.onChange?.(key, this.#objects.get(key), object);
    putOrDelete(this.#objects, key, object);
    if (object === undefined) this.#keys.delete(key);
    else this.#keys.add(key);
  }
}

function putOrDelete<K, V>(map: Map<K, V>, key: K, value: V | undefined): void {
  if (value === undefined) map.delete(key);
  else map.set(key, value);
}

/** Where nobody hands in a world: a clock that moves one millisecond each time it is read. */
function countingWorld(): BucketWorld {
  let nowMs = Date.UTC(2026, 0, 1);
  let ids = 0;
  return {
    nowMs: () => nowMs++,
    uniqueId: () => String(ids++).padStart(22, '0'),
  };
}
