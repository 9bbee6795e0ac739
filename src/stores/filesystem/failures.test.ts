import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { StoreFailure, type StoreFailureCode } from '../../model/failure.ts';
import { keysOf, never, put, scratchFolder, textAt } from './scratch-folder.ts';
import { createFilesystemStore } from './store.ts';
import { type Call, watchedCalls } from './watched-calls.ts';

const hasCode = (code: string) => (cause: unknown) => cause instanceof StoreFailure && cause.code === code;

function errno(code: string): Error {
  return Object.assign(new Error(`${code}: as the system says it`), { code, errno: -1, syscall: 'test' });
}

/** Runs `work` while `fails` names the calls that fail with `code`. */
async function withFailing(
  code: string,
  fails: (call: Call) => boolean,
  work: (store: ReturnType<typeof createFilesystemStore>) => Promise<void>,
): Promise<void> {
  const folder = await scratchFolder();
  let isSick = false;
  const calls = watchedCalls((call) => {
    if (isSick && fails(call)) throw errno(code);
  });
  const store = createFilesystemStore({ path: folder.path }, { calls });
  try {
    for (const key of ['a', 'd/b', 'd/e/c', 'z']) await put(store, key, 'body');
    isSick = true;
    await work(store);
    isSick = false;
    assert.deepEqual(await keysOf(store), ['a', 'd/b', 'd/e/c', 'z']);
    await put(store, 'a', 'works again');
    assert.equal(await textAt(store, 'a'), 'works again');
  } finally {
    await store.close();
    await folder.remove();
  }
}

describe('a listing that cannot read everything throws, and never ends early', () => {
  const codes: readonly (readonly [string, StoreFailureCode])[] = [
    ['EACCES', 'denied'],
    ['EIO', 'unavailable'],
    ['ESTALE', 'unavailable'],
    ['EMFILE', 'unavailable'],
  ];
  for (const [code, expected] of codes) {
    for (const name of ['names', 'lstat', 'open'] as const) {
      test(`${code} from ${name}`, () =>
        withFailing(
          code,
          (call) => call.name === name && String(call.args[0]).match(/\/(d\/e|\.|c)$/) !== null,
          async (store) => assert.rejects(keysOf(store), hasCode(expected)),
        ));
    }
  }
});

describe('what the system says when it cannot write', () => {
  const codes: readonly (readonly [string, StoreFailureCode])[] = [
    ['ENOSPC', 'full'],
    ['EDQUOT', 'full'],
    ['EACCES', 'denied'],
    ['EROFS', 'denied'],
    ['EIO', 'unavailable'],
  ];
  for (const [code, expected] of codes) {
    for (const name of ['write', 'sync', 'link', 'renameNow'] as const) {
      test(`${code} from ${name}: ${expected}, and the old object stays`, () =>
        withFailing(
          code,
          (call) => call.name === name,
          async (store) => {
            await assert.rejects(put(store, 'a', 'new'), hasCode(expected));
            assert.equal(await textAt(store, 'a'), 'body');
          },
        ));
    }
  }

  test('EIO when the new name is made, after the old file was moved aside: it comes back', () =>
    withFailing(
      'EIO',
      (call) => call.name === 'linkNow',
      async (store) => assert.rejects(put(store, 'a', 'new'), hasCode('unavailable')),
    ));
});

test('a folder that is not there is misplaced, and found once it is', async () => {
  const folder = await scratchFolder();
  const store = createFilesystemStore({ path: folder.path });
  await folder.remove();
  await assert.rejects(store.head('a', never), hasCode('misplaced'));
  await assert.rejects(put(store, 'a', 'body'), hasCode('misplaced'));
  await assert.rejects(keysOf(store), hasCode('misplaced'));
  await mkdir(folder.path);
  await put(store, 'a', 'body');
  assert.equal(await textAt(store, 'a'), 'body');
  await store.close();
  await folder.remove();
});

test('a disk without hard links is refused by name', async () => {
  const folder = await scratchFolder();
  const calls = watchedCalls((call) => {
    if (call.name === 'link' && String(call.args[1]).includes('/link.')) throw errno('EPERM');
  });
  const store = createFilesystemStore({ path: folder.path }, { calls });
  await assert.rejects(put(store, 'a', 'body'), hasCode('unsupported'));
  await store.close();
  await folder.remove();
});
