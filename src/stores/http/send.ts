import { Agent, type Dispatcher, errors } from 'undici';
import { StoreFailure } from '../../model/failure.ts';

/** One request as a driver composes it: `path` carries the query, `headers` are final (signed). */
export interface HttpRequest {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE' | 'PATCH';
  /** Scheme, host and port. */
  readonly origin: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Must be consumed or dumped on every path, or the connection is not used again. */
  readonly body: Dispatcher.ResponseData['body'];
}

export interface HttpSettings {
  readonly maxConnections: number;
  readonly connectTimeoutMs: number;
  /** Silence for this long, before the headers or between two pieces of the body, is a dead connection. */
  readonly silenceTimeoutMs: number;
}

export const defaultHttpSettings: HttpSettings = {
  maxConnections: 128,
  connectTimeoutMs: 5_000,
  silenceTimeoutMs: 15_000,
};

/** A pool of connections for one site; its end closes them all. */
export class HttpClient {
  readonly #agent: Agent;

  constructor(settings: HttpSettings = defaultHttpSettings) {
    this.#agent = new Agent({
      connections: settings.maxConnections,
      connect: { timeout: settings.connectTimeoutMs },
      headersTimeout: settings.silenceTimeoutMs,
      bodyTimeout: settings.silenceTimeoutMs,
      pipelining: 1,
    });
  }

  async send(request: HttpRequest, signal: AbortSignal): Promise<HttpAnswer> {
    signal.throwIfAborted();
    try {
      const answer = await this.#agent.request({
        method: request.method,
        origin: request.origin,
        path: request.path,
        headers: request.headers as Record<string, string>,
        body: request.body ?? null,
        // Else undici closes the connection after each HEAD, for servers that send a body with one.
        reset: false,
        signal,
      });
      return { status: answer.statusCode, headers: flatten(answer.headers), body: answer.body };
    } catch (cause) {
      throw connectionFailure(cause, request, signal);
    }
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }
}

/** The whole body in memory; broken connections become `unavailable`. */
export async function bytesOf(answer: HttpAnswer, signal: AbortSignal): Promise<Uint8Array> {
  try {
    return await answer.body.bytes();
  } catch (cause) {
    signal.throwIfAborted();
    throw new StoreFailure('unavailable', `the answer broke off: ${reasonOf(cause)}`, { cause });
  }
}

export async function textOf(answer: HttpAnswer, signal: AbortSignal): Promise<string> {
  return Buffer.from(await bytesOf(answer, signal)).toString('utf8');
}

/** Streams the body; broken connections become `unavailable`, an early end of the iteration closes it. */
export async function* piecesOf(answer: HttpAnswer, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  try {
    for await (const piece of answer.body) yield piece as Uint8Array;
  } catch (cause) {
    signal.throwIfAborted();
    throw new StoreFailure('unavailable', `the answer broke off: ${reasonOf(cause)}`, { cause });
  } finally {
    answer.body.destroy();
  }
}

function connectionFailure(cause: unknown, request: HttpRequest, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason;
  const what = `${request.method} to ${request.origin} failed: ${reasonOf(cause)}`;
  return new StoreFailure('unavailable', what, { cause });
}

function reasonOf(cause: unknown): string {
  if (cause instanceof errors.HeadersTimeoutError) return 'no answer within the time limit';
  if (cause instanceof errors.BodyTimeoutError) return 'the answer stalled';
  if (cause instanceof AggregateError && cause.errors[0] instanceof Error) return cause.errors[0].message;
  return cause instanceof Error ? cause.message : String(cause);
}

function flatten(headers: Record<string, string | string[] | undefined>): Record<string, string> {
  const flat: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) flat[name] = Array.isArray(value) ? value.join(', ') : value;
  }
  return flat;
}
