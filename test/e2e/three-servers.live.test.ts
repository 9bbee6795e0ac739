import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { type OpenedDataset, openConfigured, openState, type State } from '../../src/assembly/open.ts';
import { digestOfLeaves, leafBytes, leavesOf } from '../../src/model/digest.ts';
import { traitsOf } from '../../src/model/entry.ts';
import { noMetadata, type ObjectMetadata } from '../../src/model/metadata.ts';
import { digestOf } from '../../src/replicate/observe.ts';
import { systemWorld } from '../../src/system-world.ts';
import { availableServers } from '../servers/start.ts';
import { type LiveSystem, nativePut, nativeRemove, startSystem, threeClouds } from './sites.ts';

const missing = Object.values(threeClouds).filter((name) => !availableServers().includes(name));
const skip = missing.length > 0 ? `not installed: ${missing.join(', ')} (npm run servers)` : false;
const signal = AbortSignal.timeout(8 * 60_000);
const mebibyte = 1024 * 1024;

let system: LiveSystem;
let state: State;
let opened: OpenedDataset;

before(async () => {
  if (skip) return;
  system = await startSystem(threeClouds);
  state = await openState(system.config);
  opened = await openConfigured(system.config, 'photos', state, systemWorld);
});

after(async () => {
  await opened?.close();
  await state?.close();
  await system?.stop();
});

/** What every site must hold: digest and traits by key. */
const expected = new Map<string, { digest: string; traits: string }>();

const odd = [
  'with space and + plus',
  'percent %2F and 100%',
  'Ünïcödé/日本語/ключ.txt',
  'emoji 😀.bin',
  '\uE000 private use',
  'a?b=c&d#e',
  'quote \' and " double',
  'trailing space ',
  'semi;colon,comma=equals@at',
  'deep/'.repeat(60) + 'end',
];

function keyOf(index: number): string {
  return odd[index] ?? `album-${index % 17}/photo-${String(index).padStart(5, '0')}.jpg`;
}

function sizeOf(index: number): number {
  if (index === 999) return 300 * mebibyte;
  if (index === 998) return 40 * mebibyte + 1;
  if (index >= 990) return (index - 988) * mebibyte;
  if (index >= 980) return leafBytes + (index - 985);
  return [0, 1, 100, 4096, 20_000, 65_537][index % 6]!;
}

function metadataOf(index: number): ObjectMetadata {
  if (index % 3 === 0) return noMetadata;
  return {
    contentType: 'image/jpeg',
    cacheControl: 'max-age=60',
    contentDisposition: 'inline',
    contentLanguage: 'de',
    user: { author: 'Ada', title: index % 2 ? 'Grüße aus Köln' : 'plain' },
    tags: index % 5 ? {} : { team: 'photos', stage: 'raw' },
  };
}

async function write(site: number, key: string, body: Uint8Array, metadata: ObjectMetadata): Promise<void> {
  const { native } = system.sites[site]!;
  if (body.length <= 32 * mebibyte) await nativePut(native, key, body, metadata, signal);
  else await nativeUpload(site, key, body, metadata);
  expected.set(key, { digest: digestOfLeaves(leavesOf(body)), traits: traitsOf(metadata) });
}

async function nativeUpload(
  site: number,
  key: string,
  body: Uint8Array,
  metadata: ObjectMetadata,
): Promise<void> {
  const { native } = system.sites[site]!;
  const partSizeBytes = 8 * mebibyte;
  const upload = await native.startUpload({ key, size: body.length, partSizeBytes, metadata }, signal);
  const receipts: string[] = [];
  for (let index = 0; index * partSizeBytes < body.length; index++) {
    const bytes = body.subarray(index * partSizeBytes, (index + 1) * partSizeBytes);
    receipts.push(await native.writePart(upload, { index, bytes }, signal));
  }
  const done = await native.completeUpload(
    upload,
    receipts,
    { condition: { kind: 'absent' }, metadata },
    signal,
  );
  assert.equal(done.kind, 'written');
}

/** Reads every object at every site with the native driver: not by what Isobar says of itself. */
async function assertEverywhere(keys: Iterable<string>): Promise<void> {
  for (const { name, native } of system.sites) {
    for (const key of keys) {
      const head = await native.head(key, signal);
      const want = expected.get(key);
      if (!want) {
        assert.equal(head, undefined, `${name} still holds ${key}`);
        continue;
      }
      assert.ok(head, `${name} lacks ${JSON.stringify(key)}`);
      assert.equal(await digestOf(native, key, head.token, signal), want.digest, `${name} ${key}`);
      assert.equal(traitsOf(head.metadata), want.traits, `${name} ${key} metadata`);
    }
  }
}

async function assertDeepEqual(): Promise<void> {
  const report = await opened.dataset.verify(
    { deep: true },
    (difference) => assert.fail(JSON.stringify(difference)),
    signal,
  );
  assert.deepEqual(report.away, {});
  assert.equal(report.keys, expected.size);
}

test('1,000 mixed objects arrive everywhere', { skip }, async () => {
  for (let index = 0; index < 1000; index++) {
    const seed = createHash('sha256').update(String(index)).digest();
    const size = sizeOf(index);
    const body = size > mebibyte ? randomBytes(size) : Buffer.alloc(size, seed);
    await write(0, keyOf(index), body, metadataOf(index));
  }
  const result = await opened.dataset.sync({}, signal);
  assert.deepEqual(
    { owed: result.owed, parked: result.parked, away: result.away },
    { owed: { aws: 0, gcp: 0, azure: 0 }, parked: 0, away: {} },
  );
  await assertEverywhere(expected.keys());
  await assertDeepEqual();
});

test('overwrites, deletions and re-creations at each site in turn', { skip }, async () => {
  for (const [turn, site] of system.sites.entries()) {
    const keys = Array.from({ length: 12 }, (_, i) => keyOf(turn * 40 + i));
    for (const [i, key] of keys.entries()) {
      if (i % 3 === 0) await write(turn, key, Buffer.from(`overwritten at ${site.name} ${i}`), metadataOf(i));
      else {
        await nativeRemove(site.native, key, signal);
        expected.delete(key);
      }
    }
    await write(turn, `new at ${site.name}`, Buffer.from('new'), metadataOf(1));
    await opened.dataset.sync({}, signal);
    await assertEverywhere([...keys, `new at ${site.name}`]);
    for (const [i, key] of keys.entries()) {
      if (i % 3 === 1) await write(turn, key, Buffer.from(`risen at ${site.name} ${i}`), noMetadata);
    }
    await opened.dataset.sync({}, signal);
    await assertEverywhere(keys);
  }
  await assertDeepEqual();
});

test('nothing is left behind: no upload, no debt', { skip }, async () => {
  for (const { name, native } of system.sites) {
    for await (const page of native.listUploads(signal))
      assert.deepEqual(page, [], `${name} has uploads left`);
  }
  for (const { site, backlogKeys } of await opened.dataset.status()) assert.equal(backlogKeys, 0, site);
});
