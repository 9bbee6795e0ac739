import { connect as connectTcp, isIP, type OnReadOpts, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { EndOfStream, IncomingBody } from './body.ts';
import { type AnswerHead, parseHead, type WireRequest } from './head.ts';
import type { HttpAnswer, HttpSettings } from './send.ts';

const ownBufferBytes = 32 * 1024;
/** Those of interim answers included. */
const maxHeadBytes = 64 * 1024;
/** Header and body go in one piece up to here. */
const joinedBytes = 32 * 1024;
/** Given more at once, TLS keeps a copy of all of it, takes three times as long and shows no life meanwhile. */
const tlsPortionBytes = 256 * 1024;
const endOfHead = Buffer.from('\r\n\r\n');

/** What a pool needs to know of its connections. */
export interface Keeper {
  /** The connection can carry another request. */
  readonly free: (connection: Connection) => void;
  readonly gone: (connection: Connection) => void;
  /** For a faster next handshake. */
  session: Buffer | undefined;
}

interface Exchange {
  readonly method: WireRequest['method'];
  readonly resolve: (answer: HttpAnswer) => void;
  readonly reject: (error: Error) => void;
  readonly forgetSignal: () => void;
}

/**
 * One connection to a server, one request at a time. Reads into memory of its own or of the body that is being
 * received (`onread` of node:net): a stream would allocate and copy every 64 KiB, see docs/decisions/http-client.md.
 */
export class Connection {
  readonly #socket: Socket;
  readonly #keeper: Keeper;
  readonly #settings: HttpSettings;
  readonly #portionBytes: number;
  readonly #own = Buffer.allocUnsafeSlow(ownBufferBytes);
  #target: Uint8Array = this.#own;
  #exchange: Exchange | undefined;
  #head: AnswerHead | undefined;
  #headBytes: Buffer | undefined;
  #body: IncomingBody | undefined;
  #isConnected = false;
  #isSent = true;
  #isPaused = false;
  #idleMs: number;
  #failure: Error | undefined;
  /** Requests that were answered; 0: it may never have worked. */
  answered = 0;
  /** Of the exchange under way; a request of which nothing was answered may be sent again if that does no harm. */
  hasAnswer = false;

  constructor(origin: URL, settings: HttpSettings, keeper: Keeper) {
    this.#keeper = keeper;
    this.#settings = settings;
    this.#idleMs = settings.idleTimeoutMs;
    const isTls = origin.protocol === 'https:';
    this.#portionBytes = isTls ? tlsPortionBytes : Number.POSITIVE_INFINITY;
    this.#socket = open(origin, keeper, {
      buffer: () => this.#nextTarget(),
      callback: (length) => this.#received(this.#target.subarray(0, length)),
    });
    this.#socket.setTimeout(settings.connectTimeoutMs);
    this.#socket.once(isTls ? 'secureConnect' : 'connect', () => {
      this.#isConnected = true;
      this.#rearm(settings.silenceTimeoutMs);
    });
    this.#socket.on('timeout', () => this.#timedOut());
    this.#socket.on('end', () => this.#fail(new EndOfStream()));
    this.#socket.on('error', (error) => this.#fail(error));
    this.#socket.on('close', () => this.destroy());
  }

  /** Resolves when the head of the answer has come. The connection is free again when its body has ended. */
  exchange(request: WireRequest, signal: AbortSignal): Promise<HttpAnswer> {
    return new Promise((resolve, reject) => {
      const aborted = () => this.#fail(new Error('the request was aborted', { cause: signal.reason }));
      const forgetSignal = () => signal.removeEventListener('abort', aborted);
      signal.addEventListener('abort', aborted, { once: true });
      this.#exchange = { method: request.method, resolve, reject, forgetSignal };
      this.hasAnswer = false;
      if (signal.aborted) aborted();
      if (this.#failure) return this.#fail(this.#failure);
      this.#socket.ref();
      if (this.answered > 0) this.#rearm(this.#settings.silenceTimeoutMs);
      this.#send(request);
    });
  }

  destroy(): void {
    this.#fail(new Error('the connection was closed'));
  }

  #send({ head, body }: WireRequest): void {
    this.#isSent = false;
    const sent = () => {
      this.#isSent = true;
    };
    if (body === undefined || body.length === 0) this.#socket.write(head, 'latin1', sent);
    else if (body.length <= joinedBytes) {
      const joined = Buffer.allocUnsafe(head.length + body.length);
      joined.write(head, 'latin1');
      joined.set(body, head.length);
      this.#socket.write(joined, sent);
    } else {
      this.#socket.cork();
      this.#socket.write(head, 'latin1');
      this.#sendFrom(0, body, sent);
      this.#socket.uncork();
    }
  }

  #sendFrom(from: number, body: Uint8Array, sent: () => void): void {
    const to = from + this.#portionBytes;
    this.#socket.write(body.subarray(from, to), (error) => {
      if (error) return;
      if (to < body.length) this.#sendFrom(to, body, sent);
      else sent();
    });
  }

  #nextTarget(): Uint8Array {
    this.#target = this.#body?.target() ?? this.#own;
    return this.#target;
  }

  /** False stops reading from the socket; of TLS what has come already still follows. */
  #received(bytes: Uint8Array): boolean {
    try {
      if (this.#take(bytes)) this.#resume();
      else this.#isPaused = true;
    } catch (error) {
      this.#fail(error as Error);
      this.#isPaused = true;
    }
    // While it is not read from, its silence is nobody's fault.
    if (this.#isPaused && this.#body) this.#socket.setTimeout(0);
    return !this.#isPaused;
  }

  #take(bytes: Uint8Array): boolean {
    if (!this.#exchange) throw new Error('the server sent what nobody asked for');
    if (this.#body) return this.#takeBody(this.#body, bytes);
    this.hasAnswer = true;
    const rest = this.#takeHead(bytes);
    if (rest === undefined) return true;
    const { status, headers, framing } = this.#head!;
    const body = new IncomingBody(framing, {
      resume: () => this.#resume(),
      destroy: () => this.destroy(),
      done: () => queueMicrotask(() => this.#done()),
    });
    this.#body = body;
    this.#exchange.resolve({ status, headers, body });
    return this.#takeBody(body, rest);
  }

  #takeBody(body: IncomingBody, bytes: Uint8Array): boolean {
    if (!body.isOpen) {
      if (bytes.length > 0) throw new Error('the answer is longer than it says');
      return true;
    }
    if (bytes.length === 0) return false;
    const { used, wantsMore } = body.receive(bytes);
    if (used < bytes.length) throw new Error('the answer is longer than it says');
    return wantsMore || !body.isOpen;
  }

  /** The bytes after the head; undefined while it is not complete. */
  #takeHead(bytes: Uint8Array): Uint8Array | undefined {
    const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    const all = this.#headBytes ? Buffer.concat([this.#headBytes, view]) : view;
    for (let from = 0; ; ) {
      const end = all.indexOf(endOfHead, from);
      if (end < 0) break;
      const head = parseHead(all.toString('latin1', from, end), this.#exchange!.method);
      from = end + endOfHead.length;
      // 1xx only tells that the answer is still to come; 101 was never asked for.
      if (head.status === 101) throw new Error('the server switched protocols');
      if (head.status < 200) continue;
      this.#head = head;
      this.#headBytes = undefined;
      return all.subarray(from);
    }
    if (all.length > maxHeadBytes) throw new Error('the answer has too long a head');
    this.#headBytes = Buffer.from(all);
    return undefined;
  }

  #resume(): void {
    if (!this.#isPaused || this.#failure) return;
    this.#isPaused = false;
    this.#rearm(this.#settings.silenceTimeoutMs);
    this.#socket.resume();
  }

  #done(): void {
    const head = this.#head;
    this.#exchange?.forgetSignal();
    this.#exchange = undefined;
    this.#body = undefined;
    this.#head = undefined;
    if (!head || this.#failure) return;
    this.answered += 1;
    // Given up a second before the server does, or it would close just when the next request is on its way.
    const told = /\btimeout=(\d+)/i.exec(head.headers['keep-alive'] ?? '');
    if (told) this.#idleMs = Math.min(this.#settings.idleTimeoutMs, (Number(told[1]) - 1) * 1000);
    // An answer that came before the whole request had left: the server will not read the rest.
    if (!head.keepsAlive || !this.#isSent || this.#idleMs <= 0) {
      this.destroy();
      return;
    }
    this.#rearm(this.#idleMs);
    this.#socket.unref();
    this.#keeper.free(this);
  }

  #rearm(ms: number): void {
    this.#socket.setTimeout(ms);
  }

  #timedOut(): void {
    if (!this.#exchange) this.destroy();
    else this.#fail(new Timeout(!this.#isConnected ? 'connect' : this.#body ? 'body' : 'head'));
  }

  #fail(error: Error): void {
    const exchange = this.#exchange;
    const first = this.#failure === undefined;
    this.#failure ??= error;
    this.#exchange = undefined;
    exchange?.forgetSignal();
    if (this.#body) this.#body.closed(error);
    else exchange?.reject(error);
    if (!first) return;
    // It may have been the session that the server did not like.
    if (!this.#isConnected) this.#keeper.session = undefined;
    this.#socket.destroy();
    this.#keeper.gone(this);
  }
}

/** Nothing moved for too long. */
export class Timeout extends Error {
  constructor(during: 'connect' | 'head' | 'body') {
    super(
      during === 'connect'
        ? 'no connection within the time limit'
        : during === 'head'
          ? 'no answer within the time limit'
          : 'the answer stalled',
    );
  }
}

function open(origin: URL, keeper: Keeper, onread: OnReadOpts): Socket {
  const host = origin.hostname.replace(/^\[(.*)\]$/, '$1');
  const isTls = origin.protocol === 'https:';
  const port = Number(origin.port || (isTls ? 443 : 80));
  if (!isTls) return connectTcp({ host, port, noDelay: true, onread });
  // TLS sockets know `onread` as well, only their types do not.
  const options: ConnectionOptions & { readonly onread: OnReadOpts } = {
    host,
    port,
    onread,
    ALPNProtocols: ['http/1.1'],
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(keeper.session ? { session: keeper.session } : {}),
  };
  const socket = connectTls(options);
  socket.setNoDelay(true);
  return socket.on('session', (session: Buffer) => {
    keeper.session = session;
  });
}
