/* A TCP proxy on loopback that puts a distance between a client and a server, for benchmarks. Bytes are delayed, not
 * throttled: each leaves a fixed time after it came, however many are under way.
 *   node test/servers/latency-proxy.ts <port> <target port> <one-way milliseconds>
 */
import { connect, createServer, type Socket } from 'node:net';
import { startGroup } from './process.ts';
import type { SiteConfig } from './running.ts';

/** More than this under way in one direction makes the sender wait: 64 MiB in 10 ms is 50 Gbit/s. */
const maxUnderWayBytes = 64 * 1024 * 1024;

export interface LatencyProxy {
  readonly pid: number;
  readonly endpoint: string;
  /** The same site, through the proxy. */
  siteConfig<C extends SiteConfig>(config: C): C;
  cpuSeconds(): number;
  stop(): Promise<void>;
}

/** In a process of its own, so that neither side of a benchmark pays for it. A round trip costs twice `oneWayMs`. */
export async function startLatencyProxy(
  server: { readonly port: number },
  oneWayMs: number,
): Promise<LatencyProxy> {
  const group = await startGroup({
    name: 'latency-proxy',
    launch: (port) => ({
      command: process.execPath,
      args: [import.meta.filename, String(port), String(server.port), String(oneWayMs)],
    }),
    ready: async (port) => answers(port),
  });
  const from = `127.0.0.1:${server.port}`;
  const to = `127.0.0.1:${group.port}`;
  return {
    pid: group.pid,
    endpoint: `http://${to}`,
    siteConfig: (config) => JSON.parse(JSON.stringify(config).replaceAll(from, to)) as typeof config,
    cpuSeconds: group.cpuSeconds,
    stop: group.stop,
  };
}

async function answers(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', reject);
  });
}

interface UnderWay {
  readonly dueMs: number;
  /** Undefined for the end of the stream, which travels as long as the bytes. */
  readonly bytes: Buffer | undefined;
}

/** Carries one direction. */
function carry(source: Socket, target: Socket, delayMs: number, notBeforeMs: number): void {
  const underWay: UnderWay[] = [];
  let underWayBytes = 0;
  let isTimed = false;

  const deliver = (): void => {
    isTimed = false;
    const now = performance.now();
    let next = underWay[0];
    while (next !== undefined && next.dueMs <= now) {
      underWay.shift();
      if (next.bytes === undefined) target.end();
      else {
        underWayBytes -= next.bytes.length;
        target.write(next.bytes);
      }
      next = underWay[0];
    }
    if (next !== undefined) wake(next.dueMs - now);
    if (underWayBytes + target.writableLength < maxUnderWayBytes && source.isPaused()) source.resume();
  };
  const wake = (inMs: number): void => {
    if (isTimed) return;
    isTimed = true;
    // Whole milliseconds, so up to one too late. Spinning through the last one would cost a core.
    setTimeout(deliver, Math.ceil(inMs));
  };
  const send = (bytes: Buffer | undefined): void => {
    underWay.push({ dueMs: Math.max(performance.now(), notBeforeMs) + delayMs, bytes });
    underWayBytes += bytes?.length ?? 0;
    if (underWayBytes + target.writableLength >= maxUnderWayBytes) source.pause();
    wake(delayMs);
  };
  source.on('data', send);
  source.on('end', () => send(undefined));
  target.on('drain', deliver);
  source.on('error', () => target.destroy());
  source.on('close', () => {
    if (!source.readableEnded) target.destroy();
  });
}

function serve(port: number, targetPort: number, oneWayMs: number): void {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const target = connect({ port: targetPort, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    if (oneWayMs === 0) {
      client.on('error', () => target.destroy());
      target.on('error', () => client.destroy());
      client.pipe(target);
      target.pipe(client);
      return;
    }
    // To open a connection costs a round trip as well.
    carry(client, target, oneWayMs, performance.now() + 2 * oneWayMs);
    carry(target, client, oneWayMs, 0);
  });
  server.listen(port, '127.0.0.1');
}

if (import.meta.main) {
  const [port = 0, targetPort = 0, oneWayMs = 0] = process.argv.slice(2).map(Number);
  serve(port, targetPort, oneWayMs);
}
