import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { open, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { StoreFailure } from '../../model/failure.ts';
import { noMetadata } from '../../model/metadata.ts';
import type { ObjectStore } from '../../ports/object-store.ts';
import { leftovers, never, put, type ScratchFolder, scratchFolder, textAt } from './scratch-folder.ts';
import { createFilesystemStore, type KeptFile } from './store.ts';
import { watchedCalls } from './watched-calls.ts';

const nativeWriter = fileURLToPath(new URL('./native-writer.ts', import.meta.url));
const rounds = 150;

describe('another program overwrites the file while Isobar replaces it: nothing that nobody saw is lost', () => {
  for (const way of ['rename', 'in-place', 'delete-first', 'without-truncation']) test(way, () => race(way));
});

async function race(way: string): Promise<void> {
  const folder = await scratchFolder();
  const kept: KeptFile[] = [];
  const store = createFilesystemStore(
    { path: folder.path },
    { onKept: (file) => kept.push(file), graceMs: 50 },
  );
  try {
    await put(store, 'shared', 'isobar first');
    const seen = new Set<string>();
    const child = spawn(process.execPath, [nativeWriter, join(folder.path, 'shared'), way, String(rounds)]);
    let printed = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      printed += text;
    });
    const ended = once(child, 'close');
    let isRunning = true;
    void ended.then(() => {
      isRunning = false;
    });
    const replaced = await replaceWhile(() => isRunning, store, seen);
    await ended;
    await store.close();
    assert.ok(replaced > 20, `Isobar came to replace (${replaced} times)`);
    await demandNothingLost(folder, printed.trim().split('\n'), seen, kept);
    assert.deepEqual(await leftovers(folder), []);
  } finally {
    await folder.remove();
  }
}

/** Reads, and replaces exactly what was read; how often that succeeded. */
async function replaceWhile(
  isRunning: () => boolean,
  store: ObjectStore,
  seen: Set<string>,
): Promise<number> {
  let replaced = 0;
  for (let i = 0; isRunning(); i++) {
    try {
      const read = await store.read('shared', {}, never);
      if (read === undefined) continue;
      const text = Buffer.from(await read.bytes()).toString('utf8');
      const condition = { kind: 'match' as const, token: read.head.token };
      const request = { key: 'shared', body: Buffer.from(`isobar ${i}`), metadata: noMetadata, condition };
      const outcome = await store.write(request, never);
      if (outcome.kind === 'conflict') continue;
      seen.add(text);
      replaced++;
    } catch (cause) {
      if (!(cause instanceof StoreFailure) || cause.code !== 'changed') throw cause;
    }
  }
  return replaced;
}

async function demandNothingLost(
  folder: ScratchFolder,
  written: readonly string[],
  seen: ReadonlySet<string>,
  kept: readonly KeptFile[],
): Promise<void> {
  const there = new Set([await folder.text('shared')]);
  for (const file of kept) there.add(await readFile(file.path, 'utf8'));
  const inFolder = await readdir(join(folder.path, '.isobar', 'store', 'kept'));
  assert.equal(inFolder.length, kept.length, 'what is kept is reported');
  const replaced = written.filter((line) => line.startsWith('replaced ')).map((line) => line.slice(9));
  assert.ok(replaced.length > rounds / 3, `the program came to be replaced (${replaced.length} times)`);
  const lost = replaced.filter((text) => !seen.has(text) && !there.has(text));
  assert.deepEqual(lost, []);
}

describe('at the worst instants', () => {
  for (const [instant, kind] of [
    ['before the old file is moved aside', 'renameNow'],
    ['while the name is gone', 'lstatNow'],
  ] as const) {
    for (const verb of ['replace', 'remove'] as const) {
      test(`${verb}: another file comes ${instant}`, () => intrude(verb, kind, 'file'));
      test(`${verb}: a folder comes ${instant}`, () => intrude(verb, kind, 'folder'));
    }
  }

  test('two files come, one before and one while the name is gone: the later has it, the earlier is kept', async () => {
    const folder = await scratchFolder();
    const kept: KeptFile[] = [];
    const coming = new Map([
      ['renameNow', 'native one'],
      ['linkNow', 'native two'],
    ]);
    let isArmed = false;
    const calls = watchedCalls(({ name }) => {
      const text = isArmed ? coming.get(name) : undefined;
      if (text === undefined) return;
      coming.delete(name);
      writeFileSync(join(folder.path, 'draft'), text);
      renameSync(join(folder.path, 'draft'), join(folder.path, 'a'));
    });
    const store = createFilesystemStore({ path: folder.path }, { calls, onKept: (file) => kept.push(file) });
    const token = await put(store, 'a', 'old');
    isArmed = true;
    assert.equal((await store.remove('a', token, never)).kind, 'conflict');
    await store.close();
    assert.equal(await folder.text('a'), 'native two');
    assert.deepEqual(await Promise.all(kept.map((file) => readFile(file.path, 'utf8'))), ['native one']);
    await folder.remove();
  });

  test('a program that holds the replaced file open writes into it afterwards: kept and reported', async () => {
    const folder = await scratchFolder();
    const kept: KeptFile[] = [];
    const store = createFilesystemStore({ path: folder.path }, { onKept: (file) => kept.push(file) });
    try {
      await writeFile(join(folder.path, 'a'), 'native');
      const held = await open(join(folder.path, 'a'), 'r+');
      await put(store, 'a', 'isobar');
      await held.write('late');
      await held.close();
      await store.close();
      assert.equal(await folder.text('a'), 'isobar');
      assert.deepEqual(
        kept.map((file) => file.key),
        ['a'],
      );
      assert.equal(await readFile(kept[0]!.path, 'utf8'), 'lateve');
    } finally {
      await folder.remove();
    }
  });
});

/** Another program acts right before the call named `when`; what it made must be there afterwards. */
async function intrude(verb: 'replace' | 'remove', when: string, what: 'file' | 'folder'): Promise<void> {
  const folder = await scratchFolder();
  const target = join(folder.path, 'a');
  let isArmed = false;
  const calls = watchedCalls(({ name }) => {
    if (name !== when || !isArmed) return;
    isArmed = false;
    if (what === 'file') {
      writeFileSync(`${target}.draft`, 'native');
      renameSync(`${target}.draft`, target);
    } else {
      rmSync(target, { force: true });
      mkdirSync(target);
      writeFileSync(join(target, 'inner'), 'native');
    }
  });
  const kept: KeptFile[] = [];
  const store = createFilesystemStore({ path: folder.path }, { calls, onKept: (file) => kept.push(file) });
  try {
    const token = await put(store, 'a', 'old');
    isArmed = true;
    const condition = { kind: 'match' as const, token };
    const request = { key: 'a', body: Buffer.from('new'), metadata: noMetadata, condition };
    const outcome =
      verb === 'replace' ? await store.write(request, never) : await store.remove('a', token, never);
    assert.equal(isArmed, false);
    assert.equal(await textAt(store, what === 'file' ? 'a' : 'a/inner'), 'native');
    await demandOldIsAccountedFor(outcome.kind, when, what, kept);
    if (outcome.kind === 'written') assert.equal(await textAt(store, 'a'), 'new');
    await store.close();
    assert.deepEqual(await leftovers(folder), []);
  } finally {
    await folder.remove();
  }
}

/** `old` was replaced by the program itself, or by us, or is kept. */
async function demandOldIsAccountedFor(
  outcome: string,
  when: string,
  what: string,
  kept: readonly KeptFile[],
): Promise<void> {
  const texts = await Promise.all(kept.map((file) => readFile(file.path, 'utf8')));
  if (when === 'renameNow') assert.deepEqual([outcome, texts], ['conflict', []]);
  else if (outcome === 'conflict') assert.deepEqual(texts, ['old']);
  else assert.ok(texts.length === 0 && (what === 'folder' || outcome === 'removed'));
}
