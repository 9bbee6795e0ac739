import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { type OpenedDataset, openConfigured, openState, type State } from '../../src/assembly/open.ts';
import { noMetadata } from '../../src/model/metadata.ts';
import type { ObjectHead } from '../../src/ports/object-store.ts';
import { systemWorld } from '../../src/system-world.ts';
import { collect } from '../../src/testing/trial.ts';
import { availableServers } from '../servers/start.ts';
import { honestClouds, type LiveSystem, nativePut, nativeRemove, startSystem } from './sites.ts';

const missing = Object.values(honestClouds).filter((name) => !availableServers().includes(name));
const skip = missing.length > 0 ? `not installed: ${missing.join(', ')} (npm run servers)` : false;
const signal = AbortSignal.timeout(4 * 60_000);
const mebibyte = 1024 * 1024;

let system: LiveSystem;
let state: State;
let opened: OpenedDataset;
/** Requests that write or remove, since they were last forgotten. */
const writes: string[] = [];
const changes: string[] = [];
/** A copy of what is deleted later. */
let late: { readonly head: ObjectHead; readonly body: Uint8Array } | undefined;

async function open(): Promise<void> {
  state = await openState(system.config);
  opened = await openConfigured(system.config, 'photos', state, systemWorld, {
    events: {
      request: (site, { verb }) => {
        if (['start-upload', 'complete-upload', 'write-part', 'remove', 'write'].includes(verb))
          writes.push(`${site} ${verb}`);
      },
      copied: ({ site, key, outcome }) => {
        if (outcome !== 'noted') changes.push(`${site} ${key} ${outcome}`);
      },
    },
  });
}

async function loseLedger(): Promise<void> {
  await opened.close();
  await state.close();
  writes.length = 0;
  changes.length = 0;
  await rm(system.config.state, { recursive: true });
  await open();
}

before(async () => {
  if (skip) return;
  system = await startSystem(honestClouds);
  await open();
});

after(async () => {
  await opened?.close();
  await state?.close();
  await system?.stop();
});

const keys = Array.from({ length: 120 }, (_, i) => `album ${i % 7}/photo-${i}.jpg`);
const gone = keys.filter((_, i) => i % 4 === 1);
const kept = keys.filter((_, i) => i % 4 !== 1);

test('three servers with a past: objects, overwrites, deletions, a conflict', { skip }, async () => {
  for (const [i, key] of keys.entries()) {
    const size = i === 0 ? 12 * mebibyte : (i * 997) % 50_000;
    const { native } = system.sites[i % 3]!;
    await nativePut(native, key, Buffer.alloc(size, i), { ...noMetadata, user: { number: `${i}` } }, signal);
  }
  for (const [i, { native }] of system.sites.entries())
    await nativePut(native, 'conflict', Buffer.from(`written at ${i}`), noMetadata, signal);
  await opened.dataset.sync({}, signal);
  const read = await system.sites[2]!.native.read(gone[0]!, {}, signal);
  late = read && { head: read.head, body: await read.bytes() };
  for (const [i, key] of gone.entries()) {
    if (i % 2 === 0) await opened.dataset.remove(key, signal);
    else await nativeRemove(system.sites[i % 3]!.native, key, signal);
  }
  await nativePut(system.sites[1]!.native, kept[5]!, Buffer.from('overwritten'), noMetadata, signal);
  await opened.dataset.sync({}, signal);
  await opened.dataset.sync({}, signal);
  for (const { native } of system.sites)
    for (const key of gone) assert.equal(await native.head(key, signal), undefined);
});

test('the ledger is lost: after rebuild and sync nothing was copied, and nothing is back', {
  skip,
}, async () => {
  const losers = (await collect(opened.dataset.losers()))
    .map(({ site, keptAs }) => `${site} ${keptAs}`)
    .sort();
  assert.equal(losers.length, 2);
  await loseLedger();
  const dry = await opened.dataset.rebuild({ dryRun: true }, signal);
  assert.equal(dry.keys, kept.length + 1);
  const rebuilt = await opened.dataset.rebuild({ dryRun: false }, signal);
  assert.equal(rebuilt.keys, kept.length + 1 + gone.length);
  assert.deepEqual(
    Object.values(rebuilt.sites).map(({ away, keys: listed }) => [away, listed]),
    system.sites.map(() => [undefined, kept.length + 1]),
  );
  await opened.dataset.sync({}, signal);
  assert.deepEqual(changes, []);
  assert.deepEqual(writes, [], 'no site was asked to change anything');
  const found = (await collect(opened.dataset.losers()))
    .map(({ site, keptAs }) => `${site} ${keptAs}`)
    .sort();
  assert.deepEqual(found, losers);
  await opened.dataset.verify(
    { deep: true },
    (difference) => assert.fail(JSON.stringify(difference)),
    signal,
  );
  for (const { native } of system.sites)
    for (const key of gone) assert.equal(await native.head(key, signal), undefined);
});

test('what a site still holds of a deleted key is removed, what was written there since is not', {
  skip,
}, async () => {
  const [, , azure] = system.sites;
  assert.ok(late && azure);
  // As a copy that was in flight: the old body with its entry.
  await nativePut(azure.native, late.head.key, late.body, late.head.metadata, signal);
  await nativePut(azure.native, gone[2]!, Buffer.from('risen'), noMetadata, signal);
  await loseLedger();
  await opened.dataset.sync({}, signal);
  await opened.dataset.sync({}, signal);
  for (const { native } of system.sites) {
    assert.equal(await native.head(late.head.key, signal), undefined);
    assert.equal((await native.head(gone[2]!, signal))?.size, 5);
  }
});
