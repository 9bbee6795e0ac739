import { randomUUID } from 'node:crypto';
import { StoreFailure } from '../../model/failure.ts';
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
import type { HttpClient } from '../http/send.ts';
import { GcsApi, type GcsConfig } from './api.ts';
import { HeadCache } from './head-cache.ts';
import { listObjects } from './listing.ts';
import { maxMetadataBytes, maxTags } from './metadata.ts';
import { Reader, readHead } from './reading.ts';
import { ifMatch, parseToken } from './token.ts';
import { Uploads } from './uploads.ts';
import { conflict, writeObject } from './writing.ts';

export type { GcsConfig } from './api.ts';

export interface GcsOptions {
  /** What a probe found; by default what Google's service promises. */
  readonly capabilities?: Partial<Capabilities>;
  readonly http?: HttpClient;
}

/** Google's own service keeps every condition atomically. */
export const gcsCapabilities: Capabilities = {
  create: 'conditional',
  replace: 'conditional',
  complete: 'conditional',
  remove: 'conditional',
  tags: false,
  tokenIsContentDigest: false,
};

const MiB = 1024 * 1024;
const maxNameBytes = 1024;

/** Google Cloud Storage over its JSON API. Nothing is sent before the first request. */
export function createGcsStore(config: GcsConfig, options: GcsOptions = {}): DriverStore {
  return new GcsStore(config, options);
}

class GcsStore implements DriverStore {
  readonly limits: StoreLimits;
  capabilities: Capabilities;
  readonly #api: GcsApi;
  readonly #heads = new HeadCache();
  readonly #reader: Reader;
  readonly #uploads: Uploads;
  /** Between the two parts of a write; unguessable, so that no body can hold it. */
  readonly #boundary = `isobar-${randomUUID()}`;

  constructor(config: GcsConfig, options: GcsOptions) {
    this.#api = new GcsApi(config, options.http);
    this.#reader = new Reader(this.#api, this.#heads);
    this.#uploads = new Uploads(this.#api);
    this.capabilities = { ...gcsCapabilities, ...options.capabilities };
    this.limits = {
      maxKeyBytes: maxNameBytes - Buffer.byteLength(this.#api.prefix),
      maxWriteBytes: 64 * MiB,
      minPartBytes: 1,
      // One request; the body is in memory, so larger ones serve nobody.
      maxPartBytes: 1024 * MiB,
      maxParts: 10_000,
      maxObjectBytes: 5 * 1024 * 1024 * MiB,
      maxMetadataBytes,
      maxTags,
      listsMetadata: true,
      metadataFixedAtStart: false,
    };
  }

  settle(found: Capabilities): void {
    this.capabilities = found;
  }

  async head(key: string, signal: AbortSignal): Promise<ObjectHead | undefined> {
    const head = await readHead(this.#api, key, signal);
    if (head !== undefined) this.#heads.put(head);
    return head;
  }

  read(key: string, options: ReadOptions, signal: AbortSignal): Promise<ObjectRead | undefined> {
    return this.#reader.read(key, options, signal);
  }

  async write(request: WriteRequest, signal: AbortSignal): Promise<Written | Conflict> {
    this.#demand(request.condition.kind === 'absent' ? 'create' : 'replace', request.condition);
    this.#checkKey(request.key);
    if (request.body.length > this.limits.maxWriteBytes) {
      throw new StoreFailure('invalid', `"${request.key}" is too large for one request; it must go in parts`);
    }
    return writeObject(this.#api, this.#boundary, request, signal);
  }

  async startUpload(request: UploadRequest, signal: AbortSignal): Promise<Upload> {
    this.#checkKey(request.key);
    const { maxParts, maxObjectBytes } = this.limits;
    if (request.size > maxObjectBytes || Math.ceil(request.size / request.partSizeBytes) > maxParts) {
      throw new StoreFailure(
        'invalid',
        `"${request.key}" is over ${maxObjectBytes} bytes or ${maxParts} parts`,
      );
    }
    return this.#uploads.start(request, signal);
  }

  writePart(upload: Upload, part: UploadPart, signal: AbortSignal): Promise<PartReceipt> {
    return this.#uploads.writePart(upload, part, signal);
  }

  async completeUpload(
    upload: Upload,
    receipts: readonly PartReceipt[],
    commit: { readonly condition: Condition; readonly metadata: Upload['metadata'] },
    signal: AbortSignal,
  ): Promise<Written | Conflict> {
    this.#demand('complete', commit.condition);
    return this.#uploads.complete(upload, receipts, commit, signal);
  }

  abortUpload(upload: Pick<Upload, 'id' | 'key'>, signal: AbortSignal): Promise<void> {
    return this.#uploads.abort(upload.id, signal);
  }

  listUploads(signal: AbortSignal): AsyncIterable<readonly UploadEntry[]> {
    return this.#uploads.list(signal);
  }

  async remove(key: string, token: Token, signal: AbortSignal): Promise<Removed | Conflict> {
    this.#demand('remove', { kind: 'match', token });
    signal.throwIfAborted();
    const wanted = parseToken(token);
    if (wanted === undefined) return conflict;
    const path = this.#api.objectPath(this.#api.prefix + key, ifMatch(wanted));
    const answer = await this.#api.call({ method: 'DELETE', path }, signal);
    if (answer.status === 200 || answer.status === 204) return { kind: 'removed' };
    if (answer.status === 412) return conflict;
    if (answer.status !== 404) throw this.#api.failure(answer, `remove "${key}"`);
    await this.#api.confirmBucket(signal);
    return conflict;
  }

  list(request: ListRequest, signal: AbortSignal): AsyncIterable<readonly ListEntry[]> {
    return listObjects(this.#api, this.#heads, request, signal);
  }

  sameWrite(recorded: Token, seen: Token): boolean {
    return recorded === seen;
  }

  close(): Promise<void> {
    return this.#api.close();
  }

  #demand(verb: 'create' | 'replace' | 'complete' | 'remove', condition: Condition): void {
    if (this.capabilities[verb] !== 'none') return;
    throw new StoreFailure(
      'unsupported',
      `this GCS server does not keep the condition "${condition.kind}" on ${verb}; use one that does, or accept the risk by name`,
    );
  }

  #checkKey(key: string): void {
    const problem = gcsNameProblem(this.#api.prefix + key);
    if (problem !== undefined) throw new StoreFailure('invalid', `GCS cannot hold "${key}": ${problem}`);
  }
}

/** Why an object cannot have this name, by the service's naming rules; undefined when it can. */
export function gcsNameProblem(name: string): string | undefined {
  if (name === '') return 'the name is empty';
  if (!name.isWellFormed()) return 'the name is not valid Unicode';
  const bytes = Buffer.byteLength(name);
  if (bytes > maxNameBytes) return `the name is ${bytes} bytes long in UTF-8 and ${maxNameBytes} are allowed`;
  if (/[\r\n]/.test(name)) return 'the name holds a carriage return or a line feed';
  if (name === '.' || name === '..') return `"${name}" is not allowed as a name`;
  if (name.startsWith('.well-known/acme-challenge/'))
    return 'names below .well-known/acme-challenge/ are reserved';
  return undefined;
}
