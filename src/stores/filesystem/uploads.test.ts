import assert from 'node:assert/strict';
import { link, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { StoreFailure } from '../../model/failure.ts';
import { noMetadata } from '../../model/metadata.ts';
import type { ObjectStore, Upload } from '../../ports/object-store.ts';
import { leftovers, never, put, type ScratchFolder, scratchFolder, textAt } from './scratch-folder.ts';
import { createFilesystemStore } from './store.ts';

let folder: ScratchFolder;
let store: ObjectStore;

beforeEach(async () => {
  folder = await scratchFolder();
  store = createFilesystemStore({ path: folder.path });
});
afterEach(async () => {
  await store.close();
  await folder.remove();
});

const hasCode = (code: string) => (cause: unknown) => cause instanceof StoreFailure && cause.code === code;
const request = { key: 'big', size: 7, partSizeBytes: 3, metadata: noMetadata };
const commit = { condition: { kind: 'absent' as const }, metadata: noMetadata };
const partOf = (index: number) => ({ index, bytes: Buffer.from(['abc', 'def', 'g'][index]!) });

test('another process goes on with what was kept as JSON, and the body is not copied', async () => {
  const upload = await store.startUpload(request, never);
  const first = await store.writePart(upload, partOf(2), never);
  const kept = JSON.parse(JSON.stringify({ upload, first })) as { upload: Upload; first: string };
  const other = createFilesystemStore({ path: folder.path });
  const second = await other.writePart(kept.upload, partOf(0), never);
  const third = await other.writePart(kept.upload, partOf(1), never);
  const outcome = await other.completeUpload(kept.upload, [second, third, kept.first], commit, never);
  assert.equal(outcome.kind, 'written');
  assert.equal(await textAt(store, 'big'), 'abcdefg');
  await other.close();
  assert.deepEqual(await leftovers(folder), []);
});

test('a crash after the body got its name: a late part does not touch the object, and giving up leaves it', async () => {
  const upload = await store.startUpload(request, never);
  for (const index of [0, 1, 2]) await store.writePart(upload, partOf(index), never);
  await link(join(folder.path, '.isobar/store/uploads', upload.id, 'body'), join(folder.path, 'big'));
  const late = store.writePart(upload, { index: 0, bytes: Buffer.from('XXX') }, never);
  await assert.rejects(late, hasCode('upload-lost'));
  await store.abortUpload(upload, never);
  assert.equal(await textAt(store, 'big'), 'abcdefg');
});

test('a missing receipt, one of another part, and an id that is no id are refused', async () => {
  const upload = await store.startUpload(request, never);
  const receipts = await Promise.all([0, 1, 2].map((index) => store.writePart(upload, partOf(index), never)));
  const [a, b, c] = receipts as [string, string, string];
  await assert.rejects(store.completeUpload(upload, [a, b], commit, never), hasCode('upload-lost'));
  await assert.rejects(store.completeUpload(upload, [a, c, b], commit, never), hasCode('upload-lost'));
  await put(store, 'precious', 'body');
  const forged = { ...upload, id: '../../..' };
  await assert.rejects(store.writePart(forged, partOf(0), never), hasCode('upload-lost'));
  await store.abortUpload(forged, never);
  assert.equal(await textAt(store, 'precious'), 'body');
  await assert.rejects(
    store.writePart(upload, { index: 2, bytes: Buffer.from('too long') }, never),
    hasCode('invalid'),
  );
});

test('after a conflict the parts are still there, until it is given up', async () => {
  const upload = await store.startUpload(request, never);
  const receipts = await Promise.all([0, 1, 2].map((index) => store.writePart(upload, partOf(index), never)));
  await writeFile(join(folder.path, 'big'), 'native');
  assert.equal((await store.completeUpload(upload, receipts, commit, never)).kind, 'conflict');
  const head = await store.head('big', never);
  const condition = { kind: 'match' as const, token: head!.token };
  const outcome = await store.completeUpload(upload, receipts, { ...commit, condition }, never);
  assert.equal(outcome.kind, 'written');
  assert.equal(await textAt(store, 'big'), 'abcdefg');
});
