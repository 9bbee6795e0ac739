import { setTimeout as sleep } from 'node:timers/promises';
import { StoreFailure } from '../../model/failure.ts';
import { errnoOf, type FileCalls, unless } from './calls.ts';
import { fateOf, type Owner, parseOwner, thisOwner } from './owner.ts';
import type { SiteFolder } from './site-folder.ts';

/** A process that cannot be seen from here is taken for dead after so long without a sign of life. */
const silenceMs = 60_000;
const heartbeatMs = 5_000;
const patienceMs = 120_000;

export interface LockSettings {
  /** What other processes see of this one; for tests. */
  readonly owner?: Owner;
  /** Runs after the locks of a dead process were claimed and before they are released. */
  readonly mend: (deadOwner: Owner) => Promise<void>;
}

/**
 * One lock per key among all processes that use the folder. A lock is a hard link of its owner's file: made in one
 * call, with its content, and only where there is none. After a `kill -9` the locks of the dead process are taken
 * over together: renaming the dead owner's file is the claim, and exactly one process can do it.
 */
export class Locks {
  readonly #site: SiteFolder;
  readonly #calls: FileCalls;
  readonly #settings: LockSettings;
  readonly #turns = new Map<string, Promise<void>>();
  readonly #signsOfLife = new Map<string, { readonly mtimeNs: bigint; readonly sinceMs: number }>();
  #owner: Owner | undefined;
  #heartbeat: NodeJS.Timeout | undefined;

  constructor(site: SiteFolder, calls: FileCalls, settings: LockSettings) {
    this.#site = site;
    this.#calls = calls;
    this.#settings = settings;
  }

  get ownerId(): string {
    if (this.#owner === undefined) throw new Error('the store was not prepared for writing');
    return this.#owner.id;
  }

  /** Whether another process uses the folder, or did and was not followed up. */
  async hasOthers(): Promise<boolean> {
    const owners = await unless(['ENOENT'], this.#calls.names(this.#site.own('owners')));
    return owners?.entries.some((name) => name !== this.#owner?.id) ?? false;
  }

  /** Announces this process and takes over what dead ones left. */
  async start(): Promise<void> {
    const owner = this.#settings.owner ?? (await thisOwner(this.#calls));
    const draft = this.#site.own('tmp', `${owner.id}.owner`);
    await this.#site.writeFile(draft, Buffer.from(JSON.stringify(owner)));
    await this.#calls.rename(draft, this.#site.own('owners', owner.id));
    this.#owner = owner;
    this.#heartbeat = setInterval(() => this.#beat(), heartbeatMs);
    this.#heartbeat.unref();
    await this.takeOverDead();
  }

  async stop(): Promise<void> {
    clearInterval(this.#heartbeat);
    if (this.#owner === undefined) return;
    await unless(['ENOENT'], this.#calls.unlink(this.#site.own('owners', this.#owner.id)));
  }

  #beat(): void {
    // A failing disk shows itself in the next call; a heartbeat has nobody to tell.
    this.#calls.touch(this.#site.own('owners', this.ownerId)).catch(() => undefined);
  }

  /** Runs `work` while no other one, here or in another process, holds the lock of the same name. */
  async hold<T>(name: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(name) ?? Promise.resolve();
    const turn = Promise.withResolvers<void>();
    this.#turns.set(name, turn.promise);
    try {
      await orAborted(before, signal);
      await this.#take(name, signal);
      try {
        return await work();
      } finally {
        await unless(['ENOENT'], this.#calls.unlink(this.#site.own('locks', name)));
      }
    } finally {
      // Who gives up waiting leaves the place in the line to those behind.
      void before.then(() => {
        if (this.#turns.get(name) === turn.promise) this.#turns.delete(name);
        turn.resolve();
      });
    }
  }

  async #take(name: string, signal: AbortSignal): Promise<void> {
    const until = performance.now() + patienceMs;
    for (let pauseMs = 1; ; pauseMs = Math.min(pauseMs * 2, 50)) {
      signal.throwIfAborted();
      try {
        return await this.#calls.link(this.#site.own('owners', this.ownerId), this.#site.own('locks', name));
      } catch (cause) {
        if (errnoOf(cause) === 'ENOENT') await this.#announceAgain(cause);
        else if (errnoOf(cause) !== 'EEXIST') throw cause;
      }
      const holder = await this.#holderOf(this.#site.own('locks', name));
      if (holder === undefined || (await this.#freed(name, holder))) continue;
      if (performance.now() > until) throw this.#stillHeld(holder);
      await orAborted(sleep(pauseMs * (0.5 + Math.random())), signal);
    }
  }

  async #freed(name: string, holder: Owner): Promise<boolean> {
    if (holder.id !== this.ownerId) return await this.#takeOverIfDead(holder);
    // It is our turn, so nobody here holds it: an earlier release had failed.
    await unless(['ENOENT'], this.#calls.unlink(this.#site.own('locks', name)));
    return true;
  }

  /** Our owner's file is gone: somebody cleaned up below `.isobar/`, or took us for dead while we were stopped. */
  async #announceAgain(cause: unknown): Promise<void> {
    await this.#site.verify();
    const exists = await unless(['ENOENT'], this.#calls.lstat(this.#site.own('owners')));
    if (exists === undefined) {
      throw new StoreFailure(
        'misplaced',
        `the folder ${this.#site.own('owners')} is gone: was the disk unmounted, or .isobar/ deleted?`,
        { cause },
      );
    }
    await unless(
      ['EEXIST'],
      this.#site.writeFile(this.#site.own('owners', this.ownerId), Buffer.from(JSON.stringify(this.#owner))),
    );
  }

  #stillHeld(holder: Owner): StoreFailure {
    return new StoreFailure(
      'unavailable',
      `another process (${holder.pid} on ${holder.host}) has been writing the same key for two minutes; ` +
        'end it if it hangs',
    );
  }

  async isHeldBy(name: string, ownerId: string): Promise<boolean> {
    return (await this.#holderOf(this.#site.own('locks', name)))?.id === ownerId;
  }

  async #holderOf(path: string): Promise<Owner | undefined> {
    const bytes = await unless(['ENOENT'], this.#calls.readFile(path));
    return bytes === undefined ? undefined : parseOwner(bytes);
  }

  /** Every dead process that left its owner's file behind. */
  async takeOverDead(): Promise<void> {
    const { entries } = await this.#calls.names(this.#site.own('owners'));
    for (const name of entries) {
      const owner = await this.#holderOf(this.#site.own('owners', name));
      if (owner !== undefined && owner.id !== this.ownerId) await this.#takeOverIfDead(owner);
    }
  }

  async #takeOverIfDead(owner: Owner): Promise<boolean> {
    if (!(await this.#isDead(owner))) return false;
    const claim = await this.#claim(owner);
    if (claim === undefined) return false;
    await this.#settings.mend(owner);
    const { entries } = await this.#calls.names(this.#site.own('locks'));
    for (const name of entries) {
      const path = this.#site.own('locks', name);
      // Only the claimant removes a dead owner's lock, so it cannot become another one's before the unlink.
      if ((await this.#holderOf(path))?.id === owner.id) await unless(['ENOENT'], this.#calls.unlink(path));
    }
    await unless(['ENOENT'], this.#calls.unlink(claim));
    return true;
  }

  async #isDead(owner: Owner): Promise<boolean> {
    const fate = await fateOf(this.#calls, owner, this.#owner!);
    if (fate !== 'unknown') return fate === 'dead';
    const stat = await unless(['ENOENT'], this.#calls.lstat(this.#site.own('owners', owner.id)));
    const mtimeNs = stat?.mtimeNs ?? -1n;
    const sign = this.#signsOfLife.get(owner.id);
    if (sign === undefined || sign.mtimeNs !== mtimeNs) {
      this.#signsOfLife.set(owner.id, { mtimeNs, sinceMs: performance.now() });
      return false;
    }
    return performance.now() - sign.sinceMs > silenceMs;
  }

  /** The path of the claim; undefined when another process has it. */
  async #claim(dead: Owner): Promise<string | undefined> {
    const claim = this.#site.own('owners', `${dead.id}~${this.ownerId}`);
    if (await this.#renamed(this.#site.own('owners', dead.id), claim, dead)) return claim;
    const { entries } = await this.#calls.names(this.#site.own('owners'));
    for (const name of entries.filter((entry) => entry.startsWith(`${dead.id}~`))) {
      const claimant = await this.#holderOf(this.#site.own('owners', name.slice(dead.id.length + 1)));
      if (claimant !== undefined && !(await this.#isDead(claimant))) return undefined;
      if (await this.#renamed(this.#site.own('owners', name), claim, dead)) return claim;
    }
    return await this.#claimByLock(dead, claim);
  }

  async #renamed(from: string, claim: string, dead: Owner): Promise<boolean> {
    const moved = await unless(
      ['ENOENT'],
      this.#calls.rename(from, claim).then(() => true),
    );
    return moved === true && (await this.#holderOf(claim))?.id === dead.id;
  }

  /** The owner's file is gone, but a lock is left: it is the same file. */
  async #claimByLock(dead: Owner, claim: string): Promise<string | undefined> {
    const { entries } = await this.#calls.names(this.#site.own('locks'));
    for (const name of entries) {
      const lock = this.#site.own('locks', name);
      if ((await this.#holderOf(lock))?.id !== dead.id) continue;
      const file = this.#site.own('owners', dead.id);
      await unless(['ENOENT', 'EEXIST'], this.#calls.link(lock, file));
      if ((await this.#holderOf(file))?.id === dead.id) {
        return (await this.#renamed(file, claim, dead)) ? claim : undefined;
      }
      // The lock changed hands between the reading and the linking.
      await unless(['ENOENT'], this.#calls.unlink(file));
    }
    return undefined;
  }
}

/** Rejects with the signal's reason as soon as it aborts. */
async function orAborted(work: Promise<unknown>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => aborted.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
