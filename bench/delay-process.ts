/* The delay from a write through Isobar to its being at the last target, beside the bare requests, in one process.
 * Standard input: {"sites": {...}, "state": folder, "writes": n}; the first site takes the writes.
 */
import { randomBytes } from 'node:crypto';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ObjectStore } from '../src/ports/object-store.ts';
import { configText, datasetName } from './isobar.ts';
import { load } from './published.ts';

const { openState } = await load<typeof import('../src/assembly/open.ts')>('assembly/open');
const { openStore } = await load<typeof import('../src/assembly/stores.ts')>('assembly/stores');
const { parseConfig, toPolicy } = await load<typeof import('../src/config/index.ts')>('config/index');
const { Dataset } = await load<typeof import('../src/dataset.ts')>('dataset');
const { noMetadata } = await load<typeof import('../src/model/metadata.ts')>('model/metadata');
const { systemWorld } = await load<typeof import('../src/system-world.ts')>('system-world');

const bodyBytes = 4096;
const warmUps = 10;
const signal = new AbortController().signal;

const input = JSON.parse(await text(process.stdin)) as { sites: never; state: string; writes: number };
const config = parseConfig(configText(input.sites, input.state), 'isobar.yaml', {});
const policy = toPolicy(config, datasetName);
const [sourceId, ...targetIds] = policy.sites as [string, ...string[]];

/** Resolved when a target has answered that it has the key. */
const arrivals = new Map<string, (site: string, atMs: number) => void>();

function reporting(site: string, store: ObjectStore): ObjectStore {
  const write: ObjectStore['write'] = async (request, signal) => {
    const answer = await store.write(request, signal);
    if (answer.kind === 'written') arrivals.get(request.key)?.(site, performance.now());
    return answer;
  };
  return new Proxy(store, {
    get(target, name) {
      if (name === 'write') return write;
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** When every target has it. */
function arrivedEverywhere(key: string): Promise<number> {
  const missing = new Set(targetIds);
  return new Promise((resolve) => {
    arrivals.set(key, (site, atMs) => {
      missing.delete(site);
      if (missing.size > 0) return;
      arrivals.delete(key);
      resolve(atMs);
    });
  });
}

const bare = new Map<string, ObjectStore>();
for (const site of policy.sites) bare.set(site, await openStore(config.sites[site]!));
const state = await openState(config);
const stores = new Map([...bare].map(([site, store]) => [site, reporting(site, store)] as const));
const dataset = new Dataset({ policy, stores, ledger: state.ledger, bus: state.bus, world: systemWorld });

async function throughIsobar(key: string): Promise<{ ackMs: number; totalMs: number }> {
  const bytes = randomBytes(bodyBytes);
  const body = { size: bodyBytes, read: async () => bytes };
  const arrived = arrivedEverywhere(key);
  const begunMs = performance.now();
  const acked = dataset.put(key, body, noMetadata, signal).then(() => performance.now());
  const [ackedMs, endMs] = await Promise.all([acked, arrived]);
  return { ackMs: ackedMs - begunMs, totalMs: endMs - begunMs };
}

/** A PUT at the source, which is not timed, then what is: one GET there, and one PUT at every target at once. */
async function bareRequests(key: string): Promise<{ putMs: number; copyMs: number }> {
  const source = bare.get(sourceId)!;
  const condition = { kind: 'absent' } as const;
  const begunMs = performance.now();
  await source.write({ key, body: randomBytes(bodyBytes), metadata: noMetadata, condition }, signal);
  const writtenMs = performance.now();
  const read = await source.read(key, {}, signal);
  const body = await read!.bytes();
  await Promise.all(
    targetIds.map((site) => bare.get(site)!.write({ key, body, metadata: noMetadata, condition }, signal)),
  );
  return { putMs: writtenMs - begunMs, copyMs: performance.now() - writtenMs };
}

const stop = new AbortController();
// The scan at the start proves the sites; no other comes between.
const watching = dataset.watch({ scanEveryMs: 3_600_000 }, stop.signal);
await sleep(1_500);
const samples: object[] = [];
for (let n = -warmUps; n < input.writes; n++) {
  const isobar = await throughIsobar(`isobar/${n}`);
  await sleep(15);
  const alone = await bareRequests(`bare/${n}`);
  await sleep(15);
  if (n >= 0) samples.push({ ...isobar, ...alone });
}
for (const site of targetIds) {
  const found = await bare.get(site)!.read(`isobar/${input.writes - 1}`, {}, signal);
  if ((await found?.bytes())?.length !== bodyBytes) throw new Error(`the last write is not at ${site}`);
}
await dataset.quiet();
stop.abort();
await watching.catch(() => {});
await dataset.close();
await state.close();
for (const store of bare.values()) await store.close();
process.stdout.write(JSON.stringify(samples));
