import { type Aside, type Former, undoing } from '../decide/damage-undo.ts';
import { newestOf } from '../decide/resolve.ts';
import { withoutEntry } from '../model/entry.ts';
import type { KeyRecord, Replica } from '../model/record.ts';
import { millisOf } from '../model/stamp.ts';
import { tombstoneKey } from '../model/tombstone.ts';
import type { SiteId } from '../model/version.ts';
import { DamageGuard } from '../replicate/damage-guard.ts';
import type { Replicator } from '../replicate/replicator.ts';
import { Semaphore } from '../replicate/semaphore.ts';
import { type Shell, siteOf } from '../replicate/shell.ts';
import { put } from '../replicate/write.ts';

export interface UndoOptions {
  /** Milliseconds since 1970. */
  readonly sinceMs: number;
  readonly prefix?: string;
  readonly dryRun: boolean;
}

/** One key that was changed since. */
export interface UndoStep {
  readonly key: string;
  /** `failed`: it could be, and was not; try again. `lost`: nobody holds what stood there. */
  readonly outcome: 'restore' | 'restored' | 'failed' | 'lost';
  readonly from?: Former;
  readonly bytes: number;
  readonly error?: string;
}

const keysAtOnce = 16;

/**
 * Brings back what stood before `sinceMs`, as new writes on top: nothing is rewound, and what is undone can be undone.
 * Creations are left. Knows what the ledger knows: a change that no pass has found yet is not taken back.
 */
export async function undo(
  shell: Shell,
  replicator: Replicator,
  options: UndoOptions,
  told: (step: UndoStep) => void | Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const writing = writingShell(shell);
  const slots = new Semaphore(keysAtOnce);
  let failure: unknown;
  for await (const page of shell.records.scan({ prefix: options.prefix ?? '' })) {
    for (const record of page) {
      const release = await slots.acquire(1, signal);
      void undoKey(writing, replicator, record, options, signal)
        .then((step) => step && told(step))
        .catch((error: unknown) => {
          failure ??= error;
        })
        .finally(release);
    }
    if (failure) throw failure;
  }
  (await slots.acquire(keysAtOnce, signal))();
  if (failure) throw failure;
}

/** Its writes are a person's: no guard counts them, and each is done when one site has it. */
function writingShell(shell: Shell): Shell {
  const { maxDeletes } = shell.policy.guards;
  const policy = { ...shell.policy, write: { kind: 'async' } as const, guards: { maxDeletes } };
  return { ...shell, policy, damage: new DamageGuard(shell.records, policy, shell.world) };
}

async function undoKey(
  shell: Shell,
  replicator: Replicator,
  record: KeyRecord,
  { sinceMs, dryRun }: UndoOptions,
  signal: AbortSignal,
): Promise<UndoStep | undefined> {
  const { key } = record;
  const newest = newestOf(record, shell.ruleOf);
  if (!newest) return undefined;
  const changedMs = newest.replica.version.deleted
    ? await deletedMs(shell, record, newest.sites, sinceMs, signal)
    : millisOf(newest.replica.version.stamp);
  if (changedMs < sinceMs) return undefined;
  const asides = await asidesOf(shell, key);
  const step = undoing(record, newest.replica, asides, sinceMs);
  if (step.kind === 'leave') return undefined;
  if (step.kind === 'lost') return { key, outcome: 'lost', bytes: 0 };
  const { from } = step;
  const base = { key, from, bytes: from.size };
  if (dryRun) return { ...base, outcome: 'restore' };
  try {
    await restore(shell, replicator, key, record.replicas[from.site], from, signal);
    return { ...base, outcome: 'restored' };
  } catch (error) {
    signal.throwIfAborted();
    return { ...base, outcome: 'failed', error: (error as Error).message };
  }
}

/** When the key was deleted: the oldest tombstone of it. One that is gone everywhere for longer is not asked for. */
async function deletedMs(
  shell: Shell,
  { key, goneMs }: KeyRecord,
  sites: readonly SiteId[],
  sinceMs: number,
  signal: AbortSignal,
): Promise<number> {
  if (goneMs !== undefined && goneMs < sinceMs) return goneMs;
  const heads = await Promise.all(
    sites.map((site) =>
      siteOf(shell, site)
        .store.head(tombstoneKey(key), signal)
        .catch(() => undefined),
    ),
  );
  signal.throwIfAborted();
  const times = heads.flatMap((head) => (head ? [head.lastModifiedMs] : []));
  return times.length === 0 ? shell.world.nowMs() : Math.min(...times);
}

async function asidesOf(shell: Shell, key: string): Promise<Aside[]> {
  const found: Aside[] = [];
  for await (const page of shell.records.losers(key)) found.push(...page);
  return found;
}

async function restore(
  shell: Shell,
  replicator: Replicator,
  key: string,
  held: Replica | undefined,
  { site, keptAs, size }: Former,
  signal: AbortSignal,
): Promise<void> {
  const { store } = siteOf(shell, site);
  const name = keptAs ?? key;
  const head = await store.head(name, signal);
  const isIt =
    head && (keptAs !== undefined || (held?.token !== undefined && store.sameWrite(held.token, head.token)));
  if (!isIt || head.size !== size)
    throw new Error(`${name} at ${site} is no longer what it was; run it again`);
  const body = {
    size,
    read: async (range: { readonly from: number; readonly to: number }) => {
      const read = await store.read(name, { token: head.token, range }, signal);
      if (!read) throw new Error(`${name} is gone from ${site}`);
      return read.bytes();
    },
  };
  await put(shell, replicator, key, body, withoutEntry(head.metadata), signal);
}
