import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { type FileCalls, nodeCalls } from './calls.ts';
import { keysOf, never, put, type ScratchFolder, scratchFolder, textAt } from './scratch-folder.ts';
import { createFilesystemStore } from './store.ts';

/**
 * Plays a disk that takes names for the same when `fold` makes them the same, and keeps the first spelling: every
 * path is replaced by what already stands there.
 */
function foldingDisk(root: string, fold: (name: string) => string): FileCalls {
  const real = (path: string): string => {
    if (!path.startsWith(`${root}/`)) return path;
    return path
      .slice(root.length + 1)
      .split('/')
      .reduce((parent, name) => join(parent, spelled(parent, name, fold)), root);
  };
  const entries = Object.entries(nodeCalls).map(([name, run]: [string, (...args: never[]) => unknown]) => [
    name,
    (...args: unknown[]) =>
      run(...(args.map((arg) => (typeof arg === 'string' ? real(arg) : arg)) as never[])),
  ]);
  return Object.fromEntries(entries) as FileCalls;
}

function spelled(parent: string, name: string, fold: (name: string) => string): string {
  try {
    return readdirSync(parent).find((entry) => fold(entry) === fold(name)) ?? name;
  } catch {
    return name;
  }
}

async function onFoldingDisk(
  fold: (name: string) => string,
  work: (store: ReturnType<typeof createFilesystemStore>, folder: ScratchFolder) => Promise<void>,
): Promise<void> {
  const folder = await scratchFolder();
  // Without descriptors, as on the systems that have such disks. That it folds is for the probe to find.
  const options = { calls: foldingDisk(folder.path, fold), traits: { anchored: false } };
  const store = createFilesystemStore({ path: folder.path }, options);
  try {
    await work(store, folder);
  } finally {
    await store.close();
    await folder.remove();
  }
}

const ignoringCase = (name: string) => name.toLowerCase();

describe('a disk that ignores case', () => {
  test('the first spelling has the plain path, every other one the odd tree, and all stay apart', () =>
    onFoldingDisk(ignoringCase, async (store, folder) => {
      const keys = ['README', 'Readme', 'dir/File', 'dir/file', 'DIR/File', 'readme/x'];
      for (const key of keys) await put(store, key, `body of ${key}`);
      for (const key of keys) assert.equal(await textAt(store, key), `body of ${key}`, key);
      assert.deepEqual(await keysOf(store), [...keys].sort());
      assert.equal(await store.head('ReadMe', never), undefined, 'a spelling that nobody wrote is absent');
      const plain = (await folder.tree()).filter((name) => !name.startsWith('.isobar'));
      assert.deepEqual(plain, ['README', 'dir/', 'dir/File']);
      for (const key of keys) await put(store, key, `again ${key}`);
      const head = await store.head('README', never);
      await store.remove('README', head!.token, never);
      assert.equal(await textAt(store, 'Readme'), 'again Readme');
      assert.deepEqual(await keysOf(store), keys.filter((key) => key !== 'README').sort());
    }));

  test('a native file is the key that it is spelled as', () =>
    onFoldingDisk(ignoringCase, async (store, folder) => {
      await put(store, 'first', 'makes the probe see our own folder');
      await writeFile(join(folder.path, 'Photo.JPG'), 'native');
      assert.equal(await textAt(store, 'Photo.JPG'), 'native');
      assert.equal(await textAt(store, 'photo.jpg'), undefined);
      await put(store, 'photo.jpg', 'other');
      assert.equal(await folder.text('Photo.JPG'), 'native');
      assert.deepEqual(await keysOf(store), ['Photo.JPG', 'first', 'photo.jpg']);
    }));
});

test('a disk that takes the Unicode forms of a name for one', () =>
  onFoldingDisk(
    (name) => name.normalize('NFC').toLowerCase(),
    async (store) => {
      const [composed, decomposed] = ['caf\u00e9', 'cafe\u0301'];
      await put(store, composed, 'composed');
      await put(store, decomposed, 'decomposed');
      assert.equal(await textAt(store, composed), 'composed');
      assert.equal(await textAt(store, decomposed), 'decomposed');
      assert.deepEqual(await keysOf(store), [decomposed, composed]);
    },
  ));
