import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';

/** One request as it came, Latin-1. */
export interface RawRequest {
  readonly method: string;
  readonly path: string;
  /** Request line and headers, without the blank line. */
  readonly head: string;
  readonly body: Buffer;
}

/** One connection of a client. */
export interface Visit {
  readonly socket: Socket;
  /** From 1. */
  readonly nth: number;
  /** The next request in full; undefined when the client has closed. */
  next(): Promise<RawRequest | undefined>;
  /** Resolves when nothing of the connection is left. */
  readonly closed: Promise<void>;
}

export interface RawServer extends AsyncDisposable {
  readonly origin: string;
  readonly port: number;
  readonly visits: readonly Visit[];
}

export interface RawServerOptions {
  readonly tls?: TlsOptions;
  readonly host?: string;
  readonly hostInOrigin?: string;
}

/** A server that sends exactly the bytes that `serve` writes; whatever `serve` throws ends up in the test. */
export async function startRawServer(
  serve: (visit: Visit) => Promise<void> | void,
  options: RawServerOptions = {},
): Promise<RawServer> {
  const visits: Visit[] = [];
  const arrived = (socket: Socket) => {
    socket.setNoDelay(true);
    socket.on('error', () => {});
    const visit = visitOf(socket, visits.length + 1);
    visits.push(visit);
    void serve(visit);
  };
  const server: Server = options.tls
    ? createTlsServer(options.tls, arrived).on('tlsClientError', () => {})
    : createServer(arrived);
  const host = options.host ?? '127.0.0.1';
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, host, resolve);
  });
  const { port } = server.address() as { port: number };
  const name = options.hostInOrigin ?? (host.includes(':') ? `[${host}]` : host);
  return {
    origin: `http${options.tls ? 's' : ''}://${name}:${port}`,
    port,
    visits,
    async [Symbol.asyncDispose]() {
      for (const { socket } of visits) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function visitOf(socket: Socket, nth: number): Visit {
  let unread = Buffer.alloc(0);
  let hasEnded = false;
  let wake = () => {};
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  const ended = () => {
    hasEnded = true;
    wake();
  };
  socket.on('end', ended).on('close', ended);
  socket.on('data', (bytes: Buffer) => {
    unread = Buffer.concat([unread, bytes]);
    wake();
  });
  const next = async () => {
    for (;;) {
      const request = requestIn(unread);
      if (request) {
        unread = unread.subarray(request.bytes);
        return request.request;
      }
      if (hasEnded) return undefined;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  return { socket, nth, next, closed };
}

function requestIn(bytes: Buffer): { request: RawRequest; bytes: number } | undefined {
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const head = bytes.toString('latin1', 0, end);
  const length = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0);
  if (bytes.length < end + 4 + length) return undefined;
  const [method = '', path = ''] = head.split(' ');
  const body = bytes.subarray(end + 4, end + 4 + length);
  return { request: { method, path, head, body }, bytes: end + 4 + length };
}

/** Writes the pieces so that the other side, if it is the same process, reads each by itself. */
export async function writeInPieces(socket: Socket, pieces: readonly Uint8Array[]): Promise<void> {
  for (const piece of pieces) {
    socket.write(piece);
    await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Cut before each of the positions, which ascend. */
export function cut(bytes: Uint8Array, at: readonly number[]): Uint8Array[] {
  return [0, ...at].map((from, index) => bytes.subarray(from, at[index] ?? bytes.length));
}
