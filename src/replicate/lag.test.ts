import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Dataset } from '../dataset.ts';
import { openEmbedded } from '../embedded/open.ts';
import { noMetadata } from '../model/metadata.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { MemoryStore } from '../stores/memory/memory-store.ts';
import { systemWorld } from '../system-world.ts';
import type { SiteStatus } from './lag.ts';

const signal = AbortSignal.timeout(30_000);
const hourMs = 3_600_000;

interface Opened {
  readonly dataset: Dataset;
  readonly aws: ObjectStore;
  /** What azure's writes and removals wait for. */
  gate: Promise<void>;
  clockAheadMs: number;
  azureStatus(): Promise<SiteStatus>;
}

async function opened(t: TestContext): Promise<Opened> {
  const folder = await mkdtemp(join(tmpdir(), 'isobar-lag-'));
  const state = await openEmbedded({ folder });
  const aws = new MemoryStore();
  const azure: ObjectStore = new MemoryStore();
  const stage: Opened = {
    aws,
    gate: Promise.resolve(),
    clockAheadMs: 0,
    dataset: new Dataset({
      policy: {
        dataset: 'photos',
        sites: ['aws', 'azure'],
        write: { kind: 'async' },
        reads: 'nearest',
        conflicts: 'last-writer-wins',
        guards: { maxDeletes: { keys: 100, share: 0.05 } },
      },
      stores: new Map([
        ['aws', aws],
        ['azure', waiting(azure, () => stage.gate)],
      ]),
      ledger: state.ledger,
      bus: state.bus,
      world: { ...systemWorld, nowMs: () => Date.now() + stage.clockAheadMs },
      settings: { patienceMs: 50 },
    }),
    azureStatus: async () => (await stage.dataset.status()).find(({ site }) => site === 'azure')!,
  };
  t.after(async () => {
    await stage.dataset.close();
    await state.close();
    await rm(folder, { recursive: true });
  });
  return stage;
}

/** Writes of keys of the user's wait for the gate; Isobar's own do not. */
function waiting(store: ObjectStore, gate: () => Promise<void>): ObjectStore {
  const held = async (key: string) => (key.startsWith('.isobar/') ? undefined : gate());
  return new Proxy(store, {
    get: (target, name) => {
      if (name === 'write') {
        return async (...args: Parameters<ObjectStore['write']>) => {
          await held(args[0].key);
          return target.write(...args);
        };
      }
      if (name === 'remove') {
        return async (...args: Parameters<ObjectStore['remove']>) => {
          await held(args[0]);
          return target.remove(...args);
        };
      }
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

async function writeNatively(store: ObjectStore, key: string): Promise<void> {
  const request = {
    key,
    body: Buffer.from(key),
    metadata: noMetadata,
    condition: { kind: 'absent' } as const,
  };
  assert.equal((await store.write(request, signal)).kind, 'written');
}

/** Watches until the end of `work`; the gate is open again by then, or the lanes would wait for it. */
async function watching(stage: Opened, work: () => Promise<void>): Promise<void> {
  const stop = new AbortController();
  const opening = Promise.withResolvers<void>();
  stage.gate = opening.promise;
  const watched = stage.dataset.watch({ scanEveryMs: 50 }, stop.signal).catch(() => {});
  try {
    await work();
  } finally {
    opening.resolve();
    await stage.dataset.quiet();
    stop.abort(new Error('seen enough'));
    await watched;
  }
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(20, undefined, { signal });
}

test('a key that is owed and under way counts once in the backlog', async (t) => {
  const stage = await opened(t);
  for (const key of ['a', 'b', 'c']) await writeNatively(stage.aws, key);
  await watching(stage, async () => {
    await until(async () => (await stage.azureStatus()).backlogKeys > 0);
    await sleep(500, undefined, { signal });
    assert.equal((await stage.azureStatus()).backlogKeys, 3);
  });
});

test('the lag of a native deletion is its own age, not that of the object that was deleted', async (t) => {
  const stage = await opened(t);
  await writeNatively(stage.aws, 'old');
  await writeNatively(stage.aws, 'other');
  await stage.dataset.sync({}, signal);
  stage.clockAheadMs = hourMs;
  const head = await stage.aws.head('old', signal);
  assert.equal((await stage.aws.remove('old', head!.token, signal)).kind, 'removed');
  await watching(stage, async () => {
    await until(async () => ((await stage.azureStatus()).lagMs ?? 0) > 300);
    const { lagMs } = await stage.azureStatus();
    assert.ok(lagMs! < hourMs / 2, `lag is ${lagMs} ms`);
  });
});
