import { StoreFailure } from '../../model/failure.ts';
import type { ByteRange, ObjectHead, ObjectRead, ReadOptions } from '../../ports/object-store.ts';
import { bytesOf, type HttpAnswer, piecesOf, textOf } from '../http/send.ts';
import type { GcsApi } from './api.ts';
import { changed } from './failures.ts';
import type { HeadCache } from './head-cache.ts';
import { fieldsOfHead, headOf } from './resource.ts';
import { type Generation, ifMatch, parseToken } from './token.ts';

/** An object that is overwritten between the two requests of a read, this many times in a row, is `changed`. */
const maxAttempts = 8;

export async function readHead(
  api: GcsApi,
  key: string,
  signal: AbortSignal,
): Promise<ObjectHead | undefined> {
  const path = api.objectPath(api.prefix + key, { fields: fieldsOfHead });
  const answer = await api.call({ method: 'GET', path }, signal);
  if (answer.status !== 404) return headOf(key, api.resource(answer, `look at "${key}"`));
  await api.confirmBucket(signal);
  return undefined;
}

/**
 * The bytes come by one request, the metadata by a second one beside it, as the headers of a download lack the
 * user's metadata (JSON API) or tell a cache control that nobody set (XML API). The second one is saved when a
 * head or a listing told the metadata of the very write that is read, which is how replication reads.
 */
export class Reader {
  readonly #api: GcsApi;
  readonly #heads: HeadCache;

  constructor(api: GcsApi, heads: HeadCache) {
    this.#api = api;
    this.#heads = heads;
  }

  async read(key: string, options: ReadOptions, signal: AbortSignal): Promise<ObjectRead | undefined> {
    const { token, range } = options;
    const wanted = token === undefined ? undefined : parseToken(token);
    if (token !== undefined && wanted === undefined) throw changed(key);
    if (range !== undefined && range.to <= range.from) return this.#readNothing(key, options, signal);
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const read = await this.#attempt(key, wanted, options, signal);
      if (read !== 'overtaken') return read;
    }
    throw changed(key);
  }

  async #attempt(
    key: string,
    wanted: Generation | undefined,
    { token, range }: ReadOptions,
    signal: AbortSignal,
  ): Promise<ObjectRead | 'overtaken' | undefined> {
    const known = token === undefined ? undefined : this.#heads.get(key, token);
    const description = known === undefined ? readHead(this.#api, key, signal) : Promise.resolve(known);
    // Looked at below, when the bytes have been answered.
    description.catch(() => undefined);
    const media = await this.#openMedia(key, wanted, range, signal);
    let head: ObjectHead | undefined;
    try {
      head = await description;
    } catch (error) {
      if (media.kind === 'bytes') discard(media.answer);
      throw error;
    }
    if (media.kind === 'bytes') {
      if (head !== undefined && comesFrom(media.answer, head) && (token ?? head.token) === head.token) {
        this.#heads.put(head);
        return new OpenRead(head, media.answer, range, signal);
      }
      discard(media.answer);
    }
    // What is there is not what was wanted: absent, or another write.
    const now = known === undefined ? head : await readHead(this.#api, key, signal);
    if (now === undefined && media.kind !== 'bytes') return undefined;
    if (wanted === undefined || media.kind === 'absent') return 'overtaken';
    throw changed(key);
  }

  async #readNothing(
    key: string,
    { token }: ReadOptions,
    signal: AbortSignal,
  ): Promise<ObjectRead | undefined> {
    const head = await readHead(this.#api, key, signal);
    if (head === undefined) return undefined;
    if (token !== undefined && head.token !== token) throw changed(key);
    return emptyRead(head);
  }

  async #openMedia(
    key: string,
    wanted: Generation | undefined,
    range: ByteRange | undefined,
    signal: AbortSignal,
  ): Promise<{ kind: 'bytes'; answer: HttpAnswer } | { kind: 'absent' } | { kind: 'changed' }> {
    const condition = wanted === undefined ? {} : ifMatch(wanted);
    const path = this.#api.objectPath(this.#api.prefix + key, { alt: 'media', ...condition });
    // Without this the service unpacks what was stored with content encoding gzip.
    const headers: Record<string, string> = { 'accept-encoding': 'gzip' };
    if (range !== undefined) headers.range = `bytes=${range.from}-${range.to - 1}`;
    const answer = await this.#api.send({ method: 'GET', path, headers }, signal);
    // 416: the range begins behind the end, so it has no bytes.
    if (answer.status === 200 || answer.status === 206) return { kind: 'bytes', answer };
    const text = await textOf(answer, signal);
    if (answer.status === 416) return { kind: 'bytes', answer };
    if (answer.status === 404) return { kind: 'absent' };
    if (answer.status === 412 || answer.status === 304) return { kind: 'changed' };
    throw this.#api.failure({ status: answer.status, headers: answer.headers, text }, `read "${key}"`, true);
  }
}

/** Closes the connection: reading the rest of a large body would cost more than a new one. */
function discard(answer: HttpAnswer): void {
  answer.body.destroy();
}

/** Whether the bytes are of the write that `head` describes. A server need not tell the metageneration here. */
function comesFrom(answer: HttpAnswer, head: ObjectHead): boolean {
  const described = parseToken(head.token);
  const generation = answer.headers['x-goog-generation'];
  const metageneration = answer.headers['x-goog-metageneration'];
  if (generation === undefined) return answer.status === 416;
  if (generation !== described?.generation) return false;
  return metageneration === undefined || metageneration === described.metageneration;
}

function emptyRead(head: ObjectHead): ObjectRead {
  return {
    head,
    body: nothing(),
    bytes: async () => new Uint8Array(),
  };
}

class OpenRead implements ObjectRead {
  readonly head: ObjectHead;
  readonly #answer: HttpAnswer;
  readonly #signal: AbortSignal;
  /** How much of the answer goes before the range: a server may ignore a range and send everything. */
  readonly #skip: number;
  readonly #length: number;

  constructor(head: ObjectHead, answer: HttpAnswer, range: ByteRange | undefined, signal: AbortSignal) {
    const from = Math.min(range?.from ?? 0, head.size);
    const to = Math.min(range?.to ?? head.size, head.size);
    if (answer.status !== 416) checkStored(answer, head, from);
    this.head = head;
    this.#answer = answer;
    this.#signal = signal;
    this.#skip = answer.status === 200 ? from : 0;
    this.#length = answer.status === 416 ? 0 : to - from;
  }

  get body(): AsyncIterable<Uint8Array> {
    if (this.#answer.status === 416) return nothing();
    return window(piecesOf(this.#answer, this.#signal), this.#skip, this.#length);
  }

  async bytes(into?: Uint8Array): Promise<Uint8Array> {
    if (this.#answer.status === 416) return new Uint8Array();
    const whole = await bytesOf(this.#answer, this.#signal, into);
    const bytes = whole.subarray(this.#skip, this.#skip + this.#length);
    if (bytes.length < this.#length) throw endedEarly(this.#length - bytes.length);
    return bytes;
  }
}

function checkStored(answer: HttpAnswer, head: ObjectHead, from: number): void {
  const stored = answer.headers['x-goog-stored-content-encoding'];
  const sent = answer.headers['content-encoding'];
  const problem =
    stored !== undefined && (stored === 'gzip') !== (sent === 'gzip')
      ? 'packed or unpacked the body on its way'
      : answer.status === 206 && !(answer.headers['content-range'] ?? '').startsWith(`bytes ${from}-`)
        ? 'sent another range than was asked for'
        : undefined;
  if (problem === undefined) return;
  discard(answer);
  throw new StoreFailure('corrupt', `"${head.key}" cannot be read as it is stored: the server ${problem}`);
}

/** Exactly `length` bytes after the first `skip`. */
async function* window(
  pieces: AsyncIterable<Uint8Array>,
  skip: number,
  length: number,
): AsyncGenerator<Uint8Array> {
  let before = skip;
  let rest = length;
  for await (const piece of pieces) {
    const dropped = Math.min(before, piece.length);
    before -= dropped;
    const wanted = piece.subarray(dropped, dropped + rest);
    rest -= wanted.length;
    if (wanted.length > 0) yield wanted;
  }
  if (rest > 0) throw endedEarly(rest);
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

function endedEarly(missing: number): StoreFailure {
  return new StoreFailure('unavailable', `the answer ended ${missing} bytes early`);
}
