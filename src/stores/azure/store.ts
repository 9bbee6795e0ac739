import { randomBytes } from 'node:crypto';
import { StoreFailure } from '../../model/failure.ts';
import type { ObjectMetadata } from '../../model/metadata.ts';
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
import { defaultHttpSettings, HttpClient, type HttpSettings } from '../http/send.ts';
import { authorizerFor, type Credential } from './authorize.ts';
import { commitBlocks, removeBlob, writeBlob } from './commit.ts';
import { type AzureStoreConfig, resolveTarget } from './config.ts';
import { Container } from './container.ts';
import { tokenOf } from './head.ts';
import { listBlobs } from './listing.ts';
import { maxMetadataBytes, maxTags, metadataHeaders } from './metadata.ts';
import { checkName, maxNameLength } from './names.ts';
import { headBlob, readBlob } from './read.ts';
import {
  blockId,
  demandMarker,
  isUploadId,
  listMarkers,
  placeMarker,
  removeMarker,
  sendBlock,
  uploadLost,
} from './uploads.ts';

export interface AzureStoreOptions {
  /** What a probe found; default: what Azure itself promises. */
  readonly capabilities?: Capabilities;
  readonly http?: HttpSettings;
  /** Instead of the default credential, where the configuration holds no other secret. */
  readonly credential?: Credential;
  /** For dates and the age of tokens; default: the wall clock. */
  readonly nowMs?: () => number;
  /** 22 characters of base64url, unique for ever; default: 128 random bits. */
  readonly uniqueId?: () => string;
}

const azureCapabilities: Capabilities = {
  create: 'conditional',
  replace: 'conditional',
  complete: 'conditional',
  remove: 'conditional',
  tags: true,
  tokenIsContentDigest: false,
};

const mebibyte = 1024 * 1024;
const maxPartBytes = 4_000 * mebibyte;
const maxParts = 50_000;

/**
 * Block blobs of one container. Throws `denied` or `misplaced` when the configuration is not usable; sends
 * nothing before the first verb. The token is the ETag: every write makes a new one, of metadata too, but a
 * native change of index tags does not.
 */
export function createAzureStore(config: AzureStoreConfig, options: AzureStoreOptions = {}): DriverStore {
  const target = resolveTarget(config);
  const nowMs = options.nowMs ?? Date.now;
  const http = new HttpClient(options.http ?? defaultHttpSettings);
  const authorizer = authorizerFor(target.secret, nowMs, options.credential);
  const { tags } = options.capabilities ?? azureCapabilities;
  const container = new Container(target, http, authorizer, { nowMs, tags });
  return new AzureStore(container, http, options);
}

class AzureStore implements DriverStore {
  readonly limits: StoreLimits;
  capabilities: Capabilities;
  readonly #container: Container;
  readonly #http: HttpClient;
  readonly #uniqueId: () => string;

  constructor(container: Container, http: HttpClient, options: AzureStoreOptions) {
    this.#container = container;
    this.#http = http;
    this.#uniqueId = options.uniqueId ?? (() => randomBytes(16).toString('base64url'));
    this.capabilities = options.capabilities ?? azureCapabilities;
    // "Scalability and performance targets for Blob storage": 50,000 blocks of up to 4,000 MiB.
    this.limits = {
      maxKeyBytes: maxNameLength - Buffer.byteLength(container.target.prefix),
      maxWriteBytes: 64 * mebibyte,
      minPartBytes: 1,
      maxPartBytes,
      maxParts,
      maxObjectBytes: maxParts * maxPartBytes,
      maxMetadataBytes,
      maxTags,
      listsMetadata: true,
      metadataFixedAtStart: false,
    };
  }

  settle(found: Capabilities): void {
    this.capabilities = found;
    this.#container.usesTags = found.tags;
    this.#container.listsTags = found.tags;
  }

  async head(key: string, signal: AbortSignal): Promise<ObjectHead | undefined> {
    return headBlob(this.#container, { key, name: this.#name(key) }, signal);
  }

  async read(key: string, options: ReadOptions, signal: AbortSignal): Promise<ObjectRead | undefined> {
    return readBlob(this.#container, { key, name: this.#name(key) }, options, signal);
  }

  async write(request: WriteRequest, signal: AbortSignal): Promise<Written | Conflict> {
    const { key, body, metadata, condition } = request;
    const name = this.#name(key);
    this.#demand(condition.kind === 'absent' ? 'create' : 'replace', key, condition);
    const what = `writing ${JSON.stringify(key)}`;
    const limit = this.limits.maxWriteBytes;
    if (body.length > limit) {
      throw new StoreFailure('invalid', `${what}: it has ${body.length} bytes, and one write takes ${limit}`);
    }
    const headers = metadataHeaders(metadata, this.capabilities.tags);
    return writeBlob(this.#container, { name, headers, body, condition, id: this.#uniqueId(), what }, signal);
  }

  async startUpload(request: UploadRequest, signal: AbortSignal): Promise<Upload> {
    this.#name(request.key);
    // Refused now rather than after all parts were sent.
    metadataHeaders(request.metadata, this.capabilities.tags);
    const upload = { ...request, id: this.#uniqueId() };
    await placeMarker(this.#container, upload, signal);
    return upload;
  }

  async writePart(upload: Upload, part: UploadPart, signal: AbortSignal): Promise<PartReceipt> {
    const id = blockId(upload, part.index);
    const what = `writing part ${part.index} of ${JSON.stringify(upload.key)}`;
    const block = { name: this.#name(upload.key), id, bytes: part.bytes, what };
    // The service takes blocks of any upload, so that an abort must be looked for; at the same time, for it
    // costs no wait, and both to their end, for neither may go on unseen.
    const [stands, sent] = await Promise.allSettled([
      demandMarker(this.#container, upload, signal),
      sendBlock(this.#container, block, signal),
    ]);
    if (stands.status === 'rejected') throw stands.reason;
    if (sent.status === 'rejected') throw sent.reason;
    return id;
  }

  async completeUpload(
    upload: Upload,
    receipts: readonly PartReceipt[],
    commit: { readonly condition: Condition; readonly metadata: ObjectMetadata },
    signal: AbortSignal,
  ): Promise<Written | Conflict> {
    const { condition, metadata } = commit;
    const name = this.#name(upload.key);
    this.#demand('complete', upload.key, condition);
    const headers = metadataHeaders(metadata, this.capabilities.tags);
    if (!receipts.every((receipt, index) => receipt === blockId(upload, index))) {
      throw uploadLost(upload, this.#container.where, 'the receipts are not those of its parts');
    }
    await demandMarker(this.#container, upload, signal);
    const what = `completing the upload of ${JSON.stringify(upload.key)}`;
    const committed = await commitBlocks(
      this.#container,
      { name, ids: receipts, headers, condition, what },
      signal,
    );
    if (committed === 'conflict') return { kind: 'conflict' };
    // The object is committed whatever becomes of the marker; one that stays is swept as an abandoned upload.
    await removeMarker(this.#container, upload, signal).catch(() => {});
    return { kind: 'written', token: committed, digests: {} };
  }

  async abortUpload(upload: Pick<Upload, 'id' | 'key'>, signal: AbortSignal): Promise<void> {
    if (isUploadId(upload.id)) await removeMarker(this.#container, upload, signal);
  }

  listUploads(signal: AbortSignal): AsyncIterable<readonly UploadEntry[]> {
    return listMarkers(this.#container, signal);
  }

  async remove(key: string, token: Token, signal: AbortSignal): Promise<Removed | Conflict> {
    const name = this.#name(key);
    this.#demand('remove', key, { kind: 'match', token });
    const what = `removing ${JSON.stringify(key)}`;
    return { kind: await removeBlob(this.#container, { name, token, what }, signal) };
  }

  list(request: ListRequest, signal: AbortSignal): AsyncIterable<readonly ListEntry[]> {
    return listBlobs(this.#container, request, signal);
  }

  sameWrite(recorded: Token, seen: Token): boolean {
    return tokenOf(recorded) === tokenOf(seen);
  }

  async close(): Promise<void> {
    await this.#http.close();
  }

  /** The blob's name, checked. */
  #name(key: string): string {
    const name = this.#container.target.prefix + key;
    checkName(key, name);
    return name;
  }

  #demand(verb: 'create' | 'replace' | 'complete' | 'remove', key: string, condition: Condition): void {
    if (this.capabilities[verb] !== 'none') return;
    const wanted = condition.kind === 'absent' ? 'If-None-Match: *' : 'If-Match';
    throw new StoreFailure(
      'unsupported',
      `${this.#container.where} does not honour ${wanted} on ${verb}, so ${JSON.stringify(key)} was left alone. ` +
        'Use a store that does, or accept the risk by name in the policy.',
    );
  }
}
