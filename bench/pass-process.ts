/* A comparing pass over listings that are made up, as its own process.
 *   node bench/pass-process.ts fill|run <state folder> <keys>
 * `fill` writes what the ledger would know of so many keys at two sites; `run` makes one pass and tells what it took.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { keepHeapSmall } from '../src/cli/heap.ts';
import type { Policy } from '../src/model/policy.ts';
import type { Replica } from '../src/model/record.ts';
import type { Stamp } from '../src/model/stamp.ts';
import type { Capabilities, ListEntry, ListRequest, ObjectStore } from '../src/ports/object-store.ts';
import { load } from './published.ts';

const { Dataset } = await load<typeof import('../src/dataset.ts')>('dataset');
const { openEmbedded } = await load<typeof import('../src/embedded/open.ts')>('embedded/open');
const { encodeRecord } = await load<typeof import('../src/replicate/records.ts')>('replicate/records');
const { systemWorld } = await load<typeof import('../src/system-world.ts')>('system-world');
const { MemoryStore } = await load<typeof import('../src/stores/memory/memory-store.ts')>(
  'stores/memory/memory-store',
);

const policy: Policy = {
  dataset: 'bench',
  sites: ['a', 'b'],
  write: { kind: 'async' },
  reads: 'nearest',
  conflicts: 'last-writer-wins',
  guards: { maxDeletes: { keys: 100, share: 0.05 } },
};

const madeMs = Date.UTC(2026, 0, 1);
const madeStamp = '019b76daa8000000' as Stamp;
const size = 4096;
/** As S3 gives them at most. */
const pageSize = 1000;

const hex = (index: number) => index.toString(16).padStart(32, '0');
const keyOf = (index: number) =>
  `data/${String(index).padStart(9, '0')}/some-object-with-a-usual-name.parquet`;
const indexOf = (key: string) => Number(key.slice(5, 14));

/** A bucket whose listing is computed, with a marker object that is really there. */
function madeUp(keys: number): ObjectStore {
  const few = new MemoryStore({});
  const capabilities: Capabilities = few.capabilities;
  const own: Partial<ObjectStore> = {
    capabilities,
    list: (request) => pages(keys, request),
    sameWrite: (recorded, seen) => recorded === seen,
  };
  return new Proxy(few as ObjectStore, {
    get(store, name) {
      const value: unknown = Reflect.get(name in own ? own : store, name);
      return typeof value === 'function' ? value.bind(store) : value;
    },
  });
}

async function* pages(keys: number, { after, until }: ListRequest): AsyncGenerator<readonly ListEntry[]> {
  let next = after === undefined ? 0 : indexOf(after) + 1;
  const end = until === undefined ? keys : indexOf(until) + 1;
  while (next < end) {
    const count = Math.min(pageSize, end - next);
    const begin = next;
    next += count;
    // A page comes from the network: in a later turn.
    await turn();
    yield Array.from({ length: count }, (_, n) => entryOf(begin + n));
  }
}

function entryOf(index: number): ListEntry {
  const md5 = hex(index);
  return { key: keyOf(index), size, token: `e:${md5}`, lastModifiedMs: madeMs, digests: { md5 } };
}

function replicaOf(index: number): Replica {
  const md5 = hex(index);
  const version = {
    stamp: madeStamp,
    dot: { site: 'a', count: 1 },
    past: {},
    operation: hex(index).slice(10),
    deleted: false,
  };
  return { version, token: `e:${md5}`, size, md5, digest: `${md5}${md5}`, traits: md5.slice(16) };
}

async function fill(folder: string, keys: number): Promise<void> {
  const state = await openEmbedded({ folder });
  for (let begin = 0; begin < keys; begin += 2000) {
    const rows = Array.from({ length: Math.min(2000, keys - begin) }, (_, n) => {
      const key = keyOf(begin + n);
      const replica = replicaOf(begin + n);
      const value = encodeRecord({ key, replicas: { a: replica, b: replica } });
      return { table: 'keys' as const, id: `${policy.dataset}\0${key}`, value };
    });
    await state.ledger.commit(rows);
  }
  await state.close();
}

async function run(folder: string, keys: number): Promise<void> {
  const state = await openEmbedded({ folder });
  const stores = new Map(policy.sites.map((site) => [site, madeUp(keys)]));
  let requests = 0;
  const events = {
    request: (_: string, { verb }: { verb: string }) => {
      if (verb !== 'list') requests += 1;
    },
  };
  const dataset = new Dataset({
    policy,
    stores,
    ledger: state.ledger,
    bus: state.bus,
    world: systemWorld,
    events,
  });
  const signal = new AbortController().signal;
  // Markers come and go with the process: the first look writes them anew.
  for (const site of policy.sites) await dataset.updateSite(site, { marker: undefined } as never);
  const begunMs = performance.now();
  const { keys: compared, sites } = await dataset.sync({}, signal);
  const seconds = (performance.now() - begunMs) / 1000;
  const away = Object.values(sites).filter((site) => site.away !== undefined);
  if (compared !== keys || away.length > 0)
    throw new Error(`compared ${compared} keys: ${JSON.stringify(sites)}`);
  process.stdout.write(`${JSON.stringify({ seconds, keys: compared, requests })}\n`);
  await dataset.close();
  await state.close();
}

// As the program does before it begins to work.
keepHeapSmall();
const [what, folder = '', keys = '0'] = process.argv.slice(2);
await (what === 'fill' ? fill(folder, Number(keys)) : run(folder, Number(keys)));
