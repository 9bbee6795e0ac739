import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { RunningServer } from '../servers/start.ts';
import { idIn } from './bodies.ts';

/** Who asked: each has a door of its own. */
export type Actor = 'native' | 'user' | 'worker';

/** What a server did to one key. Bodies are told by their id; undefined: nothing stood, or stands, there. */
export interface Act {
  readonly atMs: number;
  readonly site: string;
  readonly key: string;
  readonly actor: Actor;
  readonly replaced: string | undefined;
  readonly body: string | undefined;
}

/**
 * Stands between all clients and one server, and knows what a journal of clients cannot: in which order writes took
 * effect there and what each replaced, also where nobody heard the answer. For that, writes of one key go one by one.
 */
export class Recorder {
  readonly #server: Pick<RunningServer, 'kind' | 'port'>;
  readonly #site: string;
  readonly #prefix: string;
  readonly #acted: (act: Act) => void;
  readonly #doors = new Map<Actor, Server>();
  readonly #stands = new Map<string, string>();
  readonly #last = new Map<string, Promise<void>>();
  /** Azure: bodies that were sent as a block, by its id. */
  readonly #blocks = new Map<string, string>();
  /** A write whose effect is not known: no history after it is worth anything. */
  broken: Error | undefined;

  private constructor(
    site: string,
    server: Pick<RunningServer, 'kind' | 'port'>,
    prefix: string,
    acted: (act: Act) => void,
  ) {
    this.#site = site;
    this.#server = server;
    this.#prefix = prefix;
    this.#acted = acted;
  }

  /** Watches the keys that begin with `prefix`, of which there must be none yet. */
  static async before(
    site: string,
    server: Pick<RunningServer, 'kind' | 'port'>,
    prefix: string,
    acted: (act: Act) => void,
  ): Promise<Recorder> {
    const recorder = new Recorder(site, server, prefix, acted);
    for (const actor of ['native', 'user', 'worker'] as const) {
      const door = createServer((incoming, outgoing) => {
        recorder.#pass(actor, incoming, outgoing).catch((error: Error) => {
          outgoing.destroy(error);
        });
      });
      door.keepAliveTimeout = 60_000;
      await new Promise<void>((resolve) => door.listen(0, '127.0.0.1', resolve));
      recorder.#doors.set(actor, door);
    }
    return recorder;
  }

  port(actor: Actor): number {
    const address = this.#doors.get(actor)?.address();
    return typeof address === 'object' && address ? address.port : 0;
  }

  /** Resolves when every write that came so far was answered by the server. */
  async quiet(): Promise<void> {
    await Promise.all(this.#last.values());
  }

  async stop(): Promise<void> {
    for (const door of this.#doors.values()) {
      door.closeAllConnections();
      await new Promise((resolve) => door.close(resolve));
    }
  }

  async #pass(actor: Actor, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const pieces: Buffer[] = [];
    for await (const piece of incoming) pieces.push(piece as Buffer);
    const body = Buffer.concat(pieces);
    const key = keyWritten(this.#server.kind, incoming, body);
    if (!key?.startsWith(this.#prefix)) {
      if (isWrite(incoming) && key === undefined && this.#mentions(incoming)) this.#noteOther(incoming, body);
      return this.#forward(incoming, body, outgoing, () => {});
    }
    const before = this.#last.get(key);
    const done = (async () => {
      await before;
      await this.#forward(incoming, body, outgoing, (status) =>
        this.#note(actor, key, incoming, body, status),
      );
    })();
    const settled = done.catch((error: Error) => {
      this.broken ??= error;
    });
    this.#last.set(key, settled);
    return done;
  }

  /** A block changes nothing yet. Other parts, copies and patches are not expected of bodies so small. */
  #noteOther({ method, url }: IncomingMessage, body: Buffer): void {
    const parameters = parametersOf(url);
    const [block, id] = [parameters.get('blockid'), idIn(body)];
    if (parameters.get('comp') === 'block' && block !== null && id !== undefined) this.#blocks.set(block, id);
    else this.broken ??= new Error(`${this.#site}: ${method} ${url} is not followed`);
  }

  #mentions({ url }: IncomingMessage): boolean {
    const text = decodeURIComponent(url ?? '');
    return text.includes(`/${this.#prefix}`) || text.includes(`=${this.#prefix}`);
  }

  /** Whoever asked may be gone by now: it is asked all the same, and waited for. */
  #forward(
    incoming: IncomingMessage,
    body: Buffer,
    outgoing: ServerResponse,
    answered: (status: number) => void,
  ): Promise<void> {
    const { method, url, headers } = incoming;
    const { 'transfer-encoding': chunked, ...others } = endToEnd(headers);
    const sent = chunked === undefined ? others : { ...others, 'content-length': String(body.length) };
    return new Promise((resolve, reject) => {
      const options = {
        host: '127.0.0.1',
        port: this.#server.port,
        method,
        path: url,
        headers: sent,
        agent: false,
      };
      const forward = request(options, (answer) => {
        answered(answer.statusCode ?? 0);
        outgoing.writeHead(answer.statusCode ?? 502, endToEnd(answer.headers));
        answer.on('data', (piece) => outgoing.write(piece));
        answer.on('error', reject);
        answer.on('end', () => {
          outgoing.end();
          resolve();
        });
      });
      forward.on('error', reject);
      outgoing.on('error', () => {});
      forward.end(body);
    });
  }

  #note(actor: Actor, key: string, { method }: IncomingMessage, body: Buffer, status: number): void {
    if (status < 200 || status >= 300) return;
    const replaced = this.#stands.get(key);
    const id = method === 'DELETE' ? undefined : (idIn(body) ?? this.#committed(body));
    if (method !== 'DELETE' && id === undefined) {
      this.broken ??= new Error(`${this.#site}: a body of ${key} that nobody here wrote`);
      return;
    }
    if (id === undefined) this.#stands.delete(key);
    else this.#stands.set(key, id);
    // S3 answers a deletion of what is absent as any other.
    if (replaced === undefined && id === undefined) return;
    this.#acted({ atMs: Date.now(), site: this.#site, key, actor, replaced, body: id });
  }

  #committed(blockList: Buffer): string | undefined {
    const block = /<(?:Latest|Uncommitted)>([^<]+)</.exec(blockList.toString('latin1'))?.[1];
    return block === undefined ? undefined : this.#blocks.get(block);
  }
}

/** Without what is about one connection only. */
function endToEnd(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  const { connection: _, 'keep-alive': __, ...others } = headers;
  return others;
}

/** The key that a request would change as a whole; undefined: none. */
function keyWritten(kind: string, incoming: IncomingMessage, body: Buffer): string | undefined {
  if (!isWrite(incoming)) return undefined;
  const { method, url } = incoming;
  const path = (url ?? '').split('?')[0]!;
  const parameters = parametersOf(url);
  if (kind === 'gcs') return keyAtGcs(method, path, parameters, body);
  const under = kind === 's3' ? /^\/[^/]+\/(.+)$/ : /^\/[^/]+\/[^/]+\/(.+)$/;
  const found = under.exec(path)?.[1];
  const isCommit = kind === 'azure' && parameters.get('comp') === 'blocklist';
  const isWhole = isCommit || ![...parameters.keys()].some((name) => partial.has(name));
  return found !== undefined && isWhole ? decodeURIComponent(found) : undefined;
}

function parametersOf(url: string | undefined): URLSearchParams {
  return new URLSearchParams((url ?? '').split('?')[1]);
}

function isWrite({ method }: IncomingMessage): boolean {
  return method !== 'GET' && method !== 'HEAD';
}

/** Parts, tags, and what is about a bucket: bodies here are small. */
const partial = new Set(['uploads', 'uploadId', 'partNumber', 'tagging', 'delete', 'comp', 'restype']);

function keyAtGcs(
  method: string | undefined,
  path: string,
  parameters: URLSearchParams,
  body: Buffer,
): string | undefined {
  if (method === 'DELETE') {
    const name = /^\/storage\/v1\/b\/[^/]+\/o\/([^/]+)$/.exec(path)?.[1];
    return name === undefined ? undefined : decodeURIComponent(name);
  }
  if (!path.startsWith('/upload/') || parameters.get('uploadType') !== 'multipart') return undefined;
  const json = /\r\n\r\n(\{.*?\})\r\n--/s.exec(body.toString('latin1'))?.[1];
  return json === undefined ? undefined : (JSON.parse(json) as { name?: string }).name;
}
