import { hashOf } from '../hashing/hash.ts';
import { StoreFailure } from '../model/failure.ts';
import type { SiteId } from '../model/version.ts';
import type { ObjectHead, ObjectRead, ObjectStore, Token } from '../ports/object-store.ts';
import type { BodyPool } from './body-pool.ts';
import type { Site } from './shell.ts';

export interface Whole {
  readonly head: ObjectHead;
  readonly bytes: Uint8Array;
  readonly digest: string;
  /** Memory of the pool that the body stands in, to be given back. */
  readonly lent?: Uint8Array;
}

/** Memory from the pool, and what must be known to read into it. */
export interface PooledRead {
  readonly pool: BodyPool;
  /** Expected; of no harm when it is wrong. */
  readonly size: number;
}

/** Names one read of a whole body among the shared reads. */
export function wholeId(site: SiteId, key: string, token: Token): string {
  return `${site}\0${key}\0${token}`;
}

/** A small body, with the head that came with it. `changed` when the object is no longer the one named. */
export async function readWhole(
  store: ObjectStore,
  key: string,
  token: Token,
  signal: AbortSignal,
  pooled?: PooledRead,
): Promise<Whole> {
  const read = await store.read(key, { token }, signal);
  if (!read) throw new StoreFailure('changed', `${key} is gone; it is looked at again`);
  return wholeOf(read, key, pooled);
}

/** Throws `corrupt` when less or more arrives than the head said. */
export async function wholeOf(read: ObjectRead, key: string, pooled?: PooledRead): Promise<Whole> {
  const { bytes, lent } = await bytesInto(read, pooled);
  if (bytes.length !== read.head.size) {
    throw new StoreFailure(
      'corrupt',
      `${key}: ${bytes.length} of ${read.head.size} bytes arrived; it is tried again`,
    );
  }
  return { head: read.head, bytes, digest: await hashOf('sha256', bytes), ...(lent ? { lent } : {}) };
}

/** The range that was asked for, in memory of the pool where the driver uses it. */
export async function bytesInto(
  read: ObjectRead,
  pooled: PooledRead | undefined,
): Promise<{ bytes: Uint8Array; lent?: Uint8Array }> {
  const into = pooled?.pool.take(pooled.size);
  const bytes = await read.bytes(into);
  if (into && bytes.buffer === into.buffer) return { bytes, lent: into };
  pooled?.pool.give(into);
  return { bytes };
}

export function changed(source: Site, key: string): StoreFailure {
  return new StoreFailure(
    'changed',
    `${key} changed at ${source.id} while it was copied; it is looked at again`,
  );
}
