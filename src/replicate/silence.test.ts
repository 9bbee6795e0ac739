import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Dataset } from '../dataset.ts';
import { openEmbedded } from '../embedded/open.ts';
import { noMetadata } from '../model/metadata.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { MemoryStore } from '../stores/memory/memory-store.ts';
import { systemWorld } from '../system-world.ts';
import { Breaker, defaultBreakerSettings } from './breaker.ts';

const signal = AbortSignal.timeout(60_000);
const quick = { ...defaultBreakerSettings, stallMs: 300, silentMs: 100 };
const forever = () => new Promise<never>(() => {});

test('what is not answered while nothing is opens the breaker, and nobody goes on waiting', async () => {
  const breaker = new Breaker('aws', systemWorld, quick);
  await assert.rejects(breaker.run(forever, 'brief'), { code: 'unavailable' });
  assert.equal(breaker.closed, false);
});

test('a late answer to what was given up tells that the site is back', async () => {
  const breaker = new Breaker('aws', systemWorld, { ...quick, firstPauseMs: 60_000 });
  const late = Promise.withResolvers<string>();
  await assert.rejects(
    breaker.run(() => late.promise, 'brief'),
    { code: 'unavailable' },
  );
  late.resolve('at last');
  await systemWorld.sleep(1, signal);
  assert.equal(breaker.closed, true);
});

test('a large body takes its time, and another answer is a sign of life', async () => {
  const breaker = new Breaker('aws', systemWorld, quick);
  void breaker.run(forever, 'long').catch(() => {});
  await systemWorld.sleep(600, signal);
  assert.equal(breaker.closed, true);
  void breaker.run(forever, 'brief').catch(() => {});
  for (let i = 0; i < 20; i++) {
    await breaker.run(async () => 'answer', 'brief');
    await systemWorld.sleep(40, signal);
  }
  assert.equal(breaker.closed, true);
});

async function datasetOver(t: TestContext, stores: ReadonlyMap<string, ObjectStore>): Promise<Dataset> {
  const folder = await mkdtemp(join(tmpdir(), 'isobar-silence-'));
  const state = await openEmbedded({ folder });
  const policy = {
    dataset: 'photos',
    sites: [...stores.keys()],
    write: { kind: 'async' },
    reads: 'nearest',
    conflicts: 'last-writer-wins',
    guards: { maxDeletes: { keys: 100, share: 0.05 } },
  } as const;
  const dataset = new Dataset({ policy, stores, ledger: state.ledger, bus: state.bus, world: systemWorld });
  t.after(async () => {
    await dataset.close();
    await state.close();
    await rm(folder, { recursive: true });
  });
  return dataset;
}

test('a write goes elsewhere when its site falls silent; that it took effect there later does no harm', async (t) => {
  const aws = new MemoryStore();
  const gate = Promise.withResolvers<void>();
  const silent = new Proxy<ObjectStore>(aws, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name, target);
      if (name !== 'write') return typeof value === 'function' ? value.bind(target) : value;
      return async (...args: Parameters<ObjectStore['write']>) => {
        if (!args[0].key.startsWith('.isobar/')) await gate.promise;
        return target.write(...args);
      };
    },
  });
  const gcp = new MemoryStore();
  const dataset = await datasetOver(
    t,
    new Map<string, ObjectStore>([
      ['aws', silent],
      ['gcp', gcp],
    ]),
  );
  const body = Buffer.from('body');
  const read = async () => body;
  const { sites } = await dataset.put('key', { size: body.length, read }, noMetadata, signal);
  assert.deepEqual(
    sites.map(({ site, outcome }) => [site, outcome]),
    [
      ['aws', 'unknown'],
      ['gcp', 'durable'],
    ],
  );
  assert.ok(await gcp.head('key', signal));
  assert.equal(await aws.head('key', signal), undefined);
  gate.resolve();
  const result = await dataset.sync({}, signal);
  assert.deepEqual(result.owed, { aws: 0, gcp: 0 });
  assert.ok(await aws.head('key', signal));
  const losers: unknown[] = [];
  for await (const page of dataset.losers()) losers.push(...page);
  assert.deepEqual(losers, []);
  await dataset.verify({ deep: true }, (one) => assert.fail(JSON.stringify(one)), signal);
});
