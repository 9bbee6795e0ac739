import { performance } from 'node:perf_hooks';
import type { StoreFailure } from '../../model/failure.ts';
import { bytesOf, type HttpAnswer, HttpClient, type HttpRequest, type HttpSettings } from '../http/send.ts';
import { type Address, addressOf, defaultRegion, type S3Config } from './config.ts';
import { type KeySource, keySourceOf } from './credentials.ts';
import { encodeKey, encodeQuery } from './encoding.ts';
import { type Asked, failureOf, type Refusal, refusalOf } from './failures.ts';
import { emptySha256, Signer, type SigningKeys } from './signer.ts';

export interface S3Request {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE';
  /** With the site's prefix. Absent: the bucket itself. */
  readonly key?: string;
  readonly query?: Readonly<Record<string, string | undefined>>;
  /** Lower-case names. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  /** Hex, of `body`. */
  readonly sha256?: string;
}

/** The clocks that signing and measuring need. */
export interface S3Clock {
  nowMs(): number;
  monotonicMs(): number;
}

export const systemClock: S3Clock = { nowMs: () => Date.now(), monotonicMs: () => performance.now() };

/** One bucket as requests see it: address, signature, and what a refusal means. */
export class S3Client {
  readonly clock: S3Clock;
  readonly #http: HttpClient;
  readonly #address: Address;
  readonly #bucket: string;
  readonly #region: string;
  readonly #signer: Signer;
  readonly #keys: KeySource;

  constructor(config: S3Config, clock: S3Clock, http?: HttpSettings) {
    this.clock = clock;
    this.#address = addressOf(config);
    this.#bucket = config.bucket;
    this.#region = config.region ?? defaultRegion;
    this.#signer = new Signer(this.#region);
    this.#keys = keySourceOf(config, () => clock.nowMs());
    this.#http = http === undefined ? new HttpClient() : new HttpClient(http);
  }

  async send(request: S3Request, signal: AbortSignal): Promise<HttpAnswer> {
    signal.throwIfAborted();
    const keys = this.#keys.keys();
    const ready = keys instanceof Promise ? await keys : keys;
    return this.#http.send(this.#signed(request, ready), signal);
  }

  /** Reads what an answer that is no success says, and gives the connection back. */
  async refusal(answer: HttpAnswer, signal: AbortSignal): Promise<Refusal> {
    const body = Buffer.from(await bytesOf(answer, signal)).toString('utf8');
    const refusal = refusalOf(answer.status, answer.headers, body);
    if (refusal.code === 'ExpiredToken' || refusal.code === 'InvalidToken') this.#keys.forget();
    return refusal;
  }

  failure(refusal: Refusal, request: Pick<S3Request, 'method' | 'key' | 'query'>): StoreFailure {
    return failureOf(refusal, this.#asked(request));
  }

  /** The last step for a request that has no expected refusal. */
  async failed(answer: HttpAnswer, request: S3Request, signal: AbortSignal): Promise<StoreFailure> {
    return this.failure(await this.refusal(answer, signal), request);
  }

  /** A success that no S3 server would give, as from a web site that says 200 to everything. */
  notS3(answer: HttpAnswer, request: S3Request): StoreFailure {
    const refusal = refusalOf(answer.status, answer.headers, '');
    return failureOf({ ...refusal, code: '', foreign: true, status: answer.status }, this.#asked(request));
  }

  close(): Promise<void> {
    return this.#http.close();
  }

  #signed(request: S3Request, keys: SigningKeys): HttpRequest {
    const { basePath, host, origin } = this.#address;
    const path = `${basePath}/${request.key === undefined ? '' : encodeKey(request.key)}`;
    const query = request.query === undefined ? '' : encodeQuery(request.query);
    const headers: Record<string, string> = { host, ...request.headers };
    if (request.method === 'PUT' || request.method === 'POST') {
      headers['content-length'] = String(request.body?.length ?? 0);
    }
    const payloadSha256 = request.sha256 ?? emptySha256;
    const signable = { method: request.method, path, query, headers, payloadSha256 };
    const signed = this.#signer.sign(signable, keys, this.clock.nowMs());
    const sent = {
      method: request.method,
      origin,
      path: query === '' ? path : `${path}?${query}`,
      headers: signed,
    };
    return request.body === undefined ? sent : { ...sent, body: request.body };
  }

  #asked(request: Pick<S3Request, 'method' | 'key' | 'query'>): Asked {
    const { key, method, query } = request;
    const verb = query?.['uploadId'] === undefined ? method : `${method} of an upload part or upload`;
    const what = key === undefined ? `${method} of the bucket` : `${verb} of ${JSON.stringify(key)}`;
    const nowMs = this.clock.nowMs();
    return { what, bucket: this.#bucket, origin: this.#address.origin, region: this.#region, nowMs };
  }
}
