import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Dataset } from './dataset.ts';
import { openEmbedded } from './embedded/open.ts';
import { noMetadata } from './model/metadata.ts';
import type { Policy } from './model/policy.ts';
import type { ObjectStore } from './ports/object-store.ts';
import { MemoryStore } from './stores/memory/memory-store.ts';
import { systemWorld } from './system-world.ts';

const signal = AbortSignal.timeout(60_000);
const closers: (() => Promise<void>)[] = [];
after(async () => {
  for (const close of closers.reverse()) await close();
});

const names = ['aws', 'gcp', 'azure'];

function policyOf(overrides: Partial<Policy> = {}): Policy {
  return {
    dataset: 'photos',
    sites: names,
    write: { kind: 'async' },
    reads: 'nearest',
    conflicts: 'last-writer-wins',
    guards: { maxDeletes: { keys: 100, share: 0.05 } },
    ...overrides,
  };
}

interface Opened {
  readonly dataset: Dataset;
  readonly stores: Map<string, ObjectStore>;
  /** Straight into a site, as a native client does. */
  put(site: string, key: string, text: string): Promise<void>;
  remove(site: string, key: string): Promise<void>;
  /** What a native client reads. */
  read(site: string, key: string): Promise<string | undefined>;
}

async function opened(overrides: Partial<Policy> = {}, s3Like = false): Promise<Opened> {
  const folder = await mkdtemp(join(tmpdir(), 'isobar-dataset-'));
  const state = await openEmbedded({ folder });
  const capabilities = { tokenIsContentDigest: s3Like };
  const stores = new Map<string, ObjectStore>(names.map((name) => [name, new MemoryStore({ capabilities })]));
  const dataset = new Dataset({
    policy: policyOf(overrides),
    stores,
    ledger: state.ledger,
    bus: state.bus,
    world: systemWorld,
    events: {
      failed: ({ site, key, error }) => {
        if (process.env['DEBUG']) process.stderr.write(`${site} ${key}: ${error.stack}\n`);
      },
    },
  });
  closers.push(async () => {
    await dataset.close();
    await state.close();
    await rm(folder, { recursive: true });
  });
  const read = async (site: string, key: string) => {
    const found = await stores.get(site)!.read(key, {}, signal);
    return found && Buffer.from(await found.bytes()).toString();
  };
  return {
    dataset,
    stores,
    read,
    async put(site, key, text) {
      const store = stores.get(site)!;
      const head = await store.head(key, signal);
      const condition = head
        ? ({ kind: 'match', token: head.token } as const)
        : ({ kind: 'absent' } as const);
      const done = await store.write(
        { key, body: Buffer.from(text), metadata: noMetadata, condition },
        signal,
      );
      assert.equal(done.kind, 'written');
    },
    async remove(site, key) {
      const head = await stores.get(site)!.head(key, signal);
      assert.equal((await stores.get(site)!.remove(key, head!.token, signal)).kind, 'removed');
    },
  };
}

function textBody(text: string) {
  const bytes = Buffer.from(text);
  return {
    size: bytes.length,
    read: async ({ from, to }: { from: number; to: number }) => bytes.subarray(from, to),
  };
}

for (const s3Like of [false, true]) {
  const kind = s3Like ? 'S3-like stores' : 'generation stores';

  test(`${kind}: first copy, overwrite, delete and re-creation at each site in turn`, async () => {
    const { dataset, put, remove, read } = await opened({}, s3Like);
    for (let i = 0; i < 50; i++) await put('aws', `photo-${i}`, `body ${i}`);
    const first = await dataset.sync({}, signal);
    assert.deepEqual(first.owed, { aws: 0, gcp: 0, azure: 0 });
    for (const site of names) {
      for (let i = 0; i < 50; i++)
        assert.equal(await read(site, `photo-${i}`), `body ${i}`, `${site} photo-${i}`);
    }
    for (const [turn, site] of names.entries()) {
      await put(site, `photo-${turn}`, `again ${site}`);
      await remove(site, `photo-${turn + 10}`);
      await put(site, `new-${site}`, 'fresh');
      await dataset.sync({}, signal);
      for (const other of names) {
        assert.equal(await read(other, `photo-${turn}`), `again ${site}`);
        assert.equal(await read(other, `photo-${turn + 10}`), undefined);
        assert.equal(await read(other, `new-${site}`), 'fresh');
      }
      await put(site, `photo-${turn + 10}`, 'risen');
      await dataset.sync({}, signal);
      for (const other of names) assert.equal(await read(other, `photo-${turn + 10}`), 'risen');
    }
    const report = await dataset.verify(
      { deep: true },
      (difference) => assert.fail(JSON.stringify(difference)),
      signal,
    );
    assert.equal(report.keys, 53);
  });

  test(`${kind}: different bodies under one key at the first sync: the later wins, the loser is kept`, async () => {
    const { dataset, put, read, stores } = await opened({}, s3Like);
    await put('aws', 'shared', 'older');
    await new Promise((resolve) => setTimeout(resolve, 20));
    await put('gcp', 'shared', 'newer, and longer');
    await put('aws', 'same', 'equal');
    await put('gcp', 'same', 'equal');
    await dataset.sync({}, signal);
    for (const site of names) assert.equal(await read(site, 'shared'), 'newer, and longer');
    for (const site of names) assert.equal(await read(site, 'same'), 'equal');
    const losers = [];
    for await (const page of dataset.losers()) losers.push(...page);
    assert.deepEqual(
      losers.map(({ key, site }) => ({ key, site })),
      [{ key: 'shared', site: 'aws' }],
    );
    const kept = await stores.get('aws')!.read(losers[0]!.keptAs, {}, signal);
    assert.equal(Buffer.from(await kept!.bytes()).toString(), 'older');
  });

  test(`${kind}: writes through Isobar`, async () => {
    const { dataset, read } = await opened({}, s3Like);
    await dataset.put(
      'doc',
      textBody('one'),
      { ...noMetadata, contentType: 'text/plain', user: { author: 'Ada' } },
      signal,
    );
    assert.equal(await read('aws', 'doc'), 'one');
    await dataset.sync({}, signal);
    for (const site of names) assert.equal(await read(site, 'doc'), 'one');
    await dataset.put('doc', textBody('two'), noMetadata, signal);
    const got = await dataset.get('doc', {}, signal);
    assert.equal(Buffer.from(await got!.bytes()).toString(), 'two');
    assert.equal(got!.site, 'aws');
    assert.ok(await dataset.remove('doc', signal));
    assert.equal(await dataset.remove('doc', signal), undefined);
    assert.equal(await dataset.get('doc', {}, signal), undefined);
    await dataset.sync({}, signal);
    for (const site of names) assert.equal(await read(site, 'doc'), undefined);
  });
}

test('a site that was emptied deletes nothing until a person agrees', async () => {
  const { dataset, put, remove, read } = await opened();
  for (let i = 0; i < 20; i++) await put('aws', `k${i}`, 'x');
  await dataset.sync({}, signal);
  for (let i = 0; i < 20; i++) await remove('gcp', `k${i}`);
  const guarded = await dataset.sync({}, signal);
  assert.equal(guarded.guarded, 20);
  assert.equal(await read('aws', 'k3'), 'x');
  await dataset.sync({ yes: true }, signal);
  assert.equal(await read('aws', 'k3'), undefined);
});

test('a pass without change makes no request per object', async () => {
  const { dataset, put, stores } = await opened({}, true);
  for (let i = 0; i < 30; i++) await put('aws', `k${i}`, 'x');
  await dataset.sync({}, signal);
  const asked: string[] = [];
  for (const [name, store] of stores) {
    for (const verb of ['head', 'read', 'write', 'remove'] as const) {
      const original = store[verb].bind(store) as (...args: unknown[]) => unknown;
      Object.assign(store, {
        [verb]: (...args: unknown[]) => {
          asked.push(`${name} ${verb} ${String(args[0])}`);
          return original(...args);
        },
      });
    }
  }
  await dataset.sync({}, signal);
  assert.deepEqual(
    asked.filter((line) => !line.includes('.isobar/site')),
    [],
  );
});

test('sync writes are acknowledged by the number of sites the mode names', async () => {
  const { dataset, read } = await opened({ write: { kind: 'sync', acks: 'all' } });
  const result = await dataset.put('k', textBody('everywhere'), noMetadata, signal);
  assert.equal(result.sites.filter(({ outcome }) => outcome === 'durable').length, 3);
  for (const site of names) assert.equal(await read(site, 'k'), 'everywhere');
});
