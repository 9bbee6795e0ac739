import { createServer, type IncomingMessage, request, type Server } from 'node:http';

/** Stands before an S3 server and counts which parts were sent to it, by upload and number. */
export class PartsProxy {
  readonly #server: Server;
  readonly #sent = new Map<string, number>();

  private constructor(server: Server) {
    this.#server = server;
  }

  static async before(endpoint: string): Promise<PartsProxy> {
    const target = new URL(endpoint);
    const server = createServer((incoming, outgoing) => {
      const options = {
        host: target.hostname,
        port: target.port,
        method: incoming.method,
        path: incoming.url,
        headers: incoming.headers,
      };
      const forward = request(options, (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
        answer.pipe(outgoing);
        if (answer.statusCode === 200) proxy.#note(incoming);
      });
      forward.on('error', () => outgoing.destroy());
      outgoing.on('close', () => forward.destroy());
      incoming.pipe(forward);
    });
    const proxy = new PartsProxy(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get endpoint(): string {
    const address = this.#server.address();
    return `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`;
  }

  /** How often part `index` (from 0) of an upload was taken by the server. */
  timesSent(uploadId: string, index: number): number {
    return this.#sent.get(`${uploadId}/${index + 1}`) ?? 0;
  }

  get parts(): number {
    return this.#sent.size;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #note(incoming: IncomingMessage): void {
    const query = new URL(incoming.url ?? '/', 'http://localhost').searchParams;
    const upload = query.get('uploadId');
    const part = query.get('partNumber');
    if (incoming.method !== 'PUT' || upload === null || part === null) return;
    const id = `${upload}/${part}`;
    this.#sent.set(id, (this.#sent.get(id) ?? 0) + 1);
  }
}
