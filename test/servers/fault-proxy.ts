import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SiteConfig } from './running.ts';

/** What is wrong with the network before a server. */
export type Cut =
  /** Nobody listens: what is open breaks, what is new is refused. */
  | { readonly kind: 'refuse' }
  /** Every connection, open or new, is reset once so many bytes more have passed, of both directions together. */
  | { readonly kind: 'reset'; readonly afterBytes: number }
  /**
   * Nothing passes and nobody is told. What was sent meanwhile arrives at `heal`, as after a partition, also where
   * whoever sent it has given up: a request can take effect very late.
   */
  | { readonly kind: 'blackhole' };

/** The port was ours and is free; a client's socket may have it for a moment. */
const reopenTries = 200;

/** A TCP proxy on loopback, in this process, that can be cut and healed at any moment. */
export class FaultProxy {
  readonly #targetPort: number;
  readonly #links = new Set<Link>();
  #server: Server;
  #port = 0;
  #cut: Cut | undefined;
  #changing: Promise<void> = Promise.resolve();

  private constructor(targetPort: number) {
    this.#targetPort = targetPort;
    this.#server = this.#newServer();
  }

  static async before(server: { readonly port: number }): Promise<FaultProxy> {
    const proxy = new FaultProxy(server.port);
    await listening(proxy.#server, 0);
    const address = proxy.#server.address();
    proxy.#port = typeof address === 'object' && address ? address.port : 0;
    return proxy;
  }

  get port(): number {
    return this.#port;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** The same site, through the proxy. */
  siteConfig<C extends SiteConfig>(config: C, server: { readonly port: number }): C {
    const [from, to] = [`127.0.0.1:${server.port}`, `127.0.0.1:${this.#port}`];
    return JSON.parse(JSON.stringify(config).replaceAll(from, to)) as C;
  }

  /** In force when it resolves, in place of an earlier cut. */
  cut(cut: Cut): Promise<void> {
    return this.#change(async () => {
      if (cut.kind !== 'refuse') await this.#open();
      this.#cut = cut;
      if (cut.kind === 'refuse') await this.#close();
      for (const link of this.#links) link.suffer(cut);
    });
  }

  heal(): Promise<void> {
    return this.#change(async () => {
      await this.#open();
      this.#cut = undefined;
      for (const link of this.#links) link.suffer(undefined);
    });
  }

  stop(): Promise<void> {
    return this.#change(() => this.#close());
  }

  #change(change: () => Promise<void>): Promise<void> {
    this.#changing = this.#changing.then(change);
    return this.#changing;
  }

  #newServer(): Server {
    return createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
      const link = new Link(client, this.#targetPort, () => this.#links.delete(link));
      this.#links.add(link);
      link.suffer(this.#cut);
    });
  }

  async #open(): Promise<void> {
    for (let tries = 1; !this.#server.listening; tries++) {
      this.#server = this.#newServer();
      try {
        await listening(this.#server, this.#port);
      } catch (error) {
        if (tries === reopenTries) throw error;
        await sleep(50);
      }
    }
  }

  async #close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const link of this.#links) link.reset();
    await closed;
  }
}

/** One connection and its continuation. */
class Link {
  readonly #client: Socket;
  readonly #target: Socket;
  #left = Number.POSITIVE_INFINITY;
  #held = false;

  constructor(client: Socket, targetPort: number, ended: () => void) {
    this.#client = client;
    this.#target = connect({ port: targetPort, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    this.#carry(this.#client, this.#target);
    this.#carry(this.#target, this.#client);
    this.#client.on('close', ended);
  }

  suffer(cut: Cut | undefined): void {
    this.#left = cut?.kind === 'reset' ? cut.afterBytes : Number.POSITIVE_INFINITY;
    this.#held = cut?.kind === 'blackhole';
    for (const socket of [this.#client, this.#target]) {
      if (this.#held) socket.pause();
      else socket.resume();
    }
  }

  reset(): void {
    this.#client.resetAndDestroy();
    this.#target.resetAndDestroy();
  }

  #carry(source: Socket, target: Socket): void {
    source.on('data', (bytes: Buffer) => {
      const passing = bytes.subarray(0, this.#left);
      this.#left -= passing.length;
      if (this.#left <= 0) target.write(passing, () => this.reset());
      else if (!target.write(passing)) source.pause();
    });
    target.on('drain', () => {
      if (!this.#held) source.resume();
    });
    source.on('end', () => target.end());
    source.on('error', () => target.destroy());
    source.on('close', () => {
      if (!source.readableEnded) target.destroy();
    });
  }
}

function listening(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve());
  });
}
