import type { StoreFailure } from '../../model/failure.ts';
import type { HttpAnswer, HttpClient, HttpRequest } from '../http/send.ts';
import type { Authorizer } from './authorize.ts';
import type { AzureTarget } from './config.ts';
import { type AzureError, errorOf, failureOf, isBlobService } from './failure.ts';
import { encodePath, encodeText } from './names.ts';

/** The first version with `startFrom` in List Blobs and conditions on Get Blob Tags. */
const serviceVersion = '2026-02-06';

export interface BlobRequest {
  readonly method: HttpRequest['method'];
  /** The full blob name, the site's prefix included; absent: the container itself. */
  readonly name?: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string;
  /** What is being done, for messages: `reading "a"`. */
  readonly what: string;
}

/** One container as the service speaks it: authorized requests, and errors as values of `AzureError`. */
export class Container {
  readonly target: AzureTarget;
  /** For messages. */
  readonly where: string;
  /** Whether index tags are written and read at all. */
  usesTags: boolean;
  /** Whether listings ask for them: until the service refuses. */
  listsTags: boolean;
  readonly #http: HttpClient;
  readonly #authorizer: Authorizer;
  readonly #nowMs: () => number;

  constructor(
    target: AzureTarget,
    http: HttpClient,
    authorizer: Authorizer,
    options: { readonly nowMs: () => number; readonly tags: boolean },
  ) {
    this.target = target;
    this.usesTags = options.tags;
    this.listsTags = options.tags;
    this.where = `Azure container "${target.container}" (${target.origin})`;
    this.#http = http;
    this.#authorizer = authorizer;
    this.#nowMs = options.nowMs;
  }

  /** A successful answer, or what the service said instead. Throws where there was no answer. */
  async send(request: BlobRequest, signal: AbortSignal): Promise<HttpAnswer | AzureError> {
    signal.throwIfAborted();
    const composed = this.#compose(request);
    const answer = await this.#http.send(await this.#authorizer.authorize(composed, signal), signal);
    const good = answer.status >= 200 && answer.status < 300 && isBlobService(answer.headers);
    if (good) return answer;
    if (answer.status === 401) this.#authorizer.forget();
    return errorOf(answer, signal);
  }

  failure(error: AzureError, request: Pick<BlobRequest, 'what'>): StoreFailure {
    return failureOf(error, request.what, this.where);
  }

  #compose({ method, name, query = {}, headers = {}, body }: BlobRequest): HttpRequest {
    const path = this.target.containerPath + (name === undefined ? '' : `/${encodePath(name)}`);
    const pairs = Object.entries(query).map(([key, value]) => `${key}=${encodeText(value)}`);
    return {
      method,
      origin: this.target.origin,
      path: pairs.length === 0 ? path : `${path}?${pairs.join('&')}`,
      headers: {
        ...headers,
        'x-ms-date': new Date(this.#nowMs()).toUTCString(),
        'x-ms-version': serviceVersion,
      },
      ...(body === undefined ? {} : { body }),
    };
  }
}
