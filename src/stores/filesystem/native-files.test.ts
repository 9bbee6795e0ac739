import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, readFile, rename, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { StoreFailure } from '../../model/failure.ts';
import { noMetadata } from '../../model/metadata.ts';
import type { ObjectStore } from '../../ports/object-store.ts';
import {
  keysOf,
  leftovers,
  never,
  put,
  type ScratchFolder,
  scratchFolder,
  textAt,
} from './scratch-folder.ts';
import { createFilesystemStore, type Skipped } from './store.ts';

let folder: ScratchFolder;
let outside: ScratchFolder;
let store: ObjectStore;
let skipped: Skipped[];

const at = (...names: string[]) => join(folder.path, ...names);
const hasCode = (code: string) => (cause: unknown) => cause instanceof StoreFailure && cause.code === code;

for (const anchored of process.platform === 'linux' ? [true, false] : [false]) {
  describe(`files of other programs (directories ${anchored ? 'by descriptor' : 'by path'})`, () => {
    beforeEach(async () => {
      [folder, outside, skipped] = [await scratchFolder(), await scratchFolder(), []];
      const onSkipped = (what: Skipped) => skipped.push(what);
      store = createFilesystemStore({ path: folder.path }, { onSkipped, traits: { anchored } });
    });
    afterEach(async () => {
      await store.close();
      await Promise.all([folder.remove(), outside.remove()]);
    });
    nativeTests();
    symlinkTests();
    clashTests();
  });
}

function nativeTests(): void {
  test('a file made by another program is an object without metadata', async () => {
    await mkdir(at('a'));
    await writeFile(at('a', 'b.txt'), 'native');
    assert.equal(await textAt(store, 'a/b.txt'), 'native');
    assert.deepEqual((await store.head('a/b.txt', never))?.metadata, noMetadata);
    assert.deepEqual(await keysOf(store), ['a/b.txt']);
    assert.deepEqual(await folder.tree(), ['a/', 'a/b.txt'], 'reading writes nothing');
  });

  test('metadata do not stick to a file that replaced the one they belong to', async () => {
    const metadata = { contentType: 'text/plain', user: { isobar: '1' }, tags: {} };
    const token = await put(store, 'a', 'isobar', metadata);
    assert.deepEqual((await store.head('a', never))?.metadata, metadata);
    await writeFile(at('new'), 'native');
    await rename(at('new'), at('a'));
    const head = await store.head('a', never);
    assert.deepEqual(head?.metadata, noMetadata);
    assert.equal(store.sameWrite(token, head!.token), false);
    const late = await store.write(
      { key: 'a', body: Buffer.from('late'), metadata, condition: { kind: 'match', token } },
      never,
    );
    assert.equal(late.kind, 'conflict');
    assert.equal(await textAt(store, 'a'), 'native');
  });

  test('an overwrite in place that keeps size and time is another write', async () => {
    const token = await put(store, 'a', 'isobar');
    await writeFile(at('a'), 'native');
    await utimes(at('a'), 1, 1);
    assert.equal(store.sameWrite(token, (await store.head('a', never))!.token), false);
  });

  test('folders that a removal empties go, those of others stay', async () => {
    await mkdir(at('keep', 'empty'), { recursive: true });
    const token = await put(store, 'keep/x/y/z', 'body');
    assert.equal((await store.remove('keep/x/y/z', token, never)).kind, 'removed');
    assert.deepEqual(
      (await folder.tree()).filter((name) => !name.startsWith('.isobar')),
      ['keep/', 'keep/empty/'],
    );
    assert.deepEqual(await leftovers(folder), []);
  });

  test('a replaced file keeps its permissions', async () => {
    await writeFile(at('script'), 'old', { mode: 0o750 });
    await put(store, 'script', 'new');
    assert.equal((await stat(at('script'))).mode & 0o777, 0o750);
  });

  test('pipes and names that are no UTF-8 are reported and left alone', async () => {
    await writeFile(at('plain'), 'plain');
    execFileSync('mkfifo', [at('pipe')]);
    await writeFile(Buffer.concat([Buffer.from(at('bad-')), Buffer.from([0xff])]), 'bad');
    await mkdir(Buffer.concat([Buffer.from(at('dir-')), Buffer.from([0xfe])]));
    assert.deepEqual(await keysOf(store), ['plain']);
    assert.equal(await store.head('pipe', never), undefined);
    assert.deepEqual(skipped.map(({ path, because }) => `${path} ${because}`).sort(), [
      'bad-\\xff name-is-not-utf-8',
      'dir-\\xfe name-is-not-utf-8',
      'pipe special-file',
    ]);
  });

  test('an unmounted disk is misplaced, not empty', async () => {
    await put(store, 'a', 'body');
    await rename(at(), `${at()}-away`);
    await mkdir(at());
    await assert.rejects(keysOf(store), hasCode('misplaced'));
    await assert.rejects(store.head('a', never), hasCode('misplaced'));
    await assert.rejects(put(store, 'b', 'body'), hasCode('misplaced'));
    assert.deepEqual(await folder.tree(), [], 'nothing was written where the disk should be');
    await rm(at(), { recursive: true });
    await rename(`${at()}-away`, at());
    assert.equal(await textAt(store, 'a'), 'body', 'and it heals by itself');
  });
}

function symlinkTests(): void {
  test('symlinks are reported, not followed and not listed', async () => {
    await writeFile(join(outside.path, 'secret'), 'secret');
    await symlink(outside.path, at('dir'));
    await symlink(join(outside.path, 'secret'), at('file'));
    assert.deepEqual(await keysOf(store), []);
    assert.deepEqual(skipped.map(({ path, because }) => `${path} ${because}`).sort(), [
      'dir symlink',
      'file symlink',
    ]);
    assert.equal(await store.head('dir/secret', never), undefined);
    assert.equal(await store.read('file', {}, never), undefined);
    assert.deepEqual(await keysOf(store, { prefix: 'dir/' }), []);
  });

  test('nothing is written, replaced or removed through a symlink: the odd tree takes the object', async () => {
    await writeFile(join(outside.path, 'x'), 'outside');
    await symlink(outside.path, at('dir'));
    await symlink(join(outside.path, 'x'), at('file'));
    await put(store, 'dir/x', 'one');
    await put(store, 'dir/deep/er', 'two');
    const token = await put(store, 'file', 'three');
    assert.deepEqual(await keysOf(store), ['dir/deep/er', 'dir/x', 'file']);
    assert.equal(await textAt(store, 'file'), 'three');
    assert.equal((await store.remove('file', token, never)).kind, 'removed');
    assert.deepEqual(await outside.tree(), ['x']);
    assert.equal(await readFile(join(outside.path, 'x'), 'utf8'), 'outside');
  });

  test('nor through one that leads to a folder further up in the path', async () => {
    await mkdir(join(outside.path, 'deep'));
    await writeFile(join(outside.path, 'deep', 'secret'), 'secret');
    await symlink(outside.path, at('dir'));
    assert.equal(await store.head('dir/deep/secret', never), undefined);
    assert.deepEqual(await keysOf(store, { prefix: 'dir/deep/' }), []);
    await put(store, 'dir/deep/secret', 'ours');
    await put(store, 'dir/deep/new', 'ours');
    assert.deepEqual(await outside.tree(), ['deep/', 'deep/secret']);
    assert.equal(await outside.text('deep/secret'), 'secret');
  });

  test('an own folder that is a symlink is refused', async () => {
    await symlink(outside.path, at('.isobar'));
    await assert.rejects(put(store, 'a', 'body'), hasCode('misplaced'));
    assert.deepEqual(await outside.tree(), []);
  });
}

function clashTests(): void {
  test('`a` beside `a/b`: who comes second goes to the odd tree, in either order', async () => {
    await put(store, 'a', 'file');
    await put(store, 'a/b', 'below');
    await put(store, 'c/d', 'below');
    await put(store, 'c', 'file');
    assert.deepEqual(
      (await folder.tree()).filter((name) => !name.startsWith('.isobar/store')),
      [
        '.isobar/',
        '.isobar/odd/',
        '.isobar/odd/a%d/',
        '.isobar/odd/a%d/b',
        '.isobar/odd/c',
        'a',
        'c/',
        'c/d',
      ],
    );
    assert.deepEqual(await keysOf(store), ['a', 'a/b', 'c', 'c/d']);
    for (const [key, text] of [
      ['a', 'file'],
      ['a/b', 'below'],
      ['c', 'file'],
      ['c/d', 'below'],
    ] as const) {
      assert.equal(await textAt(store, key), text);
      await put(store, key, `${text} again`);
      assert.equal(await textAt(store, key), `${text} again`);
    }
    const head = await store.head('c', never);
    assert.equal((await store.remove('c', head!.token, never)).kind, 'removed');
    assert.deepEqual(await keysOf(store), ['a', 'a/b', 'c/d']);
  });

  test('where another program makes the plain file later, that one is the object and the other is reported', async () => {
    await mkdir(at('c'));
    await put(store, 'c', 'odd');
    await rm(at('c'), { recursive: true });
    await writeFile(at('c'), 'native');
    assert.equal(await textAt(store, 'c'), 'native');
    assert.deepEqual(await keysOf(store), ['c']);
    assert.deepEqual(skipped, [{ path: '.isobar/odd/c', because: 'shadowed' }]);
  });

  test('names in the odd tree that the table never makes are reported', async () => {
    await mkdir(at('.isobar', 'odd'), { recursive: true });
    await writeFile(at('.isobar', 'odd', 'Capital'), 'native');
    await writeFile(at('.isobar', 'odd', 'fine'), 'native');
    assert.deepEqual(await keysOf(store), ['fine']);
    assert.deepEqual(skipped, [{ path: '.isobar/odd/Capital', because: 'name-is-not-escaped' }]);
  });
}
