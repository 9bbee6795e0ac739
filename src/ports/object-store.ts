import type { ObjectMetadata } from '../model/metadata.ts';

/**
 * Names one write of one key at one store: a generation, an ETag with its time, an inode with its times.
 * Opaque outside the driver, kept in the ledger as text, compared only with `sameWrite`.
 */
export type Token = string;

/** A write or delete takes effect only while this holds; there is no unconditional one. */
export type Condition = { readonly kind: 'absent' } | { readonly kind: 'match'; readonly token: Token };

/** How a store keeps a condition: atomically, by undoing what it hid (versioned bucket), or not at all. */
export type Assurance = 'conditional' | 'recoverable' | 'none';

/** What a store can promise, per verb; found by a probe, not believed. */
export interface Capabilities {
  /** `absent` on a write in one request. */
  readonly create: Assurance;
  /** `match` on a write in one request. */
  readonly replace: Assurance;
  /** Either condition on completing an upload in parts. */
  readonly complete: Assurance;
  /** `match` on a removal. */
  readonly remove: Assurance;
  /** Tags live beside the metadata; false: the driver keeps them in a metadata entry of its own. */
  readonly tags: boolean;
  /**
   * Which keys come back as they were written. `paths`: not with empty, `.` or `..` segments; `files`: neither
   * with control characters, nor bodies under a key that ends in a slash. Absent: any.
   */
  readonly keys?: 'any' | 'paths' | 'files';
  /** Equal bodies share a token's digest part (S3 ETag): X → Y → X can look unchanged to a condition. */
  readonly tokenIsContentDigest: boolean;
}

export interface StoreLimits {
  /** In bytes of UTF-8. */
  readonly maxKeyBytes: number;
  /** The largest body for `write`; larger ones go in parts. */
  readonly maxWriteBytes: number;
  /** Every part but the last is at least this large. */
  readonly minPartBytes: number;
  readonly maxPartBytes: number;
  readonly maxParts: number;
  readonly maxObjectBytes: number;
  /** Names and values of user metadata together, as the store counts them. */
  readonly maxMetadataBytes: number;
  readonly maxTags: number;
  /** Listings carry user metadata, so that no head is needed. */
  readonly listsMetadata: boolean;
  /** Metadata is fixed by `startUpload` (S3); false: by `completeUpload`. */
  readonly metadataFixedAtStart: boolean;
}

/** Digests the store itself reports, lower-case hex. Absent: the store does not know it. */
export interface StoreDigests {
  readonly md5?: string;
  readonly sha256?: string;
  /** Castagnoli. */
  readonly crc32c?: string;
}

export interface ListEntry {
  readonly key: string;
  readonly size: number;
  readonly token: Token;
  readonly lastModifiedMs: number;
  readonly digests: StoreDigests;
  /** Only from stores whose limits say `listsMetadata`. */
  readonly metadata?: ObjectMetadata;
}

export interface ObjectHead extends ListEntry {
  readonly metadata: ObjectMetadata;
}

/** Bytes `from` (inclusive) to `to` (exclusive); `to` may lie beyond the end. */
export interface ByteRange {
  readonly from: number;
  readonly to: number;
}

export interface ReadOptions {
  /** Read this write and no other: `changed` when the object is no longer it. */
  readonly token?: Token;
  /** A read that does not begin at byte 0 may leave `metadata.tags` empty. */
  readonly range?: ByteRange;
}

/** One opening of a body; consumed once, by either of the two. To restart, call `read` again. */
export interface ObjectRead {
  /** Of the whole object, `size` included, also when a range was asked for. */
  readonly head: ObjectHead;
  /** Streams the range; cancelling the iteration releases the connection. */
  readonly body: AsyncIterable<Uint8Array>;
  /**
   * The whole range in memory; the caller has bounded it. With `into`, where it is long enough, a view of that
   * (a driver may still return memory of its own).
   */
  bytes(into?: Uint8Array): Promise<Uint8Array>;
}

export interface WriteRequest {
  readonly key: string;
  /** The whole body, at most `limits.maxWriteBytes`; it can be sent again as often as needed. */
  readonly body: Uint8Array;
  readonly metadata: ObjectMetadata;
  readonly condition: Condition;
  /** Hex SHA-256 of `body` when the caller has it already: saves the driver from computing it again. */
  readonly sha256?: string;
  /** What to send instead when it is sent once more: an earlier sending may still take effect, and is told apart so. */
  readonly again?: () => WriteRequest;
  /** What it rests on is too old from then on: it is not sent any more (guarded-store.ts). Milliseconds since 1970. */
  readonly untilMs?: number;
}

export interface Written {
  readonly kind: 'written';
  readonly token: Token;
  readonly digests: StoreDigests;
}

/** The condition did not hold; expected, and answered by observing and deciding again. */
export interface Conflict {
  readonly kind: 'conflict';
  /** It was sent more than once: an earlier sending may have taken effect, and be what is met now. */
  readonly resent?: true;
}

export interface Removed {
  readonly kind: 'removed';
}

export interface UploadRequest {
  readonly key: string;
  readonly size: number;
  /** Every part but the last has this size; the caller keeps within the store's limits. */
  readonly partSizeBytes: number;
  readonly metadata: ObjectMetadata;
}

/** Survives a restart as JSON: another process can go on with it. */
export interface Upload extends UploadRequest {
  /** The store's own name for it. */
  readonly id: string;
  /** What else the driver must know of it to go on; nobody else's business. */
  readonly detail?: string;
}

export interface UploadPart {
  /** From 0. */
  readonly index: number;
  readonly bytes: Uint8Array;
  /** Hex SHA-256 of `bytes` when the caller has it already. */
  readonly sha256?: string;
}

export interface UploadCommit {
  readonly condition: Condition;
  readonly metadata: ObjectMetadata;
  /** As of a write. */
  readonly untilMs?: number;
}

/** What `completeUpload` needs to know of a part; text, kept in the ledger. */
export type PartReceipt = string;

export interface UploadEntry {
  readonly upload: Pick<Upload, 'id' | 'key'>;
  readonly startedMs: number;
}

export interface ListRequest {
  readonly prefix?: string;
  /** Keys strictly after this one. */
  readonly after?: string;
  /** Keys up to and including this one. */
  readonly until?: string;
  /** A hint for the size of one page; the store's own maximum holds. */
  readonly pageSize?: number;
}

/**
 * One bucket, container or folder. Every method may be called concurrently, stops when `signal` aborts
 * (throwing the signal's reason), and otherwise throws nothing but `StoreFailure`.
 * Below `.isobar/` it behaves as everywhere else: who may write there is not the store's business.
 */
export interface ObjectStore {
  readonly limits: StoreLimits;
  readonly capabilities: Capabilities;

  /** Undefined when absent: absence is an answer. An absent bucket is not: `misplaced`. */
  head(key: string, signal: AbortSignal): Promise<ObjectHead | undefined>;

  /** Undefined when absent. `changed` when `options.token` no longer names what is there. */
  read(key: string, options: ReadOptions, signal: AbortSignal): Promise<ObjectRead | undefined>;

  /**
   * All or nothing, durable when it resolves. The digest is computed in flight and compared with what the
   * store reports: `corrupt` when it differs. `unsupported` where the capability says `none`.
   */
  write(request: WriteRequest, signal: AbortSignal): Promise<Written | Conflict>;

  /** Begins an upload in parts; nothing is visible under the key until it is completed. */
  startUpload(request: UploadRequest, signal: AbortSignal): Promise<Upload>;

  /** Idempotent per index; parts may come in any order and in parallel. Durable when it resolves. */
  writePart(upload: Upload, part: UploadPart, signal: AbortSignal): Promise<PartReceipt>;

  /**
   * Commits all parts in one conditional request. `receipts` by index. `metadata` replaces what was given at
   * the start where `limits.metadataFixedAtStart` is false. After a conflict the parts may be gone.
   */
  completeUpload(
    upload: Upload,
    receipts: readonly PartReceipt[],
    commit: UploadCommit,
    signal: AbortSignal,
  ): Promise<Written | Conflict>;

  /** Idempotent: an upload that is already gone is no error. */
  abortUpload(upload: Pick<Upload, 'id' | 'key'>, signal: AbortSignal): Promise<void>;

  /** Uploads begun and neither completed nor aborted, whoever began them, in pages. */
  listUploads(signal: AbortSignal): AsyncIterable<readonly UploadEntry[]>;

  /** Removes exactly the write that `token` names. A key that is already absent is a conflict. */
  remove(key: string, token: Token, signal: AbortSignal): Promise<Removed | Conflict>;

  /**
   * Pages in the order of `compareKeys`, strictly increasing over all pages, complete when the iteration ends.
   * Whatever is not complete and in order throws (`broken-listing` or the store's own failure).
   * Keys below `.isobar/` are listed only when `prefix` begins with it.
   */
  list(request: ListRequest, signal: AbortSignal): AsyncIterable<readonly ListEntry[]>;

  /**
   * Whether `seen` (from head, read or list) is the write that `recorded` (from anywhere) names.
   * Pure. Needed because a store may tell less in its answer to a write than in a listing (S3: no time).
   */
  sameWrite(recorded: Token, seen: Token): boolean;

  close(): Promise<void>;
}

/** A store as its driver makes it: it promises what its provider does until it is told what a probe found. */
export interface DriverStore extends ObjectStore {
  settle(found: Capabilities): void;
}
