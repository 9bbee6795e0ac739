import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Backlog, Sink, Subscription } from '../buses/subscription.ts';
import type { Change } from '../model/change.ts';
import { StateFailure } from '../model/failure.ts';
import type { CommitResult, IdRange, LedgerWrite, Row, Table } from '../ports/ledger.ts';
import { OwnerGone, type Page, type StateAccess } from './access.ts';
import { unavailable } from './failures.ts';
import { Frames } from './frames.ts';
import { fromWire, type Message } from './messages.ts';

const helloTimeoutMs = 10_000;
const answerTimeoutMs = 60_000;

interface Pending {
  readonly resolve: (result: unknown) => void;
  readonly reject: (failure: Error) => void;
  readonly timer: NodeJS.Timeout;
}

/** The state, in a process beside the one that owns it. Every failure of the connection is `OwnerGone`. */
export class GuestAccess implements StateAccess {
  readonly #socket: Socket;
  readonly #frames: Frames;
  readonly #pending = new Map<number, Pending>();
  readonly #sinks = new Map<string, Sink>();
  /** Not answered yet: whoever asked hears of it when the owner is gone, so its sink need not. */
  readonly #subscribing = new Set<string>();
  readonly #greeted: Promise<void>;
  #greet: () => void = () => undefined;
  #requests = 0;
  #ownerPid: number | undefined;
  #gone = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#greeted = new Promise((resolve) => {
      this.#greet = resolve;
    });
    this.#frames = new Frames(socket, (message) => this.#receive(message as Message));
    socket.on('error', () => socket.destroy());
    socket.once('close', () => this.#lost());
  }

  /** Undefined when nobody listens there: its owner is dead, or has left. */
  static async connect(path: string): Promise<GuestAccess | undefined> {
    for (let attempt = 1; ; attempt++) {
      try {
        const access = new GuestAccess(await connected(path));
        await access.#waitForHello(path);
        if (!access.#gone) return access;
        // It hung up instead of greeting: leaving, or just killed. The next attempt tells.
      } catch (failure) {
        const { code = '' } = failure as NodeJS.ErrnoException;
        if (deadCodes.has(code)) return undefined;
        if (!passingCodes.has(code) || attempt >= maxAttempts) throw unreachable(failure as Error);
      }
      await sleep(20);
    }
  }

  async getMany(table: Table, ids: readonly string[]): Promise<readonly (Row | undefined)[]> {
    const rows = (await this.#ask('getMany', table, ids)) as readonly (Row | null)[];
    return rows.map((row) => row ?? undefined);
  }

  commit(writes: readonly LedgerWrite[]): Promise<CommitResult> {
    return this.#ask('commit', writes) as Promise<CommitResult>;
  }

  page(table: Table, range: IdRange, limit: number): Promise<Page> {
    return this.#ask('page', table, range, limit) as Promise<Page>;
  }

  count(table: Table, range: IdRange): Promise<number> {
    return this.#ask('count', table, range) as Promise<number>;
  }

  async publish(changes: readonly Change[]): Promise<void> {
    await this.#ask('publish', changes);
  }

  async backlog(dataset: string): Promise<Backlog> {
    const { changes, oldestMs } = (await this.#ask('backlog', dataset)) as {
      changes: number;
      oldestMs?: number;
    };
    return { changes, oldestMs };
  }

  async subscribe(subscription: Subscription, sink: Sink): Promise<void> {
    this.#sinks.set(subscription.id, sink);
    this.#subscribing.add(subscription.id);
    try {
      await this.#ask('subscribe', subscription);
    } catch (failure) {
      this.#forget(subscription.id);
      throw failure;
    } finally {
      this.#subscribing.delete(subscription.id);
    }
  }

  async unsubscribe(id: string): Promise<void> {
    this.#forget(id);
    await this.#ask('unsubscribe', id);
  }

  async ack(subscription: string, dataset: string, sequence: number): Promise<void> {
    await this.#ask('ack', subscription, dataset, sequence);
  }

  async release(subscription: string, dataset: string, sequence: number): Promise<void> {
    await this.#ask('release', subscription, dataset, sequence);
  }

  async close(): Promise<void> {
    this.#sinks.clear();
    if (this.#socket.destroyed) return;
    const closed = new Promise<void>((resolve) => this.#socket.once('close', () => resolve()));
    this.#socket.destroySoon();
    await closed;
  }

  #ask(operation: string, ...given: readonly unknown[]): Promise<unknown> {
    if (this.#gone) return Promise.reject(new OwnerGone('The process that owned the state folder is gone.'));
    const id = ++this.#requests;
    return new Promise((resolve, reject) => {
      this.#frames.send({ id, operation, arguments: given });
      const timer = setTimeout(() => this.#giveUp(id), answerTimeoutMs);
      this.#pending.set(id, { resolve, reject, timer });
      this.#keepAlive();
    });
  }

  #giveUp(id: number): void {
    this.#settle(id)?.reject(
      unavailable(
        `Process ${this.#ownerPid} owns the state folder and has not answered for ${answerTimeoutMs / 1000} s. ` +
          'The request may still take effect. Look at what that process does; if it hangs, end it.',
      ),
    );
  }

  #receive(message: Message): void {
    switch (message.kind) {
      case 'hello':
        this.#ownerPid = message.pid;
        this.#greet();
        return;
      case 'answer':
        this.#settle(message.id)?.resolve(message.result);
        return;
      case 'failure':
        this.#settle(message.id)?.reject(fromWire(message.failure));
        return;
      case 'delivery':
        this.#sinks.get(message.subscription)?.deliver(message.delivered);
        return;
      case 'subscription-failure':
        this.#forget(message.subscription)?.fail(fromWire(message.failure));
    }
  }

  #settle(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    if (pending === undefined) return undefined;
    clearTimeout(pending.timer);
    this.#pending.delete(id);
    this.#keepAlive();
    return pending;
  }

  #forget(subscription: string): Sink | undefined {
    const sink = this.#sinks.get(subscription);
    this.#sinks.delete(subscription);
    this.#keepAlive();
    return sink;
  }

  #lost(): void {
    this.#gone = true;
    this.#greet();
    const gone = new OwnerGone('The process that owned the state folder is gone.');
    for (const id of [...this.#pending.keys()]) this.#settle(id)?.reject(gone);
    for (const id of [...this.#sinks.keys()]) {
      if (!this.#subscribing.has(id)) this.#forget(id)?.fail(gone);
    }
  }

  /** An idle connection does not keep the process from ending. */
  #keepAlive(): void {
    if (this.#socket.destroyed) return;
    if (this.#pending.size > 0 || this.#sinks.size > 0) this.#socket.ref();
    else this.#socket.unref();
  }

  async #waitForHello(path: string): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const silence = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        this.#socket.destroy();
        reject(
          unavailable(
            `Another process owns the state folder (socket ${path}) and does not answer: it may be stopped or ` +
              'overloaded. Let it go on, or end it; then try again.',
          ),
        );
      }, helloTimeoutMs);
    });
    try {
      await Promise.race([this.#greeted, silence]);
    } finally {
      clearTimeout(timer);
    }
    this.#keepAlive();
  }
}

function connected(path: string): Promise<Socket> {
  const socket = connect(path);
  return new Promise((resolve, reject) => {
    socket.once('connect', () => resolve(socket));
    socket.once('error', reject);
  });
}

function unreachable(failure: Error): Error {
  if (failure instanceof StateFailure) return failure;
  const message = `The process that owns the state folder cannot be reached: ${failure.message}.`;
  return unavailable(message, failure);
}

/** The owner is too busy to accept, or dies right now: no answer yet. */
const passingCodes = new Set(['EAGAIN', 'ECONNRESET', 'EPIPE']);
const maxAttempts = 250;

/** What connecting to a socket file answers when no process listens behind it. */
const deadCodes = new Set(['ECONNREFUSED', 'ENOENT', 'ENOTSOCK']);
