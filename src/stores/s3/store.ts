import type {
  Capabilities,
  Condition,
  Conflict,
  DriverStore,
  ListEntry,
  ListRequest,
  ObjectHead,
  ObjectRead,
  PartReceipt,
  ReadOptions,
  Removed,
  StoreLimits,
  Token,
  Upload,
  UploadEntry,
  UploadPart,
  UploadRequest,
  WriteRequest,
  Written,
} from '../../ports/object-store.ts';
import { S3Bucket, type S3Options } from './bucket.ts';
import type { S3Config } from './config.ts';
import { headObject, readObject } from './observe.ts';
import { listPages, uploadPages } from './pages.ts';
import { sameWrite } from './token.ts';
import { abortUpload, completeUpload, startUpload, writePart } from './uploads.ts';
import { removeObject, writeObject } from './write.ts';

export type { S3Options } from './bucket.ts';
export { type S3Config, s3Capabilities, s3Limits } from './config.ts';
export type { KeyRules } from './keys.ts';

/**
 * A bucket of Amazon S3 or of a compatible server, below an optional prefix.
 *
 * - Metadata values that are not plain printable ASCII are sent as RFC 2047 encoded words, which is how S3
 *   itself shows them to other clients.
 * - Tags with characters that S3 does not take go into the metadata entry `isobar-tags`, coded as in a URL;
 *   all of them do where `capabilities.tags` is false.
 * - A token is ETag, time in seconds and version id; conditions send the ETag alone, as S3 knows no other.
 * - `digests.md5` is the ETag where it is an MD5. A listing does not tell encrypted objects apart, whose ETags
 *   only look like one: from the first such object that the store meets, listings report none.
 * - A read that begins at byte 0, or a head, of an object with tags costs one request more.
 *
 * Throws `misplaced` for an endpoint that is no address, `denied` for half of a key pair. Sends nothing.
 */
export function createS3Store(config: S3Config, options: S3Options = {}): DriverStore {
  return new S3Store(new S3Bucket(config, options));
}

class S3Store implements DriverStore {
  readonly #bucket: S3Bucket;
  readonly limits: StoreLimits;

  constructor(bucket: S3Bucket) {
    this.#bucket = bucket;
    this.limits = bucket.limits;
  }

  get capabilities(): Capabilities {
    return this.#bucket.capabilities;
  }

  settle(found: Capabilities): void {
    this.#bucket.settle(found);
  }

  head(key: string, signal: AbortSignal): Promise<ObjectHead | undefined> {
    return headObject(this.#bucket, key, signal);
  }

  read(key: string, options: ReadOptions, signal: AbortSignal): Promise<ObjectRead | undefined> {
    return readObject(this.#bucket, key, options, signal);
  }

  write(request: WriteRequest, signal: AbortSignal): Promise<Written | Conflict> {
    return writeObject(this.#bucket, request, signal);
  }

  startUpload(request: UploadRequest, signal: AbortSignal): Promise<Upload> {
    return startUpload(this.#bucket, request, signal);
  }

  writePart(upload: Upload, part: UploadPart, signal: AbortSignal): Promise<PartReceipt> {
    return writePart(this.#bucket, upload, part, signal);
  }

  completeUpload(
    upload: Upload,
    receipts: readonly PartReceipt[],
    commit: { readonly condition: Condition },
    signal: AbortSignal,
  ): Promise<Written | Conflict> {
    return completeUpload(this.#bucket, upload, receipts, commit.condition, signal);
  }

  abortUpload(upload: Pick<Upload, 'id' | 'key'>, signal: AbortSignal): Promise<void> {
    return abortUpload(this.#bucket, upload, signal);
  }

  listUploads(signal: AbortSignal): AsyncIterable<readonly UploadEntry[]> {
    return uploadPages(this.#bucket, signal);
  }

  remove(key: string, token: Token, signal: AbortSignal): Promise<Removed | Conflict> {
    return removeObject(this.#bucket, key, token, signal);
  }

  list(request: ListRequest, signal: AbortSignal): AsyncIterable<readonly ListEntry[]> {
    return listPages(this.#bucket, request, signal);
  }

  sameWrite(recorded: Token, seen: Token): boolean {
    return sameWrite(recorded, seen);
  }

  close(): Promise<void> {
    return this.#bucket.client.close();
  }
}
