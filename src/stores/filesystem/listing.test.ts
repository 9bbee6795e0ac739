import assert from 'node:assert/strict';
import { link, mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { compareKeys } from '../../model/key.ts';
import type { ListRequest } from '../../ports/object-store.ts';
import { type FileCalls, type NamesWanted, nodeCalls } from './calls.ts';
import { thisOwner } from './owner.ts';
import { keysOf, put, type ScratchFolder, scratchFolder, textAt } from './scratch-folder.ts';
import { createFilesystemStore } from './store.ts';
import { watchedCalls } from './watched-calls.ts';

let folder: ScratchFolder;
beforeEach(async () => {
  folder = await scratchFolder();
});
afterEach(() => folder.remove());

const keys = [
  'a',
  'a!',
  'a/',
  'a/b',
  'a//b',
  'a/b/c',
  'a0',
  'ab/c',
  'ab/c/d',
  'b/\u{10000}',
  'b/\uE000',
  'b/é',
  'x'.repeat(59),
  'x'.repeat(60),
  `${'x'.repeat(60)}/y`,
  `${'x'.repeat(60)}!`,
  'y'.repeat(300),
  `${'y'.repeat(300)}/z`,
  `${'y'.repeat(60)}A`,
  'z/../z',
  '/',
  '.isobar/site',
  '.isobar/store/q',
];

test('any prefix, start and end give what a filter over all keys gives, in the order of keys', async () => {
  const store = createFilesystemStore({ path: folder.path });
  for (const key of keys) await put(store, key, key);
  const sorted = [...keys].sort(compareKeys);
  const bounds = [undefined, '', ...keys, 'a/a', 'aa', 'b', 'b/', 'x', `${'x'.repeat(60)}/`, '~', '.isobar/'];
  for (const prefix of bounds) {
    const isOwn = prefix?.startsWith('.isobar/') ?? false;
    const visible = sorted.filter((key) => isOwn || !key.startsWith('.isobar/'));
    for (const bound of bounds) {
      const matches = visible.filter((key) => prefix === undefined || key.startsWith(prefix));
      await check(
        store,
        { prefix, after: bound },
        matches.filter((key) => !bound || compareKeys(key, bound) > 0),
      );
      const upTo = matches.filter((key) => bound === undefined || compareKeys(key, bound) <= 0);
      await check(store, { prefix, until: bound }, upTo);
    }
  }
  await store.close();
});

type Loose = { [name in keyof ListRequest]: ListRequest[name] | undefined };

async function check(store: ReturnType<typeof createFilesystemStore>, loose: Loose, expected: string[]) {
  const request = Object.fromEntries(Object.entries(loose).filter(([, value]) => value !== undefined));
  assert.deepEqual(await keysOf(store, request), expected, JSON.stringify(request));
}

describe('a key that is being replaced while its directory is read is listed all the same', () => {
  test('by this process', async () => {
    // The names are read in the moment in which the key has none.
    const atOldName = Promise.withResolvers<void>();
    let isArmed = false;
    let replacing: Promise<unknown> | undefined;
    const calls = {
      ...nodeCalls,
      names: async (path: string, wanted?: NamesWanted) => {
        if (!isArmed || !path.endsWith('/.')) return await nodeCalls.names(path, wanted);
        isArmed = false;
        replacing = put(store, 'd/a', 'new');
        await atOldName.promise;
        const names = await nodeCalls.names(path);
        // What another thread would have read between the two calls.
        return { ...names, entries: names.entries.filter((name) => name !== 'a') };
      },
      renameNow: (from: string, to: string) => {
        nodeCalls.renameNow(from, to);
        atOldName.resolve();
      },
    };
    const store = createFilesystemStore({ path: folder.path }, { calls });
    await put(store, 'd/a', 'old');
    isArmed = true;
    assert.deepEqual(await keysOf(store, { prefix: 'd/' }), ['d/a']);
    await replacing;
    await store.close();
  });

  test('by another process that then died', async () => {
    const store = createFilesystemStore({ path: folder.path });
    await put(store, 'd/a', 'old');
    await put(store, 'd/b', 'other');
    const dying = watchedCalls(({ name }) => {
      if (name === 'lstatNow') throw new Error('the process is gone');
    });
    const owner = { ...(await thisOwner(nodeCalls)), pid: 2 ** 22 + 1, started: '1' };
    let isGone = false;
    const calls = watchedCalls(
      () => {
        if (isGone) throw new Error('the process is gone');
      },
      ({ name }) => {
        if (name === 'renameNow') isGone = true;
      },
      dying,
    );
    const other = createFilesystemStore({ path: folder.path }, { calls, owner });
    await assert.rejects(put(other, 'd/a', 'new'));
    assert.deepEqual(
      (await folder.tree()).filter((name) => name.startsWith('d/')),
      ['d/', 'd/b'],
    );
    assert.deepEqual(await keysOf(store), ['d/a', 'd/b']);
    assert.equal(await textAt(store, 'd/a'), 'old');
    await store.close();
  });

  test('or was put aside in a crash of the machine that forgot the lock', async () => {
    const store = createFilesystemStore({ path: folder.path });
    await put(store, 'a', 'body');
    await store.close();
    await rename(join(folder.path, 'a'), join(folder.path, '.isobar/store/aside/a'));
    const reader = createFilesystemStore({ path: folder.path });
    assert.deepEqual(await keysOf(reader), ['a']);
    await reader.close();
  });
});

describe('a directory with more names than are held in memory', () => {
  const names = Array.from({ length: 95 }, (_, i) => `${(i * 37) % 95}`.padStart(3, '0'));
  beforeEach(async () => {
    for (const name of names) await writeFile(join(folder.path, name), '');
    await mkdir(join(folder.path, '050.d'));
    await writeFile(join(folder.path, '050.d', 'inner'), '');
  });

  test('is read several times, and every name comes once and in order', async () => {
    let readings = 0;
    const calls: FileCalls = {
      ...nodeCalls,
      names: (path, wanted) => {
        readings += wanted?.limit === undefined ? 0 : 1;
        return nodeCalls.names(path, wanted?.limit === undefined ? wanted : { ...wanted, limit: 10 });
      },
    };
    const store = createFilesystemStore({ path: folder.path }, { calls });
    const expected = [...names, '050.d/inner'].sort();
    assert.deepEqual(await keysOf(store), expected);
    assert.ok(readings > 4, `${readings} readings`);
    assert.deepEqual(await keysOf(store, { after: '033', until: '07' }), expected.slice(34, 71));
    await store.close();
  });
});

test('files that vanish during the walk are absent, and hard links are objects like others', async () => {
  await mkdir(join(folder.path, 'd'));
  for (const name of ['a', 'b', 'c']) await writeFile(join(folder.path, 'd', name), name);
  await link(join(folder.path, 'd', 'a'), join(folder.path, 'd', 'linked'));
  let isArmed = true;
  const calls = {
    ...nodeCalls,
    names: async (path: string) => {
      const names = await nodeCalls.names(path);
      if (isArmed && names.entries.includes('b')) {
        isArmed = false;
        await nodeCalls.unlink(join(folder.path, 'd', 'b'));
      }
      return names;
    },
  };
  const store = createFilesystemStore({ path: folder.path }, { calls });
  assert.deepEqual(await keysOf(store), ['d/a', 'd/c', 'd/linked']);
  await store.close();
});
