import { StoreFailure } from '../model/failure.ts';
import type { SiteId } from '../model/version.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import type { StrongShell } from './shell.ts';
import { type Ballot, encodeTag, type Tag } from './tag.ts';

/** One operation on one key, until its deadline. */
export interface Operation {
  readonly shell: StrongShell;
  readonly key: string;
  readonly id: string;
  /** Aborts at the deadline, or when the caller gives up. */
  readonly signal: AbortSignal;
  /** What went to a site under this operation's name: from then on nobody can say that it failed. */
  sent: Tag | undefined;
  /** The last one that it used. */
  ballot: Ballot;
  /** Calls that may outlive the operation: a slow minority is brought up, too. */
  readonly calls: Set<Promise<unknown>>;
}

/** Nothing of it is sent later than `settings.timeoutMs` after this: what was removed longer ago can be forgotten. */
export async function operate<T>(
  shell: StrongShell,
  key: string,
  id: string,
  signal: AbortSignal,
  run: (operation: Operation) => Promise<T>,
): Promise<T> {
  const { world, settings } = shell;
  const deadline = new AbortController();
  const stop = new AbortController();
  world.sleep(settings.timeoutMs, stop.signal).then(
    () => deadline.abort(new StoreFailure('unavailable', `no majority answered in ${settings.timeoutMs} ms`)),
    () => {},
  );
  const operation: Operation = {
    shell,
    key,
    id,
    signal: AbortSignal.any([signal, deadline.signal]),
    sent: undefined,
    ballot: { round: 0, by: id },
    calls: new Set(),
  };
  try {
    return await run(operation);
  } finally {
    inBackground(
      shell,
      Promise.allSettled(operation.calls).then(() => stop.abort()),
    );
  }
}

export function inBackground(shell: StrongShell, work: Promise<unknown>): void {
  const tracked: Promise<unknown> = work.then(
    () => shell.background.delete(tracked),
    () => shell.background.delete(tracked),
  );
  shell.background.add(tracked);
}

export interface Gathered<T> {
  readonly answers: ReadonlyMap<SiteId, T>;
  readonly failures: ReadonlyMap<SiteId, unknown>;
}

/**
 * Asks all sites at once and resolves when the answers are `enough`, when all have answered or failed, or when
 * `signal` aborts. Those that have not answered by then go on.
 */
export function gather<T>(
  operation: Pick<Operation, 'shell' | 'key' | 'calls'>,
  call: (site: SiteId, store: ObjectStore) => Promise<T>,
  enough: (answers: ReadonlyMap<SiteId, T>) => boolean,
  signal: AbortSignal,
): Promise<Gathered<T>> {
  const { sites, events } = operation.shell;
  const answers = new Map<SiteId, T>();
  const failures = new Map<SiteId, unknown>();
  return new Promise((resolve) => {
    const finish = () => {
      signal.removeEventListener('abort', finish);
      resolve({ answers: new Map(answers), failures: new Map(failures) });
    };
    const failed = (site: SiteId, error: unknown) => {
      failures.set(site, error);
      if (!signal.aborted) events.failed?.({ site, key: operation.key, error });
    };
    for (const [site, store] of sites) {
      const called = call(site, store)
        .then(
          (answer) => answers.set(site, answer),
          (error: unknown) => failed(site, error),
        )
        .then(() => {
          operation.calls.delete(called);
          if (answers.size + failures.size === sites.size || enough(answers)) finish();
        });
      operation.calls.add(called);
    }
    signal.addEventListener('abort', finish, { once: true });
    if (signal.aborted) finish();
  });
}

/** Why fewer sites than needed did what they were asked. */
export function shortOf(operation: Operation, { answers, failures }: Gathered<unknown>): Error {
  const { key, signal, shell } = operation;
  const [failure] = failures.values();
  const cause = failure ?? signal.reason;
  const text = `${answers.size} of ${shell.sites.size} sites answered for "${key}", which is no majority; try again when more are back`;
  return new StoreFailure('unavailable', text, { cause });
}

export async function pause(operation: Operation, tries: number): Promise<void> {
  const { world, settings } = operation.shell;
  await world.sleep(world.random() * settings.pauseMs * 2 ** Math.min(tries, 6), operation.signal);
}

export function tagSent({ sent }: Operation): string {
  return sent ? encodeTag(sent) : '';
}
