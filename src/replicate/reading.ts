import { sha256Hex } from '../model/digest.ts';
import { StoreFailure } from '../model/failure.ts';
import type { SiteId } from '../model/version.ts';
import type { ObjectHead, ObjectStore, Token } from '../ports/object-store.ts';
import type { Site } from './shell.ts';

export interface Whole {
  readonly head: ObjectHead;
  readonly bytes: Uint8Array;
  readonly digest: string;
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
): Promise<Whole> {
  const read = await store.read(key, { token }, signal);
  if (!read) throw new StoreFailure('changed', `${key} is gone; it is looked at again`);
  const bytes = await read.bytes();
  if (bytes.length !== read.head.size) {
    throw new StoreFailure(
      'corrupt',
      `${key}: ${bytes.length} of ${read.head.size} bytes arrived; it is tried again`,
    );
  }
  return { head: read.head, bytes, digest: sha256Hex(bytes) };
}

export function changed(source: Site, key: string): StoreFailure {
  return new StoreFailure(
    'changed',
    `${key} changed at ${source.id} while it was copied; it is looked at again`,
  );
}
