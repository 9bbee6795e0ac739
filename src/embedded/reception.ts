import { chmodSync, mkdirSync, mkdtempSync, rmdirSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { OwnerGone, type StateAccess } from './access.ts';
import { Frames } from './frames.ts';
import { type Message, type Request, toWire } from './messages.ts';

/** The shortest limit of the systems that have UNIX sockets (macOS: 104 with the terminating zero). */
const maxSocketPathBytes = 103;
export const socketFolder = 'run';

/**
 * Where the owner receives its guests: a UNIX socket that only this user may open. A kernel answers for a
 * listening process until that is dead, and never after: that is what ownership is decided by.
 */
export class Reception {
  readonly path: string;
  readonly #server: Server;
  readonly #guests = new Set<Guest>();
  readonly #lobby = new Set<Socket>();
  #access: StateAccess | undefined;
  #closing = false;

  private constructor(path: string, server: Server) {
    this.path = path;
    this.#server = server;
  }

  /** Listens; guests who come before `serve` wait. */
  static async open(folder: string, name: string): Promise<Reception> {
    const path = socketPath(folder, name);
    const server = createServer();
    const reception = new Reception(path, server);
    server.on('connection', (socket) => reception.#receive(socket));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, resolve);
    });
    chmodSync(path, 0o600);
    // Whoever has work to do keeps the process alive; waiting for guests does not.
    server.unref();
    return reception;
  }

  get isEmpty(): boolean {
    return this.#guests.size === 0 && this.#lobby.size === 0;
  }

  serve(access: StateAccess): void {
    this.#access = access;
    for (const socket of this.#lobby) this.#receive(socket);
    this.#lobby.clear();
  }

  /** From now on every question is answered with "gone"; resolves when the ones before are answered. */
  async settle(): Promise<void> {
    this.#closing = true;
    await Promise.all([...this.#guests].map((guest) => guest.settle()));
  }

  /** Only now may somebody else become the owner. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const guest of this.#guests) guest.leave();
    for (const socket of this.#lobby) socket.destroy();
    await closed;
    removeSocket(this.path);
  }

  #receive(socket: Socket): void {
    socket.unref();
    socket.on('error', () => socket.destroy());
    if (this.#access === undefined) {
      this.#lobby.add(socket);
      return;
    }
    const guest = new Guest(socket, this.#access, () => this.#closing);
    this.#guests.add(guest);
    socket.once('close', () => this.#guests.delete(guest));
  }
}

/** With its folder when that was made for the socket alone. */
export function removeSocket(path: string): void {
  rmSync(path, { force: true });
  if (basename(path) !== temporaryName || !basename(dirname(path)).startsWith(temporaryPrefix)) return;
  try {
    rmdirSync(dirname(path));
  } catch {
    // Gone already, or somebody keeps something in there.
  }
}

const temporaryName = 'alone.sock';
const temporaryPrefix = 'isobar-socket-';

function socketPath(folder: string, name: string): string {
  if (process.platform === 'win32') return `\\\\.\\pipe\\isobar-${name}`;
  const inside = join(folder, socketFolder, `${name}.sock`);
  if (Buffer.byteLength(inside) <= maxSocketPathBytes) {
    mkdirSync(dirname(inside), { recursive: true, mode: 0o700 });
    return inside;
  }
  return join(mkdtempSync(join(tmpdir(), temporaryPrefix)), temporaryName);
}

/** One connection; what it subscribed to ends with it. */
class Guest {
  readonly #socket: Socket;
  readonly #frames: Frames;
  readonly #access: StateAccess;
  readonly #isClosing: () => boolean;
  readonly #subscriptions = new Set<string>();
  readonly #underWay = new Set<Promise<void>>();

  constructor(socket: Socket, access: StateAccess, isClosing: () => boolean) {
    this.#socket = socket;
    this.#access = access;
    this.#isClosing = isClosing;
    this.#frames = new Frames(socket, (message) => this.#handle(message as Request));
    socket.once('close', () => {
      for (const id of this.#subscriptions) void access.unsubscribe(id);
    });
    this.#send({ kind: 'hello', pid: process.pid });
  }

  async settle(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  leave(): void {
    this.#socket.destroySoon();
  }

  #handle(request: Request): void {
    const work = this.#answer(request).finally(() => this.#underWay.delete(work));
    this.#underWay.add(work);
  }

  async #answer({ id, operation, arguments: given }: Request): Promise<void> {
    try {
      if (this.#isClosing()) throw new OwnerGone('The process that owned the state folder is closing.');
      const result = await this.#perform(operation, given);
      this.#send({ kind: 'answer', id, result });
    } catch (failure) {
      this.#send({ kind: 'failure', id, failure: toWire(failure) });
    }
  }

  #send(message: Message): void {
    if (this.#socket.writable) this.#frames.send(message);
  }

  #perform(operation: string, given: readonly unknown[]): Promise<unknown> {
    const perform = operations[operation as keyof StateAccess];
    if (perform === undefined) throw new RangeError(`Unknown operation ${operation}.`);
    return perform(this.#access, given, this);
  }

  subscribe(subscription: Parameters<StateAccess['subscribe']>[0]): Promise<void> {
    this.#subscriptions.add(subscription.id);
    return this.#access.subscribe(subscription, {
      deliver: (delivered) => this.#send({ kind: 'delivery', subscription: subscription.id, delivered }),
      fail: (failure) =>
        this.#send({ kind: 'subscription-failure', subscription: subscription.id, failure: toWire(failure) }),
    });
  }

  unsubscribe(id: string): Promise<void> {
    this.#subscriptions.delete(id);
    return this.#access.unsubscribe(id);
  }
}

type Perform = (access: StateAccess, given: readonly unknown[], guest: Guest) => Promise<unknown>;
type Arguments<O extends keyof StateAccess> = Parameters<StateAccess[O]>;

// Both sides are this program, and the socket is this user's own: what arrives has the types that were sent.
const operations: Partial<Record<keyof StateAccess, Perform>> = {
  getMany: (access, given) => access.getMany(...(given as Arguments<'getMany'>)),
  commit: (access, given) => access.commit(...(given as Arguments<'commit'>)),
  page: (access, given) => access.page(...(given as Arguments<'page'>)),
  count: (access, given) => access.count(...(given as Arguments<'count'>)),
  publish: (access, given) => access.publish(...(given as Arguments<'publish'>)),
  backlog: (access, given) => access.backlog(...(given as Arguments<'backlog'>)),
  ack: (access, given) => access.ack(...(given as Arguments<'ack'>)),
  release: (access, given) => access.release(...(given as Arguments<'release'>)),
  subscribe: (_access, given, guest) => guest.subscribe(given[0] as Arguments<'subscribe'>[0]),
  unsubscribe: (_access, given, guest) => guest.unsubscribe(given[0] as string),
};
