import { StoreFailure } from '../../model/failure.ts';
import { type AnswerBody, EndOfStream } from './body.ts';
import { wireRequest } from './head.ts';
import { Pool } from './pool.ts';

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
  /** Must be consumed, dumped or destroyed on every path, or the connection is not used again. */
  readonly body: AnswerBody;
}

export interface HttpSettings {
  readonly maxConnections: number;
  readonly connectTimeoutMs: number;
  /** Silence for this long, before the headers or between two pieces of the body, is a dead connection. */
  readonly silenceTimeoutMs: number;
  /** A connection that nobody used for this long is closed, before the server does. */
  readonly idleTimeoutMs: number;
}

export const defaultHttpSettings: HttpSettings = {
  maxConnections: 128,
  connectTimeoutMs: 5_000,
  silenceTimeoutMs: 15_000,
  idleTimeoutMs: 4_000,
};

/** HTTP/1.1 for one site, over connections that are used again; its end closes them all. */
export class HttpClient {
  readonly #settings: HttpSettings;
  readonly #pools = new Map<string, Pool>();
  #isClosed = false;

  constructor(settings: Partial<HttpSettings> = {}) {
    this.#settings = { ...defaultHttpSettings, ...settings };
  }

  /** Resolves with the head of the answer, whatever its status. Throws `unavailable` where there is none. */
  async send(request: HttpRequest, signal: AbortSignal): Promise<HttpAnswer> {
    signal.throwIfAborted();
    try {
      return await this.#send(request, signal);
    } catch (cause) {
      throw connectionFailure(cause, request, signal);
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const pool of this.#pools.values()) pool.close();
  }

  async #send(request: HttpRequest, signal: AbortSignal): Promise<HttpAnswer> {
    const pool = this.#pool(request.origin);
    const wire = wireRequest(request, pool.host);
    const connection = await pool.acquire(signal);
    const isUsed = connection.answered > 0;
    try {
      return await connection.exchange(wire, signal);
    } catch (cause) {
      // The server may close a connection just when it is used again. What only reads may be asked once more.
      const repeatable = request.method === 'GET' || request.method === 'HEAD';
      const wasStale = isUsed && !connection.hasAnswer && isClosing(cause);
      if (!repeatable || !wasStale || signal.aborted) throw cause;
      return (await pool.acquire(signal, true)).exchange(wire, signal);
    }
  }

  #pool(origin: string): Pool {
    const known = this.#pools.get(origin);
    if (known) return known;
    if (this.#isClosed) throw new Error('the client is closed');
    const pool = new Pool(new URL(origin), this.#settings);
    this.#pools.set(origin, pool);
    return pool;
  }
}

/** The whole body in memory, in `into` where it fits; broken connections become `unavailable`. */
export async function bytesOf(
  answer: HttpAnswer,
  signal: AbortSignal,
  into?: Uint8Array,
): Promise<Uint8Array> {
  try {
    return await answer.body.bytes(into);
  } catch (cause) {
    throw brokenOff(cause, signal);
  }
}

export async function textOf(answer: HttpAnswer, signal: AbortSignal): Promise<string> {
  const bytes = await bytesOf(answer, signal);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8');
}

/** Streams the body; broken connections become `unavailable`, an early end of the iteration closes it. */
export async function* piecesOf(answer: HttpAnswer, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  try {
    yield* answer.body;
  } catch (cause) {
    throw brokenOff(cause, signal);
  }
}

function brokenOff(cause: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason;
  return new StoreFailure('unavailable', `the answer broke off: ${reasonOf(cause)}`, { cause });
}

function connectionFailure(cause: unknown, request: HttpRequest, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason;
  if (cause instanceof StoreFailure) return cause;
  const what = `${request.method} to ${request.origin} failed: ${reasonOf(cause)}`;
  return new StoreFailure('unavailable', what, { cause });
}

function isClosing(cause: unknown): boolean {
  const code = (cause as { code?: unknown }).code;
  return cause instanceof EndOfStream || code === 'ECONNRESET' || code === 'EPIPE';
}

function reasonOf(cause: unknown): string {
  if (cause instanceof AggregateError && cause.errors[0] instanceof Error) return cause.errors[0].message;
  return cause instanceof Error ? cause.message : String(cause);
}
