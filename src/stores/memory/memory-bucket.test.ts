import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { StoreFailure } from '../../model/failure.ts';
import { noMetadata } from '../../model/metadata.ts';
import type { Condition, ObjectStore, Token } from '../../ports/object-store.ts';
import { MemoryBucket } from './memory-bucket.ts';
import { MemoryStore } from './memory-store.ts';

const signal = new AbortController().signal;
const absent: Condition = { kind: 'absent' };
const matching = (token: Token): Condition => ({ kind: 'match', token });

function openBucket(): { bucket: MemoryBucket; store: MemoryStore } {
  const bucket = new MemoryBucket();
  return { bucket, store: new MemoryStore({ bucket, limits: { minPartBytes: 1 } }) };
}

async function put(
  store: ObjectStore,
  key: string,
  body: string,
  condition: Condition = absent,
): Promise<Token> {
  const answer = await store.write({ key, body: Buffer.from(body), metadata: noMetadata, condition }, signal);
  return answer.kind === 'written' ? answer.token : assert.fail(`${key}: conflict`);
}

async function bodyAt(store: ObjectStore, key: string): Promise<string | undefined> {
  const read = await store.read(key, {}, signal);
  return read && Buffer.from(await read.bytes()).toString();
}

async function keysOf(store: ObjectStore): Promise<string[]> {
  const keys: string[] = [];
  for await (const page of store.list({}, signal)) keys.push(...page.map((entry) => entry.key));
  return keys;
}

async function openUploads(store: ObjectStore): Promise<string[]> {
  const ids: string[] = [];
  for await (const page of store.listUploads(signal)) ids.push(...page.map((entry) => entry.upload.id));
  return ids;
}

function startTwoParts(store: ObjectStore, key: string) {
  return store.startUpload({ key, size: 4, partSizeBytes: 2, metadata: noMetadata }, signal);
}

/** Runs `act` and crashes the bucket when the change is visible and not yet durable. */
async function crashWithin(
  bucket: MemoryBucket,
  visible: () => boolean,
  act: Promise<unknown>,
): Promise<void> {
  const outcome = act.then(
    () => 'resolved',
    (error: unknown) => (error instanceof StoreFailure ? error.code : String(error)),
  );
  for (let turn = 0; !visible(); turn++) {
    assert.ok(turn < 10, 'the change never became visible');
    await Promise.resolve();
  }
  bucket.crash();
  assert.equal(await outcome, 'unavailable', 'what was lost must not be acknowledged');
}

describe('a crash of the memory bucket', () => {
  test('keeps everything that was acknowledged', async () => {
    const { bucket, store } = openBucket();
    const first = await put(store, 'a', 'one');
    const second = await put(store, 'a', 'two', matching(first));
    const doomed = await put(store, 'b', 'gone');
    await store.remove('b', doomed, signal);
    const upload = await startTwoParts(store, 'c');
    const receipts = [await store.writePart(upload, { index: 0, bytes: Buffer.from('ab') }, signal)];
    bucket.crash();
    receipts.push(await store.writePart(upload, { index: 1, bytes: Buffer.from('cd') }, signal));
    bucket.crash();
    await store.completeUpload(upload, receipts, { condition: absent, metadata: noMetadata }, signal);
    const dropped = await startTwoParts(store, 'd');
    await store.abortUpload(dropped, signal);
    bucket.crash();
    assert.deepEqual(await keysOf(store), ['a', 'c']);
    assert.equal(await bodyAt(store, 'a'), 'two');
    assert.equal((await store.head('a', signal))?.token, second);
    assert.equal(await bodyAt(store, 'c'), 'abcd');
    assert.deepEqual(await openUploads(store), []);
  });

  test('loses a creation, an overwrite and a removal that were not durable', async () => {
    const { bucket, store } = openBucket();
    await crashWithin(bucket, () => bucket.size === 1, put(store, 'new', 'x'));
    assert.deepEqual(await keysOf(store), []);

    const token = await put(store, 'a', 'old');
    const visible = () => bucket.object('a')?.body.length === 5;
    await crashWithin(bucket, visible, put(store, 'a', 'newer', matching(token)));
    assert.equal(await bodyAt(store, 'a'), 'old');

    await crashWithin(bucket, () => bucket.size === 0, store.remove('a', token, signal));
    assert.equal((await store.head('a', signal))?.token, token);
    assert.deepEqual(await keysOf(store), ['a']);
  });

  test('loses steps of an upload that were not durable, and no others', async () => {
    const { bucket, store } = openBucket();
    await crashWithin(bucket, () => bucket.uploads().length === 1, startTwoParts(store, 'a'));
    assert.deepEqual(await openUploads(store), []);

    const upload = await startTwoParts(store, 'a');
    const first = await store.writePart(upload, { index: 0, bytes: Buffer.from('ab') }, signal);
    const sending = store.writePart(upload, { index: 1, bytes: Buffer.from('cd') }, signal);
    await crashWithin(bucket, () => bucket.upload(upload.id)?.parts.size === 2, sending);
    assert.equal(bucket.upload(upload.id)?.parts.size, 1);

    const second = await store.writePart(upload, { index: 1, bytes: Buffer.from('cd') }, signal);
    const commit = { condition: absent, metadata: noMetadata };
    await crashWithin(
      bucket,
      () => bucket.size === 1,
      store.completeUpload(upload, [first, second], commit, signal),
    );
    assert.equal(await bodyAt(store, 'a'), undefined);
    await crashWithin(bucket, () => bucket.uploads().length === 0, store.abortUpload(upload, signal));
    assert.equal((await store.completeUpload(upload, [first, second], commit, signal)).kind, 'written');
    assert.equal(await bodyAt(store, 'a'), 'abcd');
  });

  test('never gives a token a second time', async () => {
    const { bucket, store } = openBucket();
    let lost: number | undefined;
    const visible = () => {
      lost = bucket.object('a')?.generation;
      return lost !== undefined;
    };
    await crashWithin(bucket, visible, put(store, 'a', 'x'));
    assert.notEqual(await put(store, 'a', 'x'), String(lost));
  });

  test('loses acknowledged writes where the disk lies', async () => {
    const { bucket, store } = openBucket();
    const kept = await put(store, 'kept', 'x');
    bucket.faults.skipSync = true;
    await put(store, 'lost', 'x');
    assert.deepEqual(await keysOf(store), ['kept', 'lost']);
    await put(store, 'kept', 'y', matching(await put(store, 'kept', 'xx', matching(kept))));
    bucket.crash();
    assert.deepEqual(await keysOf(store), ['kept']);
    assert.equal(await bodyAt(store, 'kept'), 'x');
  });

  test('a sync makes durable what was changed before it, and nothing that came later', async () => {
    const { bucket, store } = openBucket();
    const template = { body: new Uint8Array(), metadata: noMetadata, etag: '', lastModifiedMs: 1 };
    bucket.setObject('before', { ...template, key: 'before', generation: 1 });
    const syncing = bucket.sync();
    bucket.setObject('after', { ...template, key: 'after', generation: 2 });
    await syncing;
    bucket.crash();
    assert.deepEqual(await keysOf(store), ['before']);
  });
});

describe('the memory store', () => {
  test('does the same twice', async () => {
    const run = async () => {
      const { store } = openBucket();
      await Promise.all(['c', 'a', 'b'].map((key) => put(store, key, key)));
      const upload = await startTwoParts(store, 'd');
      const pages: unknown[] = [upload];
      for await (const page of store.list({}, signal)) pages.push(page);
      return JSON.stringify(pages);
    };
    assert.equal(await run(), await run());
  });

  test('refuses bytes that differ from the digest that came with them', async () => {
    const { store } = openBucket();
    const sha256 = '0'.repeat(64);
    const request = { key: 'a', body: Buffer.from('x'), metadata: noMetadata, condition: absent, sha256 };
    const corrupt = (error: unknown) => error instanceof StoreFailure && error.code === 'corrupt';
    await assert.rejects(store.write(request, signal), corrupt);
    const upload = await startTwoParts(store, 'b');
    await assert.rejects(
      store.writePart(upload, { index: 0, bytes: Buffer.from('ab'), sha256 }, signal),
      corrupt,
    );
    assert.deepEqual(await keysOf(store), []);
  });

  test('completes an upload only with the receipt of every part', async () => {
    const { store } = openBucket();
    const upload = await startTwoParts(store, 'a');
    const first = await store.writePart(upload, { index: 0, bytes: Buffer.from('ab') }, signal);
    const second = await store.writePart(upload, { index: 1, bytes: Buffer.from('cd') }, signal);
    const commit = { condition: absent, metadata: noMetadata };
    for (const receipts of [[], [first], [second, first], [first, second, second]]) {
      const lost = (error: unknown) => error instanceof StoreFailure && error.code === 'upload-lost';
      await assert.rejects(store.completeUpload(upload, receipts, commit, signal), lost);
    }
    assert.deepEqual(await keysOf(store), []);
  });

  test('refuses an upload outside of its limits', async () => {
    const limits = { minPartBytes: 5, maxPartBytes: 10, maxParts: 3, maxObjectBytes: 25, maxWriteBytes: 8 };
    const store = new MemoryStore({ limits });
    const start = (size: number, partSizeBytes: number) =>
      store.startUpload({ key: 'a', size, partSizeBytes, metadata: noMetadata }, signal);
    const invalid = (error: unknown) => error instanceof StoreFailure && error.code === 'invalid';
    await assert.rejects(start(10, 4), invalid);
    await assert.rejects(start(11, 11), invalid);
    await assert.rejects(start(16, 5), invalid);
    await assert.rejects(start(26, 10), invalid);
    await assert.rejects(put(store, 'a', '123456789'), invalid);
    for (const [size, partSize] of [
      [15, 5],
      [25, 10],
    ] as const)
      await start(size, partSize);
    await put(store, 'a', '12345678');
  });

  test('sees only what is below its prefix, and keys without it', async () => {
    const bucket = new MemoryBucket();
    const whole = new MemoryStore({ bucket });
    const team = new MemoryStore({ bucket, prefix: 'team/', limits: { minPartBytes: 1 } });
    for (const key of ['team', 'team.txt', 'teams', 'z']) await put(whole, key, key);
    await put(team, 'a', 'mine');
    await put(team, '.isobar/site', 'marker');
    await startTwoParts(team, 'big');
    assert.deepEqual(await keysOf(team), ['a']);
    assert.deepEqual(await keysOf(whole), ['team', 'team.txt', 'team/.isobar/site', 'team/a', 'teams', 'z']);
    assert.equal(await bodyAt(team, 'a'), 'mine');
    assert.equal(await bodyAt(team, 'z'), undefined);
    assert.equal((await openUploads(team)).length, 1);
    assert.equal((await openUploads(new MemoryStore({ bucket, prefix: 'other/' }))).length, 0);
  });

  test('an absent bucket is misplaced for every verb', async () => {
    const { bucket, store } = openBucket();
    const token = await put(store, 'a', 'x');
    bucket.faults.absent = true;
    const misplaced = (error: unknown) => error instanceof StoreFailure && error.code === 'misplaced';
    await assert.rejects(keysOf(store), misplaced);
    await assert.rejects(store.head('a', signal), misplaced);
    await assert.rejects(store.remove('a', token, signal), misplaced);
    bucket.faults.absent = false;
    assert.deepEqual(await keysOf(store), ['a']);
  });
});
