import { createHash, randomUUID } from 'node:crypto';
import { StoreFailure } from '../../model/failure.ts';
import { reservedPrefix } from '../../model/key.ts';
import type {
  Condition,
  Conflict,
  PartReceipt,
  Upload,
  UploadEntry,
  UploadPart,
  UploadRequest,
  Written,
} from '../../ports/object-store.ts';
import { checkListing, type GcsApi } from './api.ts';
import { combineCrc32c, crc32c, crc32cToBase64 } from './crc32c.ts';
import { type ResourceMetadata, resourceMetadataOf } from './metadata.ts';
import { asResource, fieldsOfWritten, type ObjectResource } from './resource.ts';
import { ifAbsent, ifMatch, type Query, queryOf } from './token.ts';
import { conflict, writtenOf } from './writing.ts';

/** What one compose request takes. */
const maxSources = 32;
/** Requests under way for one upload's own small chores (composing in levels, cleaning up). */
const lanes = 16;
/** Others may send the same part at the same time, with the same bytes; more than this is no race any more. */
const maxAttempts = 8;

/** A temporary object: a part, or several composed. */
interface Piece {
  readonly name: string;
  readonly generation: string;
  readonly crc: number;
  readonly size: number;
}

/**
 * Uploads in parts, as the service has none that are parallel, resumable and conditional at once: every part is
 * an object of its own below `.isobar/uploads/<id>/`, and `compose` joins up to 32 of them (more in levels) into
 * the key, under the condition. `start` beside the parts says what is being uploaded; whatever a crash leaves is
 * found by `list`.
 *
 * The temporaries live in the same bucket for as long as the upload takes. Soft delete (on by default, seven
 * days) or versioning keeps, and bills, them after their deletion: switch it off, or let a lifecycle rule
 * delete below `.isobar/uploads/`. A retention period on the bucket refuses their deletion altogether: they
 * then stay listed until it ends.
 */
export class Uploads {
  readonly #api: GcsApi;
  readonly #root: string;

  constructor(api: GcsApi) {
    this.#api = api;
    this.#root = `${api.prefix}${reservedPrefix}uploads/`;
  }

  async start(request: UploadRequest, signal: AbortSignal): Promise<Upload> {
    resourceMetadataOf(request.metadata);
    const upload: Upload = { ...request, id: randomUUID() };
    const { key, size, partSizeBytes } = request;
    const marker = Buffer.from(JSON.stringify({ key, size, partSizeBytes }));
    await this.#put(`${this.#folder(upload.id)}start`, marker, signal);
    return upload;
  }

  async writePart(upload: Upload, part: UploadPart, signal: AbortSignal): Promise<PartReceipt> {
    const name = `${this.#folder(upload.id)}${partName(part.index)}`;
    const begun = this.#isBegun(upload.id, signal);
    // Looked at below, when the part is written.
    begun.catch(() => undefined);
    const piece = await this.#put(name, part.bytes, signal);
    if (await begun) return receiptOf(piece);
    await this.#remove(piece, signal);
    throw lost(upload);
  }

  async complete(
    upload: Upload,
    receipts: readonly PartReceipt[],
    commit: { readonly condition: Condition; readonly metadata: Upload['metadata'] },
    signal: AbortSignal,
  ): Promise<Written | Conflict> {
    signal.throwIfAborted();
    const metadata = resourceMetadataOf(commit.metadata);
    const condition = queryOf(commit.condition);
    if (condition === undefined) return conflict;
    const folder = this.#folder(upload.id);
    const parts = receipts.map((receipt, index) => pieceOf(receipt, `${folder}${partName(index)}`));
    if (parts.length === 0) throw new StoreFailure('invalid', `the upload of "${upload.key}" has no parts`);
    const pieces = await this.#reduce(upload, parts, signal);
    const name = this.#api.prefix + upload.key;
    const made = await this.#compose(upload, name, pieces, metadata, condition, signal);
    if (made === undefined) return conflict;
    const whole = joined(name, pieces);
    const written = writtenOf(made, crc32cToBase64(whole.crc), whole.size);
    await this.#sweep(upload.id, signal);
    return written;
  }

  async abort(id: string, signal: AbortSignal): Promise<void> {
    // The marker last: what a crash leaves of an abort still says whose it is.
    await this.#removeAll(id, (name) => !name.endsWith('/start'), signal);
    await this.#removeAll(id, () => true, signal);
  }

  async *list(signal: AbortSignal): AsyncGenerator<readonly UploadEntry[]> {
    let group: ObjectResource[] = [];
    for await (const page of this.#pages(this.#root, signal)) {
      const entries: UploadEntry[] = [];
      for (const resource of page) {
        if (group[0] !== undefined && this.#idOf(group[0]) !== this.#idOf(resource)) {
          entries.push(await this.#entryOf(group, signal));
          group = [];
        }
        group = [...group.slice(-1), resource];
      }
      yield entries;
    }
    if (group.length > 0) yield [await this.#entryOf(group, signal)];
  }

  /** `start` is the last name of an upload's folder. Without it, what is left has no key: it can be aborted. */
  async #entryOf(group: readonly ObjectResource[], signal: AbortSignal): Promise<UploadEntry> {
    const last = group.at(-1)!;
    const key = last.name.endsWith('/start') ? await this.#keyIn(last.name, signal) : '';
    return { upload: { id: this.#idOf(last), key }, startedMs: Date.parse(last.updated) };
  }

  async #keyIn(marker: string, signal: AbortSignal): Promise<string> {
    const path = this.#api.objectPath(marker, { alt: 'media' });
    const answer = await this.#api.call({ method: 'GET', path }, signal);
    // Completed or aborted in between.
    if (answer.status === 404) return '';
    const { key } = this.#api.json(answer, 'read the beginning of an upload') as { key?: unknown };
    return typeof key === 'string' ? key : '';
  }

  #idOf(resource: ObjectResource): string {
    return resource.name.slice(this.#root.length).split('/', 1)[0]!;
  }

  #folder(id: string): string {
    if (!/^[0-9a-zA-Z-]+$/.test(id)) throw new StoreFailure('upload-lost', `there is no upload "${id}"`);
    return `${this.#root}${id}/`;
  }

  async #isBegun(id: string, signal: AbortSignal): Promise<boolean> {
    const path = this.#api.objectPath(`${this.#folder(id)}start`, { fields: 'name' });
    const answer = await this.#api.call({ method: 'GET', path }, signal);
    if (answer.status === 404) return false;
    this.#api.json(answer, 'find an upload');
    return true;
  }

  /** Until one request can take them all. Each level has names of its own, so that a second try finds its work. */
  async #reduce(upload: Upload, parts: readonly Piece[], signal: AbortSignal): Promise<readonly Piece[]> {
    let pieces = parts;
    for (let level = 1; pieces.length > maxSources; level++) {
      const below = pieces;
      pieces = await inLanes(Math.ceil(below.length / maxSources), async (group) => {
        const sources = below.slice(group * maxSources, (group + 1) * maxSources);
        return this.#composeTemporary(upload, `c${level}-${partName(group)}`, sources, signal);
      });
    }
    return pieces;
  }

  async #composeTemporary(
    upload: Upload,
    name: string,
    sources: readonly Piece[],
    signal: AbortSignal,
  ): Promise<Piece> {
    const whole = joined(this.#folder(upload.id) + name, sources);
    let condition = ifAbsent;
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const made = await this.#compose(upload, whole.name, sources, {}, condition, signal);
      if (made !== undefined) {
        writtenOf(made, crc32cToBase64(whole.crc), whole.size);
        return { ...whole, generation: made.generation };
      }
      const there = await this.#look(whole.name, signal);
      if (there === undefined) throw lost(upload);
      if (holds(there, whole)) return { ...whole, generation: there.generation };
      condition = ifMatch(there);
    }
    throw contended(upload.key);
  }

  /** Undefined when the condition did not hold. */
  async #compose(
    upload: Upload,
    name: string,
    sources: readonly Piece[],
    destination: ResourceMetadata,
    condition: Query,
    signal: AbortSignal,
  ): Promise<ObjectResource | undefined> {
    const body = JSON.stringify({
      sourceObjects: sources.map((piece) => ({
        name: piece.name,
        generation: piece.generation,
        objectPreconditions: { ifGenerationMatch: piece.generation },
      })),
      destination,
    });
    const path = this.#api.composePath(name, { fields: fieldsOfWritten, ...condition });
    const headers = { 'content-type': 'application/json' };
    const answer = await this.#api.call({ method: 'POST', path, headers, body }, signal);
    if (answer.status === 404) {
      await this.#api.confirmBucket(signal);
      throw lost(upload);
    }
    if (answer.status !== 412) return this.#api.resource(answer, `complete the upload of "${upload.key}"`);
    // The destination's condition or a part's: without its parts the upload is lost, whatever stands at the key.
    const first = await this.#look(sources[0]!.name, signal);
    if (first?.generation !== sources[0]!.generation) throw lost(upload);
    return undefined;
  }

  /** A temporary with these bytes, whoever wrote it: a repetition finds its own work and is done. */
  async #put(name: string, bytes: Uint8Array, signal: AbortSignal): Promise<Piece> {
    const wanted: Piece = { name, generation: '', crc: crc32c(bytes), size: bytes.length };
    let condition = ifAbsent;
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const path = this.#api.uploadPath({ uploadType: 'media', name, fields: fieldsOfWritten, ...condition });
      const headers = { 'content-type': 'application/octet-stream' };
      const answer = await this.#api.call({ method: 'POST', path, headers, body: bytes }, signal);
      if (answer.status !== 412) {
        const resource = this.#api.resource(answer, 'write a part');
        writtenOf(resource, crc32cToBase64(wanted.crc), wanted.size);
        return { ...wanted, generation: resource.generation };
      }
      const there = await this.#look(name, signal);
      if (there !== undefined && holds(there, wanted, bytes))
        return { ...wanted, generation: there.generation };
      // It arrived damaged, or was removed in between.
      condition = there === undefined ? ifAbsent : ifMatch(there);
    }
    throw contended(name);
  }

  async #look(name: string, signal: AbortSignal): Promise<ObjectResource | undefined> {
    const path = this.#api.objectPath(name, { fields: fieldsOfWritten });
    const answer = await this.#api.call({ method: 'GET', path }, signal);
    return answer.status === 404 ? undefined : this.#api.resource(answer, 'look at a part');
  }

  /** Best effort: the object is complete, and what is left here is found by `list`. */
  async #sweep(id: string, signal: AbortSignal): Promise<void> {
    try {
      await this.#removeAll(id, () => true, signal);
    } catch (error) {
      if (!(error instanceof StoreFailure) && error !== signal.reason) throw error;
    }
  }

  async #removeAll(id: string, chosen: (name: string) => boolean, signal: AbortSignal): Promise<void> {
    for await (const page of this.#pages(this.#folder(id), signal)) {
      const doomed = page.filter((resource) => chosen(resource.name));
      await inLanes(doomed.length, (i) => this.#remove(doomed[i]!, signal));
    }
  }

  /** Only this one: a part that was sent again meanwhile has another generation. */
  async #remove(
    { name, generation }: Pick<Piece, 'name' | 'generation'>,
    signal: AbortSignal,
  ): Promise<void> {
    const path = this.#api.objectPath(name, { ifGenerationMatch: generation });
    const answer = await this.#api.call({ method: 'DELETE', path }, signal);
    const gone = [200, 204, 404, 412].includes(answer.status);
    if (!gone) throw this.#api.failure(answer, 'remove a part');
  }

  async *#pages(prefix: string, signal: AbortSignal): AsyncGenerator<readonly ObjectResource[]> {
    let pageToken: string | undefined;
    do {
      const fields = 'kind,nextPageToken,items(name,generation,metageneration,updated)';
      const query: Query = { prefix, fields, ...(pageToken === undefined ? {} : { pageToken }) };
      const answer = await this.#api.call({ method: 'GET', path: this.#api.listPath(query) }, signal);
      const listing = checkListing(this.#api.json(answer, 'list uploads'));
      yield (listing.items ?? []).map(asResource);
      if (listing.nextPageToken !== undefined && listing.nextPageToken === pageToken) {
        throw new StoreFailure('broken-listing', 'the listing of uploads repeats itself');
      }
      pageToken = listing.nextPageToken;
    } while (pageToken !== undefined && pageToken !== '');
  }
}

/** Sorts by index, before `start` and after whatever is composed. */
function partName(index: number): string {
  return `p${String(index).padStart(5, '0')}`;
}

function receiptOf({ generation, crc, size }: Piece): PartReceipt {
  return `${generation}:${crc.toString(16)}:${size}`;
}

function pieceOf(receipt: PartReceipt, name: string): Piece {
  const match = /^(\d+):([0-9a-f]{1,8}):(\d+)$/.exec(receipt);
  if (match === null)
    throw new StoreFailure('upload-lost', 'a part has no receipt of this store; start again');
  return { name, generation: match[1]!, crc: Number.parseInt(match[2]!, 16), size: Number(match[3]) };
}

/** What these pieces are together; its generation is not known yet. */
function joined(name: string, pieces: readonly Piece[]): Piece {
  let crc = 0;
  let size = 0;
  for (const piece of pieces) {
    crc = combineCrc32c(crc, piece.crc, piece.size);
    size += piece.size;
  }
  return { name, generation: '', crc, size };
}

/** A server that tells no CRC32C (Google's always does) is believed by MD5. */
function holds(resource: ObjectResource, piece: Piece, bytes?: Uint8Array): boolean {
  if (Number(resource.size ?? 0) !== piece.size) return false;
  if (resource.crc32c !== undefined) return resource.crc32c === crc32cToBase64(piece.crc);
  return bytes !== undefined && resource.md5Hash === createHash('md5').update(bytes).digest('base64');
}

function contended(name: string): StoreFailure {
  return new StoreFailure('unavailable', `"${name}" is changed by somebody else all the time`);
}

function lost({ key }: Pick<Upload, 'key'>): StoreFailure {
  return new StoreFailure('upload-lost', `the upload of "${key}" or some of its parts are gone; start again`);
}

async function inLanes<T>(count: number, work: (index: number) => Promise<T>): Promise<T[]> {
  const results = new Array<T>(count);
  let next = 0;
  const lane = async () => {
    while (next < count) {
      const index = next++;
      results[index] = await work(index);
    }
  };
  await Promise.all(Array.from({ length: Math.min(lanes, count) }, lane));
  return results;
}
