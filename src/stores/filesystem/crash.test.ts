import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { ObjectMetadata } from '../../model/metadata.ts';
import type { ObjectStore } from '../../ports/object-store.ts';
import { type FileCalls, nodeCalls } from './calls.ts';
import { thisOwner } from './owner.ts';
import {
  keysOf,
  leftovers,
  never,
  put,
  type ScratchFolder,
  scratchFolder,
  textAt,
} from './scratch-folder.ts';
import { createFilesystemStore, type KeptFile } from './store.ts';
import { watchedCalls } from './watched-calls.ts';

const old: ObjectMetadata = { contentType: 'text/old', user: { isobar: 'old' }, tags: { t: 'old' } };
const fresh: ObjectMetadata = { contentType: 'text/new', user: { isobar: 'new' }, tags: {} };

interface Scenario {
  readonly name: string;
  /** The process may already end while it opens the folder. */
  readonly opening?: boolean;
  readonly key: string;
  /** Before the crash, by a healthy process. */
  readonly prepare: (store: ObjectStore, folder: ScratchFolder) => Promise<unknown>;
  readonly act: (store: ObjectStore, key: string) => Promise<unknown>;
  /** Bodies that may be there afterwards; undefined for none. */
  readonly before: string | undefined;
  readonly after: string | undefined;
}

/** The end of a process is no loss of power: what was not synced is still there, so syncs only cost time here. */
const unsynced: FileCalls = { ...nodeCalls, sync: async () => undefined, syncData: async () => undefined };

const replace = (store: ObjectStore, key: string) => put(store, key, 'new', fresh);

async function upload(store: ObjectStore, key: string): Promise<void> {
  const head = await store.head(key, never);
  const condition = head ? { kind: 'match' as const, token: head.token } : { kind: 'absent' as const };
  const started = await store.startUpload({ key, size: 3, partSizeBytes: 2, metadata: fresh }, never);
  const receipts = [
    await store.writePart(started, { index: 0, bytes: Buffer.from('ne') }, never),
    await store.writePart(started, { index: 1, bytes: Buffer.from('w') }, never),
  ];
  await store.completeUpload(started, receipts, { condition, metadata: fresh }, never);
}

async function remove(store: ObjectStore, key: string): Promise<void> {
  const head = await store.head(key, never);
  await store.remove(key, head!.token, never);
}

const long = `${'long/'.repeat(30)}name`;
const nothing = async () => undefined;
const scenarios: readonly Scenario[] = [
  {
    name: 'create',
    opening: true,
    key: 'd/a',
    prepare: nothing,
    act: replace,
    before: undefined,
    after: 'new',
  },
  {
    name: 'create in the odd tree',
    key: 'd//a',
    prepare: nothing,
    act: replace,
    before: undefined,
    after: 'new',
  },
  {
    name: 'replace',
    key: 'd/a',
    prepare: (s) => put(s, 'd/a', 'old', old),
    act: replace,
    before: 'old',
    after: 'new',
  },
  {
    name: 'replace a long key',
    key: long,
    prepare: (s) => put(s, long, 'old', old),
    act: replace,
    before: 'old',
    after: 'new',
  },
  {
    name: 'remove',
    opening: true,
    key: 'd/a',
    prepare: (s) => put(s, 'd/a', 'old', old),
    act: remove,
    before: 'old',
    after: undefined,
  },
  { name: 'upload', key: 'd/a', prepare: nothing, act: upload, before: undefined, after: 'new' },
  {
    name: 'upload over another',
    key: 'd/a',
    prepare: (s) => put(s, 'd/a', 'old', old),
    act: upload,
    before: 'old',
    after: 'new',
  },
];

describe('a process that ends between any two calls of the file system', () => {
  for (const scenario of scenarios) test(scenario.name, () => endAtEveryCall(scenario));
});

async function endAtEveryCall(scenario: Scenario): Promise<void> {
  const atOnce = 8;
  let outcomes = '';
  for (let calls = 1; !outcomes.endsWith('.'); calls += atOnce) {
    const runs = Array.from({ length: atOnce }, (_, index) => endAtCall(scenario, calls + index));
    outcomes += (await Promise.all(runs)).join('');
  }
  assert.match(outcomes, /^b+A+\.+$/, 'first the old state, from some call on the new one');
}

/** `b`: the old state is there afterwards; `A`: the new one; `.`: the action came to its end. */
async function endAtCall(scenario: Scenario, calls: number): Promise<'b' | 'A' | '.'> {
  const folder = await scratchFolder();
  try {
    const healthy = createFilesystemStore({ path: folder.path }, { calls: unsynced });
    await scenario.prepare(healthy, folder);
    await healthy.close();
    const completed = await actUntilEnd(folder, scenario, calls);
    const outcome = await inspect(folder, scenario, `after ${calls - 1} calls`);
    if (completed) assert.equal(outcome, 'after');
    if (completed) return '.';
    return outcome === 'after' ? 'A' : 'b';
  } finally {
    await folder.remove();
  }
}

/** True when the action came to its end before the process did. */
async function actUntilEnd(folder: ScratchFolder, scenario: Scenario, calls: number): Promise<boolean> {
  let left = scenario.opening ? calls : Number.POSITIVE_INFINITY;
  const dying = watchedCalls(
    ({ name, args }) => {
      // One of the 16 folders that are made for metadata is as good an instant as another.
      if (name === 'mkdir' && /\/meta\/[1-9a-f]/.test(String(args[0]))) return;
      left--;
      if (left < 0) throw new Error('the process is gone');
    },
    undefined,
    unsynced,
  );
  const owner = { ...(await thisOwner(nodeCalls)), pid: 2 ** 22 + 1, started: '1' };
  const store = createFilesystemStore({ path: folder.path }, { calls: dying, owner });
  try {
    if (!scenario.opening) await store.abortUpload({ id: 'none', key: 'none' }, never);
    left = Math.min(left, calls);
    await scenario.act(store, scenario.key);
    return true;
  } catch {
    return false;
  }
}

async function inspect(folder: ScratchFolder, scenario: Scenario, when: string): Promise<'before' | 'after'> {
  const kept: KeptFile[] = [];
  const store = createFilesystemStore(
    { path: folder.path },
    { onKept: (file) => kept.push(file), graceMs: 0, calls: unsynced },
  );
  const listed = await keysOf(store);
  const text = await textAt(store, scenario.key);
  assert.deepEqual(listed, text === undefined ? [] : [scenario.key], `${when}: a listing that comes first`);
  assert.ok([scenario.before, scenario.after].includes(text), `${when}: ${text}`);
  assert.deepEqual(await keysOf(store), text === undefined ? [] : [scenario.key], when);
  const metadata = (await store.head(scenario.key, never))?.metadata;
  assert.deepEqual(metadata, text === undefined ? undefined : text === 'old' ? old : fresh, when);
  await put(store, 'another', 'body');
  for await (const page of store.listUploads(never)) {
    for (const { upload } of page) await store.abortUpload(upload, never);
  }
  assert.equal(
    await textAt(store, scenario.key),
    text,
    `${when}: giving up the upload leaves the object alone`,
  );
  await put(store, scenario.key, 'newest');
  await store.close();
  assert.deepEqual(await leftovers(folder), [], when);
  assert.deepEqual(kept, [], when);
  return text === scenario.after ? 'after' : 'before';
}

test('kill -9, twenty times under load: whole objects, their own metadata, no lock and nothing aside stays', async () => {
  const folder = await scratchFolder();
  try {
    let acknowledged = 0;
    // On a busy machine more rounds, never fewer writes.
    for (let round = 0; round < 20 || acknowledged <= 100; round++) {
      acknowledged += await writeUntilKilled(folder, 40 + Math.random() * 160);
    }
    assert.ok(acknowledged > 100, `the writers came to work (${acknowledged} writes)`);
  } finally {
    await folder.remove();
  }
});

const writer = fileURLToPath(new URL('./crash-writer.ts', import.meta.url));

/** How many writes were acknowledged; each of them, or a later one of the same key, is there. */
async function writeUntilKilled(folder: ScratchFolder, afterMs: number): Promise<number> {
  const child = spawn(process.execPath, [writer, folder.path], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines: string[] = [];
  let rest = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const pieces = (rest + text).split('\n');
    rest = pieces.pop()!;
    lines.push(...pieces);
  });
  await once(child.stdout, 'data');
  await sleep(afterMs);
  child.kill('SIGKILL');
  await once(child, 'close');
  const last = new Map(
    lines.filter((line) => line !== 'ready').map((line) => line.split(' ') as [string, string]),
  );
  const store = createFilesystemStore({ path: folder.path }, { onKept: (kept) => assert.fail(kept.because) });
  for (const [key, version] of last) await demandAtLeast(store, key, version);
  await put(store, 'after-the-crash', 'body');
  for (const key of await keysOf(store)) await demandWhole(store, folder, key);
  await store.close();
  assert.deepEqual(await leftovers(folder), []);
  return lines.length;
}

/** Version N is a body for odd N and a removal for every tenth. */
async function demandAtLeast(store: ObjectStore, key: string, version: string): Promise<void> {
  const text = await textAt(store, key);
  const isRemoval = Number(version) % 10 === 0;
  const next = Number(version) + 1;
  if (text === undefined) assert.ok(isRemoval || next % 10 === 0, `${key} lost version ${version}`);
  else
    assert.ok([Number(version), next].includes(Number(text.split(' ')[0])), `${key}: ${text.slice(0, 20)}`);
}

async function demandWhole(store: ObjectStore, folder: ScratchFolder, key: string): Promise<void> {
  if (key === 'after-the-crash') return;
  const text = (await textAt(store, key))!;
  const [version, size] = text.split(' ').map(Number);
  assert.equal(text.length, size, `${key} is whole`);
  const head = await store.head(key, never);
  assert.equal(head?.metadata.user.isobar, String(version), `${key} has its own metadata`);
  // `f` and `f/g` stand in each other's way, and one of them is in the odd tree.
  const isPlain = !key.includes('//') && !key.startsWith('f');
  if (isPlain) assert.equal(await readFile(join(folder.path, key), 'utf8'), text);
}
