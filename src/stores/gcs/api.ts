import { StoreFailure } from '../../model/failure.ts';
import { type HttpAnswer, HttpClient, type HttpRequest, textOf } from '../http/send.ts';
import { anonymous, type Credentials, GoogleCredentials } from './credentials.ts';
import { failureOf } from './failures.ts';
import { asResource, type ObjectResource } from './resource.ts';
import type { Query } from './token.ts';

export interface GcsConfig {
  readonly bucket: string;
  /** Everything, `.isobar/` included, lies below it; empty or ends with a slash. */
  readonly prefix?: string | undefined;
  /** Another server with the same JSON API. Over plain `http` no credentials are sent. */
  readonly endpoint?: string | undefined;
  /** A service account's key. Absent: application default credentials. */
  readonly keyFile?: string | undefined;
  readonly anonymous?: boolean | undefined;
  /** Who pays, when the bucket is requester-pays. */
  readonly userProject?: string | undefined;
}

const googleEndpoint = 'https://storage.googleapis.com';

export interface Call {
  readonly method: HttpRequest['method'];
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string;
}

/** An answer whose body is in memory. */
export interface TextAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
}

/** One bucket over the JSON API: addresses, credentials, and what an answer means. Names are full names. */
export class GcsApi {
  readonly prefix: string;
  readonly #bucket: string;
  readonly #origin: string;
  readonly #objects: string;
  readonly #uploads: string;
  readonly #userProject: Query;
  readonly #credentials: Credentials;
  readonly #http: HttpClient;

  constructor(config: GcsConfig, http: HttpClient = new HttpClient()) {
    const endpoint = new URL(config.endpoint ?? googleEndpoint);
    const bucket = encodeURIComponent(config.bucket);
    this.prefix = config.prefix ?? '';
    this.#bucket = config.bucket;
    this.#origin = endpoint.origin;
    const base = endpoint.pathname.replace(/\/$/, '');
    this.#objects = `${base}/storage/v1/b/${bucket}/o`;
    this.#uploads = `${base}/upload/storage/v1/b/${bucket}/o`;
    this.#userProject = config.userProject === undefined ? {} : { userProject: config.userProject };
    // A token on an unencrypted line would be anybody's.
    const open = config.anonymous === true || endpoint.protocol === 'http:';
    this.#credentials = open ? anonymous : new GoogleCredentials(config.keyFile);
    this.#http = http;
  }

  listPath(query: Query): string {
    return this.#objects + this.#encode(query);
  }

  objectPath(name: string, query: Query): string {
    return `${this.#objects}/${encode(name)}${this.#encode(query)}`;
  }

  composePath(name: string, query: Query): string {
    return `${this.#objects}/${encode(name)}/compose${this.#encode(query)}`;
  }

  uploadPath(query: Query): string {
    return this.#uploads + this.#encode(query);
  }

  async send(call: Call, signal: AbortSignal): Promise<HttpAnswer> {
    const credentials = await this.#credentials.headers(signal);
    const headers = { ...call.headers, ...credentials };
    return this.#http.send({ ...call, origin: this.#origin, headers }, signal);
  }

  async call(call: Call, signal: AbortSignal): Promise<TextAnswer> {
    const answer = await this.send(call, signal);
    return { status: answer.status, headers: answer.headers, text: await textOf(answer, signal) };
  }

  failure(answer: TextAnswer, doing: string, media = false): StoreFailure {
    return failureOf({ ...answer, what: `${doing} in bucket ${this.#bucket}`, media });
  }

  /** The JSON of a good answer; whatever else it is throws. */
  json(answer: TextAnswer, doing: string): unknown {
    if (answer.status !== 200) throw this.failure(answer, doing);
    try {
      return JSON.parse(answer.text);
    } catch (cause) {
      throw new StoreFailure(
        'misplaced',
        'the answer is not JSON: check `endpoint`, it is not a GCS endpoint',
        { cause },
      );
    }
  }

  resource(answer: TextAnswer, doing: string): ObjectResource {
    return asResource(this.json(answer, doing));
  }

  /**
   * The service answers 404 for an absent object and for an absent bucket, with one and the same code.
   * Absence of an object is believed only after the bucket has answered: throws `misplaced` otherwise.
   */
  async confirmBucket(signal: AbortSignal): Promise<void> {
    const doing = 'find objects';
    const answer = await this.call(
      { method: 'GET', path: this.listPath({ maxResults: '1', fields: 'kind' }) },
      signal,
    );
    checkListing(this.json(answer, doing));
  }

  close(): Promise<void> {
    return this.#http.close();
  }

  #encode(query: Query): string {
    let text = '';
    for (const [name, value] of Object.entries({ ...query, ...this.#userProject })) {
      text += `${text === '' ? '?' : '&'}${name}=${encode(value)}`;
    }
    return text;
  }
}

export interface ListingResource {
  readonly items?: readonly unknown[];
  readonly nextPageToken?: string;
}

/** An answer without any entry must still say that it is a listing: `{}` from a stranger is no empty bucket. */
export function checkListing(value: unknown): ListingResource {
  const kind = (value as { kind?: unknown } | null)?.kind;
  if (kind === 'storage#objects') return value as ListingResource;
  throw new StoreFailure('misplaced', 'the answer is no listing: check `endpoint`, it is not a GCS endpoint');
}

/** The API wants everything but unreserved characters encoded; encodeURIComponent leaves five more. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
