import { createHash, randomBytes } from 'node:crypto';
import { StoreFailure } from '../../model/failure.ts';
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
import {
  bytesOf,
  defaultHttpSettings,
  HttpClient,
  type HttpSettings,
  piecesOf,
  textOf,
} from '../http/send.ts';
import { authorizerFor, type Credential } from './authorize.ts';
import { type AzureStoreConfig, resolveTarget } from './config.ts';
import { type BlobRequest, Container } from './container.ts';
import { AzureError } from './failure.ts';
import { etagOf, headFromHeaders, md5FromBase64, tokenOf } from './head.ts';
import { listBlobs } from './listing.ts';
import { maxMetadataBytes, maxTags, metadataHeaders } from './metadata.ts';
import { checkName, maxNameLength } from './names.ts';
import { parseTags } from './page.ts';
import {
  blockId,
  blockListXml,
  demandMarker,
  isUploadId,
  listMarkers,
  placeMarker,
  removeMarker,
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
 * Block blobs of one container. Throws an Error for a person when the configuration is not usable; sends
 * nothing before the first verb. The token is the ETag: every write makes a new one, of metadata too, but a
 * native change of index tags does not.
 */
export function createAzureStore(config: AzureStoreConfig, options: AzureStoreOptions = {}): ObjectStore {
  const target = resolveTarget(config);
  const nowMs = options.nowMs ?? Date.now;
  const http = new HttpClient(options.http ?? defaultHttpSettings);
  const authorizer = authorizerFor(target.secret, nowMs, options.credential);
  const { tags } = options.capabilities ?? azureCapabilities;
  const container = new Container(target, http, authorizer, { nowMs, tags });
  return new AzureStore(container, http, options);
}

class AzureStore implements ObjectStore {
  readonly limits: StoreLimits;
  readonly capabilities: Capabilities;
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

  async head(key: string, signal: AbortSignal): Promise<ObjectHead | undefined> {
    const request = {
      method: 'HEAD',
      name: this.#name(key),
      what: `reading ${JSON.stringify(key)}`,
    } as const;
    const answer = await this.#container.send(request, signal);
    if (answer instanceof AzureError) return this.#absentOr(answer, request);
    await answer.body.dump();
    const head = headFromHeaders(key, answer.headers, this.#container.where);
    return this.#withTags(head, answer.headers, signal);
  }

  async read(key: string, options: ReadOptions, signal: AbortSignal): Promise<ObjectRead | undefined> {
    const { token, range } = options;
    const match = token === undefined ? undefined : etagOf(token);
    if (token !== undefined && match === undefined) throw this.#changed(key);
    if (range !== undefined && range.to <= range.from) return this.#readNothing(key, token, signal);
    const request = {
      method: 'GET',
      name: this.#name(key),
      headers: {
        ...(match === undefined ? {} : { 'if-match': match }),
        ...(range === undefined ? {} : { 'x-ms-range': `bytes=${range.from}-${range.to - 1}` }),
      },
      what: `reading ${JSON.stringify(key)}`,
    } as const;
    const answer = await this.#container.send(request, signal);
    if (answer instanceof AzureError) {
      if (answer.status === 416) return this.#readNothing(key, token, signal);
      if (answer.code !== 'ConditionNotMet') return this.#absentOr(answer, request);
      // The service says the same of an absent blob.
      if ((await this.head(key, signal)) === undefined) return undefined;
      throw this.#changed(key, answer);
    }
    try {
      const found = headFromHeaders(key, answer.headers, this.#container.where);
      const fromStart = (range?.from ?? 0) === 0;
      const head = fromStart ? await this.#withTags(found, answer.headers, signal) : found;
      return { head, body: piecesOf(answer, signal), bytes: () => bytesOf(answer, signal) };
    } catch (error) {
      answer.body.destroy();
      throw error;
    }
  }

  async write(request: WriteRequest, signal: AbortSignal): Promise<Written | Conflict> {
    const { key, body, metadata, condition } = request;
    const name = this.#name(key);
    this.#demand(condition.kind === 'absent' ? 'create' : 'replace', key, condition);
    if (body.length > this.limits.maxWriteBytes) {
      const limit = this.limits.maxWriteBytes;
      throw new StoreFailure(
        'invalid',
        `${JSON.stringify(key)} has ${body.length} bytes; one write takes ${limit}`,
      );
    }
    const described = metadataHeaders(metadata, this.capabilities.tags);
    const conditional = conditionHeaders(condition);
    if (conditional === undefined) return { kind: 'conflict' };
    const digest = createHash('md5').update(body).digest();
    const headers = {
      ...described,
      ...conditional,
      'x-ms-blob-type': 'BlockBlob',
      // The service compares, refuses damaged bytes, and keeps it with the blob.
      'content-md5': digest.toString('base64'),
    };
    const what = `writing ${JSON.stringify(key)}`;
    const answer = await this.#commit({ method: 'PUT', name, headers, body, what }, condition, signal);
    if (answer === 'conflict') return { kind: 'conflict' };
    const md5 = digest.toString('hex');
    const reported = md5FromBase64(answer['content-md5']);
    if (reported !== md5) {
      const said = reported === undefined ? 'reports no digest' : `reports the digest ${reported}`;
      throw new StoreFailure(
        'corrupt',
        `${what}: ${this.#container.where} ${said}, and ${md5} was sent. Try again.`,
      );
    }
    return { kind: 'written', token: this.#tokenIn(answer, what), digests: { md5 } };
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
    if (!isUploadId(upload.id))
      throw uploadLost(upload, this.#container.where, 'its id is not one of this store');
    const id = blockId(upload, part.index);
    const request = {
      method: 'PUT',
      name: this.#name(upload.key),
      query: { comp: 'block', blockid: id },
      headers: { 'content-md5': createHash('md5').update(part.bytes).digest('base64') },
      body: part.bytes,
      what: `writing part ${part.index} of ${JSON.stringify(upload.key)}`,
    } as const;
    // The service takes blocks of any upload, so that an abort must be looked for; at the same time, for it
    // costs no wait, and both to their end, for neither may go on unseen.
    const [stands, sent] = await Promise.allSettled([
      demandMarker(this.#container, upload, signal),
      this.#sendBlock(request, signal),
    ]);
    if (stands.status === 'rejected') throw stands.reason;
    if (sent.status === 'rejected') throw sent.reason;
    return id;
  }

  async #sendBlock(request: BlobRequest, signal: AbortSignal): Promise<void> {
    const answer = await this.#container.send(request, signal);
    if (answer instanceof AzureError) throw this.#container.failure(answer, request);
    await answer.body.dump();
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
    const described = metadataHeaders(metadata, this.capabilities.tags);
    const conditional = conditionHeaders(condition);
    if (conditional === undefined) return { kind: 'conflict' };
    if (!receipts.every((receipt, index) => receipt === blockId(upload, index))) {
      throw uploadLost(upload, this.#container.where, 'the receipts are not those of its parts');
    }
    await demandMarker(this.#container, upload, signal);
    const body = blockListXml(receipts);
    const headers = {
      ...described,
      ...conditional,
      'content-md5': createHash('md5').update(body).digest('base64'),
    };
    const what = `completing the upload of ${JSON.stringify(upload.key)}`;
    const query = { comp: 'blocklist' };
    const answer = await this.#commit({ method: 'PUT', name, query, headers, body, what }, condition, signal);
    if (answer === 'conflict') return { kind: 'conflict' };
    const token = this.#tokenIn(answer, what);
    // The object is committed whatever becomes of the marker; one that stays is swept as an abandoned upload.
    await removeMarker(this.#container, upload, signal).catch(() => {});
    return { kind: 'written', token, digests: {} };
  }

  async abortUpload(upload: Pick<Upload, 'id' | 'key'>, signal: AbortSignal): Promise<void> {
    if (isUploadId(upload.id)) await removeMarker(this.#container, upload, signal);
  }

  listUploads(signal: AbortSignal): AsyncIterable<readonly UploadEntry[]> {
    return listMarkers(this.#container, signal);
  }

  async remove(key: string, token: Token, signal: AbortSignal): Promise<Removed | Conflict> {
    const condition = { kind: 'match', token } as const;
    const name = this.#name(key);
    this.#demand('remove', key, condition);
    const conditional = conditionHeaders(condition);
    if (conditional === undefined) return { kind: 'conflict' };
    const headers = { ...conditional, 'x-ms-delete-snapshots': 'include' };
    const what = `removing ${JSON.stringify(key)}`;
    const answer = await this.#commit({ method: 'DELETE', name, headers, what }, condition, signal);
    return answer === 'conflict' ? { kind: 'conflict' } : { kind: 'removed' };
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

  /** Sends what changes a blob under a condition; the headers of the answer, or that the condition did not hold. */
  async #commit(
    request: BlobRequest,
    condition: Condition,
    signal: AbortSignal,
  ): Promise<Readonly<Record<string, string>> | 'conflict'> {
    const answer = await this.#container.send(request, signal);
    if (!(answer instanceof AzureError)) {
      await answer.body.dump();
      return answer.headers;
    }
    if (isConflict(answer, condition)) return 'conflict';
    throw this.#container.failure(answer, request);
  }

  #absentOr(error: AzureError, request: BlobRequest): undefined {
    if (error.code === 'BlobNotFound') return undefined;
    throw this.#container.failure(error, request);
  }

  #changed(key: string, cause?: unknown): StoreFailure {
    const what = `${JSON.stringify(key)} at ${this.#container.where} is no longer the object that was asked for`;
    return new StoreFailure('changed', `${what}. Look again.`, { cause });
  }

  #tokenIn(headers: Readonly<Record<string, string>>, what: string): Token {
    const token = tokenOf(headers.etag ?? '');
    if (token !== '') return token;
    throw new StoreFailure(
      'misplaced',
      `${what}: ${this.#container.where} answers without an ETag. Check the endpoint.`,
    );
  }

  /** An empty range, or one beyond the end: no body, but the head must be that of the same object. */
  async #readNothing(
    key: string,
    token: Token | undefined,
    signal: AbortSignal,
  ): Promise<ObjectRead | undefined> {
    const head = await this.head(key, signal);
    if (head === undefined) return undefined;
    if (token !== undefined && !this.sameWrite(token, head.token)) throw this.#changed(key);
    return { head, body: nothing(), bytes: async () => new Uint8Array(0) };
  }

  /** Index tags cost a request of their own, so they are asked for only where there are any. */
  async #withTags(
    head: ObjectHead,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<ObjectHead> {
    if (!this.capabilities.tags || Number(headers['x-ms-tag-count'] ?? 0) === 0) return head;
    const request = {
      method: 'GET',
      name: this.#name(head.key),
      query: { comp: 'tags' },
      // Not the tags of another write.
      headers: { 'x-ms-blob-if-match': `"${head.token}"` },
      what: `reading the tags of ${JSON.stringify(head.key)}`,
    } as const;
    const answer = await this.#container.send(request, signal);
    if (answer instanceof AzureError) {
      if (answer.code === 'ConditionNotMet' || answer.code === 'BlobNotFound')
        throw this.#changed(head.key, answer);
      throw this.#container.failure(answer, request);
    }
    const tags = parseTags(await textOf(answer, signal));
    return { ...head, metadata: { ...head.metadata, tags: { ...head.metadata.tags, ...tags } } };
  }
}

/** Undefined when the condition cannot hold whatever is there. */
function conditionHeaders(condition: Condition): Record<string, string> | undefined {
  if (condition.kind === 'absent') return { 'if-none-match': '*' };
  const match = etagOf(condition.token);
  return match === undefined ? undefined : { 'if-match': match };
}

/** 412 also says that somebody holds a lease: that is no lost race. */
function isConflict(error: AzureError, condition: Condition): boolean {
  if (error.code === 'ConditionNotMet' || error.code === 'TargetConditionNotMet') return true;
  return condition.kind === 'absent' ? error.code === 'BlobAlreadyExists' : error.code === 'BlobNotFound';
}

async function* nothing(): AsyncGenerator<Uint8Array> {}
