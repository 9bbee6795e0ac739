import { StoreFailure } from '../model/failure.ts';
import { noMetadata } from '../model/metadata.ts';
import type { SiteId } from '../model/version.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { contentBody } from './body.ts';
import { type Head, stagedName, stagedPrefix, type Versioned } from './head.ts';
import { type Advance, advanceAll, look } from './heads.ts';
import { store } from './moves.ts';
import { gather, type Operation, operate } from './operation.ts';
import { type Projected, projectTo } from './project.ts';
import { settle } from './settle.ts';
import type { StrongShell } from './shell.ts';
import { copyTo } from './staging.ts';

export interface Repaired {
  /** Its head had less. */
  readonly raised: boolean;
  /** Its staged body was missing. */
  readonly staged: boolean;
  /** Absent where nothing is projected. */
  readonly projected?: Projected;
}

export interface Repair {
  /** Sites that failed are missing: see the event. */
  readonly sites: ReadonlyMap<SiteId, Repaired>;
  /** Staged bodies that nothing refers to any more. */
  readonly cleared: number;
}

/** Brings every site up to what the key holds. Idempotent; it changes nothing that a read would answer. */
export async function repair(
  shell: StrongShell,
  key: string,
  projects: boolean,
  signal: AbortSignal,
): Promise<Repair> {
  const { held, raised } = await operate(shell, key, shell.world.uniqueId(), signal, raiseAll);
  const { answers } = await gather(
    { shell, key, calls: new Set() },
    async (site, store) => {
      const staged = await fillStage(shell, store, key, held, signal);
      const projected = projects ? { projected: await projectTo(shell, site, key, signal, held) } : {};
      return { raised: raised.get(site)?.kind === 'moved', staged, ...projected };
    },
    () => false,
    signal,
  );
  signal.throwIfAborted();
  const complete = answers.size === shell.sites.size;
  return { sites: answers, cleared: complete ? await clearStages(shell, key, signal) : 0 };
}

/** In the operation that looked: what it saw may be forgotten, and the key begun anew, once it is over. */
async function raiseAll(operation: Operation) {
  const { key } = operation;
  const held = await settle(operation);
  if (held.retired) return { held, raised: new Map<SiteId, Advance>() };
  const { answers } = await advanceAll(
    operation,
    new Map(),
    (head) => store(key, head, held),
    () => false,
  );
  return { held, raised: answers };
}

async function fillStage(
  shell: StrongShell,
  store: ObjectStore,
  key: string,
  { tag, value }: Versioned,
  signal: AbortSignal,
): Promise<boolean> {
  if (value.deleted || !value.staged) return false;
  const name = stagedName(key, value.staged.operation);
  if (await store.head(name, signal)) return false;
  const body = contentBody(shell, key, { tag, value }, signal);
  const { digest } = await copyTo(shell, store, name, body, noMetadata, { kind: 'absent' }, signal);
  if (digest === value.digest) return true;
  throw new StoreFailure('corrupt', `the staged body of "${key}" differs from its digest`);
}

/**
 * Removes staged bodies that no head at any site refers to and that are older than any operation: theirs were
 * overtaken, or their writers died. Called when every site has what the key holds, projected.
 */
async function clearStages(shell: StrongShell, key: string, signal: AbortSignal): Promise<number> {
  const calls = new Set<Promise<unknown>>();
  const { answers } = await gather(
    { shell, key, calls },
    async (_, store) => (await look(key, store, signal)).head,
    () => false,
    signal,
  );
  if (answers.size < shell.sites.size) return 0;
  const referred = new Set([...answers.values()].flatMap(stagesOf).map((one) => stagedName(key, one)));
  const before = shell.world.nowMs() - shell.settings.graceMs;
  let cleared = 0;
  for (const store of shell.sites.values()) {
    for await (const page of store.list({ prefix: stagedPrefix(key) }, signal)) {
      for (const entry of page) {
        if (referred.has(entry.key) || entry.lastModifiedMs > before) continue;
        if ((await store.remove(entry.key, entry.token, signal)).kind === 'removed') cleared += 1;
      }
    }
  }
  return cleared;
}

function stagesOf(head: Head | undefined): string[] {
  return [head?.value, head?.accepted?.value].flatMap((value) =>
    value && !value.deleted && value.staged ? [value.staged.operation] : [],
  );
}
