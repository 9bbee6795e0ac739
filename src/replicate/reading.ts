import { createHash } from 'node:crypto';
import { hashOf } from '../hashing/hash.ts';
import { BodyDigest } from '../model/digest.ts';
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
  const { head } = read;
  const { bytes, lent } = await bytesInto(read, pooled);
  if (bytes.length !== head.size) {
    throw new StoreFailure(
      'corrupt',
      `${key}: ${bytes.length} of ${head.size} bytes arrived; it is tried again`,
    );
  }
  return { head, bytes, digest: await hashOf('sha256', bytes), ...(lent ? { lent } : {}) };
}

/** What arrived is what was written, by its digest where that is known, and otherwise by the store's MD5. */
export async function demandIntact(
  { head, bytes, digest }: Whole,
  site: SiteId,
  known: string | undefined,
): Promise<void> {
  const { md5 } = head.digests;
  if (known !== undefined ? known === digest : md5 === undefined || md5 === (await hashOf('md5', bytes)))
    return;
  throw new StoreFailure(
    'corrupt',
    `the body of ${head.key} at ${site} is not the one that was written there (digest differs, token does not); ` +
      'it was not copied. Compare the sites with "isobar verify --deep --repair"',
  );
}

/** The pieces of a whole body; throws `corrupt` at their end when they are not what was written, as far as can be told. */
export async function* verified(
  { head, body }: ObjectRead,
  key: string,
  digest: string | undefined,
): AsyncGenerator<Uint8Array> {
  const { md5 } = head.digests;
  const computed = digest === undefined ? new Md5() : new BodyDigest();
  for await (const piece of body) {
    computed.update(piece);
    yield piece;
  }
  const expected = digest ?? md5;
  if (expected !== undefined && computed.finish() !== expected) {
    throw new StoreFailure(
      'corrupt',
      `what arrived of ${key} is not what was written there (its digest differs): do not use it. Read it again, and ` +
        'compare the sites with "isobar verify --deep --repair"',
    );
  }
}

class Md5 {
  readonly #hash = createHash('md5');

  update(piece: Uint8Array): void {
    this.#hash.update(piece);
  }

  finish(): string {
    return this.#hash.digest('hex');
  }
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
