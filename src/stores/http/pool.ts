import { Connection, type Keeper } from './connection.ts';
import type { HttpSettings } from './send.ts';

interface Waiter {
  readonly grant: (connection: Connection) => void;
  readonly reject: (error: Error) => void;
}

/** The connections to one origin. Who asks first gets the next one that is free. */
export class Pool {
  /** As the header says it. */
  readonly host: string;
  readonly #origin: URL;
  readonly #settings: HttpSettings;
  readonly #all = new Set<Connection>();
  /** The last one used is used again first, so that those too many come to their idle limit. */
  readonly #idle: Connection[] = [];
  readonly #waiting = new Set<Waiter>();
  readonly #keeper: Keeper;
  #isClosed = false;

  constructor(origin: URL, settings: HttpSettings) {
    this.host = origin.host;
    this.#origin = origin;
    this.#settings = settings;
    this.#keeper = {
      session: undefined,
      free: (connection) => this.#free(connection),
      gone: (connection) => this.#gone(connection),
    };
  }

  /** `fresh`: one that no request has used yet. Rejects with the signal's reason when it aborts first. */
  async acquire(signal: AbortSignal, fresh = false): Promise<Connection> {
    if (this.#isClosed) throw new Error('the client is closed');
    if (fresh) this.#idle.shift()?.destroy();
    const idle = fresh ? undefined : this.#idle.pop();
    if (idle) return idle;
    if (this.#all.size < this.#settings.maxConnections) return this.#open();
    return this.#wait(signal);
  }

  close(): void {
    this.#isClosed = true;
    for (const waiter of this.#waiting) waiter.reject(new Error('the client is closed'));
    for (const connection of this.#all) connection.destroy();
  }

  #open(): Connection {
    const connection = new Connection(this.#origin, this.#settings, this.#keeper);
    this.#all.add(connection);
    return connection;
  }

  #wait(signal: AbortSignal): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const end = () => {
        this.#waiting.delete(waiter);
        signal.removeEventListener('abort', aborted);
      };
      const waiter: Waiter = {
        grant: (connection) => {
          end();
          resolve(connection);
        },
        reject: (error) => {
          end();
          reject(error);
        },
      };
      const aborted = () => waiter.reject(signal.reason as Error);
      signal.addEventListener('abort', aborted, { once: true });
      this.#waiting.add(waiter);
    });
  }

  #free(connection: Connection): void {
    const [first] = this.#waiting;
    if (first) first.grant(connection);
    else this.#idle.push(connection);
  }

  #gone(connection: Connection): void {
    this.#all.delete(connection);
    const at = this.#idle.indexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
    const [first] = this.#waiting;
    if (first && !this.#isClosed) first.grant(this.#open());
  }
}
