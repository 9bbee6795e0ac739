import { hash } from 'node:crypto';
import { StoreFailure } from '../../model/failure.ts';
import { compareKeys, reservedPrefix } from '../../model/key.ts';
import type { ObjectMetadata } from '../../model/metadata.ts';
import type {
  Capabilities,
  Condition,
  Conflict,
  ListEntry,
  ListRequest,
  ObjectHead,
  ObjectRead,
  ObjectStore,
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
import { type BucketWorld, MemoryBucket, type StoredObject, type StoredUpload } from './memory-bucket.ts';
import { assertFits, assertMetadataFits, assertUploadFits, s3ShapedLimits } from './memory-limits.ts';
import { isWriteOf, namesSameWrite, seenToken, writtenToken } from './memory-token.ts';

const gcsShapedCapabilities: Capabilities = {
  create: 'conditional',
  replace: 'conditional',
  complete: 'conditional',
  remove: 'conditional',
  tags: true,
  tokenIsContentDigest: false,
};

const maxPageSize = 1_000;
const pieceBytes = 64 * 1024;
const conflict: Conflict = { kind: 'conflict' };

export interface MemoryStoreOptions {
  /** Shared with other stores; without it the store has one of its own. */
  readonly bucket?: MemoryBucket;
  /** For a bucket of its own. */
  readonly world?: BucketWorld;
  /** Over those of S3: `{ minPartBytes: 1 }` makes uploads cheap. */
  readonly limits?: Partial<StoreLimits>;
  /** Over everything `conditional` with tokens that are always new. */
  readonly capabilities?: Partial<Capabilities>;
  /** Every key of the bucket that this store sees or makes begins with it. */
  readonly prefix?: string;
}

/**
 * The contract in memory, for tests and simulations: nothing outlives the process. One turn of the microtask queue per request, everything else
 * deterministic: time and ids are those of the bucket's world.
 */
export class MemoryStore implements ObjectStore {
  readonly limits: StoreLimits;
  readonly capabilities: Capabilities;
  readonly bucket: MemoryBucket;
  readonly #prefix: string;

  constructor(options: MemoryStoreOptions = {}) {
    this.bucket = options.bucket ?? new MemoryBucket(options.world ? { world: options.world } : {});
    this.#prefix = options.prefix ?? '';
    const maxKeyBytes = s3ShapedLimits.maxKeyBytes - Buffer.byteLength(this.#prefix);
    this.limits = { ...s3ShapedLimits, maxKeyBytes, ...options.limits };
    this.capabilities = { ...gcsShapedCapabilities, ...options.capabilities };
  }

  async head(key: string, signal: AbortSignal): Promise<ObjectHead | undefined> {
    await this.#request(signal);
    const object = this.bucket.object(this.#prefix + key);
    return object && this.#headOf(object);
  }

  async read(key: string, options: ReadOptions, signal: AbortSignal): Promise<ObjectRead | undefined> {
    await this.#request(signal);
    const object = this.bucket.object(this.#prefix + key);
    if (object === undefined) return undefined;
    const head = this.#headOf(object);
    if (options.token !== undefined && !this.sameWrite(options.token, head.token)) {
      throw new StoreFailure('changed', `"${key}" was written again after it was observed; observe it again`);
    }
    const { from = 0, to = object.body.length } = options.range ?? {};
    return openingOf(head, object.body.subarray(from, Math.max(from, to)), signal);
  }

  async write(request: WriteRequest, signal: AbortSignal): Promise<Written | Conflict> {
    const { key, body, metadata, condition } = request;
    this.#demand(condition.kind === 'absent' ? 'create' : 'replace', `a write of "${key}"`, condition.kind);
    this.#assertFits(key, metadata);
    if (body.length > this.limits.maxWriteBytes) {
      throw new StoreFailure(
        'invalid',
        `"${key}" has ${body.length} bytes, too many for one write; send it in parts`,
      );
    }
    const kept = new Uint8Array(body);
    assertDigest(kept, request.sha256, key);
    await this.#request(signal);
    const md5 = hash('md5', kept, 'hex');
    return this.#commit(condition, {
      key: this.#prefix + key,
      body: kept,
      metadata: frozen(metadata),
      etag: md5,
      md5,
    });
  }

  async startUpload(request: UploadRequest, signal: AbortSignal): Promise<Upload> {
    this.#assertFits(request.key, request.metadata);
    assertUploadFits(request, this.limits);
    await this.#request(signal);
    const id = this.bucket.world.uniqueId();
    this.bucket.setUpload(id, {
      id,
      key: this.#prefix + request.key,
      metadata: frozen(request.metadata),
      startedMs: this.bucket.world.nowMs(),
      parts: new Map(),
    });
    await this.bucket.sync();
    return { ...request, id };
  }

  async writePart(upload: Upload, part: UploadPart, signal: AbortSignal): Promise<PartReceipt> {
    const bytes = new Uint8Array(part.bytes);
    assertDigest(bytes, part.sha256, upload.key);
    await this.#request(signal);
    const stored = this.#uploadOf(upload);
    const md5 = hash('md5', bytes, 'hex');
    this.bucket.setPart(stored, part.index, { bytes, md5 });
    await this.bucket.sync();
    return md5;
  }

  async completeUpload(
    upload: Upload,
    receipts: readonly PartReceipt[],
    commit: { readonly condition: Condition; readonly metadata: ObjectMetadata },
    signal: AbortSignal,
  ): Promise<Written | Conflict> {
    const { condition } = commit;
    this.#demand('complete', `completing an upload of "${upload.key}"`, condition.kind);
    if (!this.limits.metadataFixedAtStart) this.#assertFits(upload.key, commit.metadata);
    await this.#request(signal);
    const stored = this.#uploadOf(upload);
    const metadata = this.limits.metadataFixedAtStart ? stored.metadata : frozen(commit.metadata);
    const { body, etag } = joined(upload, stored, receipts);
    return this.#commit(condition, { key: stored.key, body, metadata, etag }, () => {
      this.bucket.setUpload(upload.id, undefined);
    });
  }

  async abortUpload(upload: Pick<Upload, 'id' | 'key'>, signal: AbortSignal): Promise<void> {
    await this.#request(signal);
    if (this.bucket.upload(upload.id)?.key !== this.#prefix + upload.key) return;
    this.bucket.setUpload(upload.id, undefined);
    await this.bucket.sync();
  }

  async *listUploads(signal: AbortSignal): AsyncGenerator<readonly UploadEntry[]> {
    await this.#request(signal);
    const entries = this.bucket
      .uploads()
      .filter(({ key }) => key.startsWith(this.#prefix))
      .map(({ id, key, startedMs }) => ({ upload: { id, key: key.slice(this.#prefix.length) }, startedMs }))
      .sort((a, b) => compareKeys(a.upload.key, b.upload.key) || compareKeys(a.upload.id, b.upload.id));
    for (let from = 0; from < entries.length; from += maxPageSize) {
      signal.throwIfAborted();
      yield entries.slice(from, from + maxPageSize);
    }
  }

  async remove(key: string, token: Token, signal: AbortSignal): Promise<Removed | Conflict> {
    this.#demand('remove', `a removal of "${key}"`, 'match');
    await this.#request(signal);
    if (!this.#holds({ kind: 'match', token }, this.#prefix + key)) return conflict;
    this.bucket.setObject(this.#prefix + key, undefined);
    await this.bucket.sync();
    return { kind: 'removed' };
  }

  async *list(request: ListRequest, signal: AbortSignal): AsyncGenerator<readonly ListEntry[]> {
    let { after } = request;
    for (;;) {
      await this.#request(signal);
      const page = this.#page(after === undefined ? request : { ...request, after });
      if (page.length === 0) return;
      yield page;
      after = page.at(-1)!.key;
    }
  }

  sameWrite(recorded: Token, seen: Token): boolean {
    return namesSameWrite(recorded, seen);
  }

  async close(): Promise<void> {}

  /** The way to the server and back: others may be served in between. */
  async #request(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await Promise.resolve();
    signal.throwIfAborted();
    if (this.bucket.faults.absent) {
      throw new StoreFailure('misplaced', 'the memory bucket does not exist; check the name of the site');
    }
  }

  #demand(
    verb: 'create' | 'replace' | 'complete' | 'remove',
    what: string,
    condition: Condition['kind'],
  ): void {
    if (this.capabilities[verb] !== 'none') return;
    throw new StoreFailure(
      'unsupported',
      `the memory store cannot promise ${what} under the condition "${condition}"; ` +
        `its capability "${verb}" is none: accept the risk by policy or use another store`,
    );
  }

  #assertFits(key: string, metadata: ObjectMetadata): void {
    assertFits(key, this.limits);
    assertMetadataFits(key, metadata, this.limits, this.capabilities);
  }

  /** Checks and changes in one turn, so that nobody comes in between; resolves when it is durable. */
  async #commit(
    condition: Condition,
    content: Pick<StoredObject, 'key' | 'body' | 'metadata' | 'etag' | 'md5'>,
    alongside: () => void = () => {},
  ): Promise<Written | Conflict> {
    if (!this.#holds(condition, content.key)) return conflict;
    const { bucket } = this;
    const object = { ...content, generation: bucket.nextGeneration(), lastModifiedMs: bucket.world.nowMs() };
    bucket.setObject(content.key, object);
    alongside();
    await bucket.sync();
    return { kind: 'written', token: writtenToken(object, this.capabilities), digests: digestsOf(object) };
  }

  #holds(condition: Condition, bucketKey: string): boolean {
    const object = this.bucket.object(bucketKey);
    if (condition.kind === 'absent') return object === undefined;
    return object !== undefined && isWriteOf(condition.token, object, this.capabilities);
  }

  #uploadOf(upload: Upload): StoredUpload {
    const stored = this.bucket.upload(upload.id);
    if (stored?.key === this.#prefix + upload.key) return stored;
    throw new StoreFailure(
      'upload-lost',
      `the upload of "${upload.key}" was completed or aborted; start again`,
    );
  }

  #page(request: ListRequest): ListEntry[] {
    const { prefix = '', after, until } = request;
    const size = Math.max(1, Math.min(request.pageSize ?? maxPageSize, maxPageSize));
    const showsReserved = prefix.startsWith(reservedPrefix);
    const page: ListEntry[] = [];
    for (const object of this.#walk(prefix, after, showsReserved)) {
      const key = object.key.slice(this.#prefix.length);
      if (page.length === size || !key.startsWith(prefix)) break;
      if (until !== undefined && compareKeys(key, until) > 0) break;
      page.push(this.#entryOf(object));
    }
    return page;
  }

  /** Objects that follow `after` and may begin with `prefix`; what is reserved is jumped over, not walked. */
  *#walk(prefix: string, after: string | undefined, showsReserved: boolean): Generator<StoredObject> {
    const start = after !== undefined && compareKeys(after, prefix) > 0 ? after : prefix;
    let from: string | undefined = this.#prefix + start;
    while (from !== undefined) {
      const reached: string = from;
      from = undefined;
      for (const object of this.bucket.objects(reached)) {
        if (!object.key.startsWith(this.#prefix)) return;
        const key = object.key.slice(this.#prefix.length);
        if (key === after) continue;
        if (!showsReserved && key.startsWith(reservedPrefix)) {
          from = this.#prefix + behindReserved;
          break;
        }
        yield object;
      }
    }
  }

  #entryOf(object: StoredObject): ListEntry {
    const { metadata, ...entry } = this.#headOf(object);
    return this.limits.listsMetadata ? { ...entry, metadata } : entry;
  }

  #headOf(object: StoredObject): ObjectHead {
    return {
      key: object.key.slice(this.#prefix.length),
      size: object.body.length,
      token: seenToken(object, this.capabilities),
      lastModifiedMs: object.lastModifiedMs,
      digests: digestsOf(object),
      metadata: object.metadata,
    };
  }
}

/** The first possible key after everything below `.isobar/`: "0" follows "/". */
const behindReserved = `${reservedPrefix.slice(0, -1)}0`;

function digestsOf(object: StoredObject): { readonly md5?: string } {
  return object.md5 === undefined ? {} : { md5: object.md5 };
}

function frozen(metadata: ObjectMetadata): ObjectMetadata {
  return Object.freeze({
    ...metadata,
    user: Object.freeze({ ...metadata.user }),
    tags: Object.freeze({ ...metadata.tags }),
  });
}

/** What the caller says of its bytes must be true of those that arrived. */
function assertDigest(bytes: Uint8Array, sha256: string | undefined, key: string): void {
  if (sha256 === undefined || hash('sha256', bytes, 'hex') === sha256) return;
  throw new StoreFailure(
    'corrupt',
    `the bytes of "${key}" differ from their SHA-256: they changed on the way; send them again`,
  );
}

function openingOf(head: ObjectHead, range: Uint8Array, signal: AbortSignal): ObjectRead {
  return {
    head,
    body: piecesOf(range, signal),
    bytes: async () => {
      signal.throwIfAborted();
      return new Uint8Array(range);
    },
  };
}

async function* piecesOf(range: Uint8Array, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  for (let from = 0; from < range.length; from += pieceBytes) {
    signal.throwIfAborted();
    yield new Uint8Array(range.subarray(from, from + pieceBytes));
  }
}

/** The body of all parts, if they are the ones that the receipts name. */
function joined(
  upload: Upload,
  stored: StoredUpload,
  receipts: readonly PartReceipt[],
): { readonly body: Uint8Array; readonly etag: string } {
  const parts = receipts.map((receipt, index) => {
    const part = stored.parts.get(index);
    return part?.md5 === receipt ? part : undefined;
  });
  const whole = parts.filter((part) => part !== undefined);
  const body = new Uint8Array(Buffer.concat(whole.map((part) => part.bytes)));
  if (whole.length !== parts.length || body.length !== upload.size) {
    throw new StoreFailure('upload-lost', `parts of the upload of "${upload.key}" are missing; start again`);
  }
  const etag = `${hash('md5', Buffer.from(whole.map((part) => part.md5).join(''), 'hex'), 'hex')}-${whole.length}`;
  return { body, etag };
}
