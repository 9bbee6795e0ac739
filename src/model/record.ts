import type { StoreDigests, Token } from '../ports/object-store.ts';
import type { SiteId, Vector, Version } from './version.ts';

/** What one site is known to hold of one key, and the proof. */
export interface Replica {
  readonly version: Version;
  /** Absent exactly when `version.deleted`. */
  readonly token?: Token;
  /** Bytes; 0 when deleted. */
  readonly size: number;
  /** See digest.ts; absent while nobody has read the body. */
  readonly digest?: string;
  /** As the store reports it. */
  readonly md5?: string;
  /** Hash of everything a user set beside the body. */
  readonly traits?: string;
  /** Writes this site has seen lose, beyond the past of `version`. */
  readonly seen?: Vector;
  /**
   * A deletion that was only noted: nothing was removed here, because nothing was known to be here. What turns up
   * with an older version is a late copy, not something that somebody brought back.
   */
  readonly noted?: true;
  /** Known from a listing alone: its metadata has not been read yet. */
  readonly unread?: true;
}

/** Everything known of a key. Sites that are absent were never seen to hold it. */
export interface KeyRecord {
  readonly key: string;
  readonly replicas: Readonly<Record<SiteId, Replica>>;
}

export function emptyRecord(key: string): KeyRecord {
  return { key, replicas: {} };
}

export function withReplica(record: KeyRecord, site: SiteId, replica: Replica): KeyRecord {
  return { key: record.key, replicas: { ...record.replicas, [site]: replica } };
}

/**
 * The same bytes and the same metadata. `undefined`: it cannot be told without reading the bodies.
 * An MD5 that differs proves nothing: with KMS encryption an S3 ETag looks like one and is none.
 */
export function sameContent(a: Replica, b: Replica): boolean | undefined {
  if (a.version.deleted || b.version.deleted) return a.version.deleted === b.version.deleted;
  if (a.size !== b.size) return false;
  if (a.traits !== undefined && b.traits !== undefined && a.traits !== b.traits) return false;
  if (a.traits === undefined || b.traits === undefined) return undefined;
  if (a.digest !== undefined && b.digest !== undefined) return a.digest === b.digest;
  if (a.size === 0 || (a.md5 !== undefined && a.md5 === b.md5)) return true;
  return undefined;
}

export function md5Of(digests: StoreDigests): { md5?: string } {
  return digests.md5 === undefined ? {} : { md5: digests.md5 };
}
