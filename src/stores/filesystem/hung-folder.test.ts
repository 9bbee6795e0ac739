import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs, { constants } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { type FileCalls, nodeCalls } from './calls.ts';
import { never, put, scratchFolder, textAt } from './scratch-folder.ts';
import { createFilesystemStore } from './store.ts';

const open = promisify(fs.open);
const close = promisify(fs.close);

/** From the moment `hangs` says so every call holds its thread: opening a pipe waits for its other end. */
function hanging(pipe: string, hangs: () => boolean): FileCalls {
  const calls = Object.entries(nodeCalls).map(([name, run]: [string, (...args: never[]) => unknown]) => {
    const call = async (...args: never[]) => {
      if (hangs()) await close(await open(pipe, constants.O_RDONLY));
      return run(...args);
    };
    return [name, name.endsWith('Now') ? run : call];
  });
  return Object.fromEntries(calls) as FileCalls;
}

const skip = process.platform === 'win32' ? 'there are no named pipes' : false;

test('a folder that does not answer leaves threads to the others', { skip, timeout: 20_000 }, async (t) => {
  const [sick, well] = [await scratchFolder(), await scratchFolder()];
  const pipe = join(sick.path, 'pipe');
  execFileSync('mkfifo', [pipe]);
  let began = 0;
  let isHung = false;
  const calls = hanging(pipe, () => {
    if (isHung) began += 1;
    return isHung;
  });
  const hungStore = createFilesystemStore({ path: sick.path }, { calls });
  const store = createFilesystemStore({ path: well.path });
  const answer = () => {
    isHung = false;
    fs.closeSync(fs.openSync(pipe, constants.O_RDWR | constants.O_NONBLOCK));
  };
  t.after(async () => {
    answer();
    await Promise.all([hungStore.close(), store.close()]);
    await Promise.all([sick.remove(), well.remove()]);
  });
  assert.equal(await hungStore.head('k', never), undefined);
  isHung = true;
  const heads = Array.from({ length: 8 }, (_, i) => hungStore.head(`k${i}`, never));
  await put(store, 'k', 'body');
  assert.equal(await textAt(store, 'k'), 'body');
  assert.ok(began > 1, 'the other folder hung at several calls');
  answer();
  assert.deepEqual(await Promise.all(heads), Array(8).fill(undefined));
});
