import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { StateFailure } from '../model/failure.ts';
import { GroupCommit } from './environment.ts';
import { Space } from './space.ts';

const isFull = (failure: unknown) => failure instanceof StateFailure && failure.code === 'full';

function folderWith(t: TestContext, bytes: number): { folder: string; path: string } {
  const folder = mkdtempSync(join(tmpdir(), 'isobar-space-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'data.mdb');
  writeFileSync(path, Buffer.alloc(bytes));
  return { folder, path };
}

test('the disk is looked at before every transaction, and for what it may take', (t) => {
  const { folder, path } = folderWith(t, 0);
  const space = new Space(folder, path);
  space.assertFree(0);
  assert.throws(() => space.assertFree(2 ** 60), isFull);
  space.assertFree(0);
});

test('a transaction says how much it may take', async () => {
  const asked: number[] = [];
  const space = { assertFree: (bytes: number) => asked.push(bytes) } as unknown as Space;
  const commits = new GroupCommit('x', space, { transaction: async () => true, lost() {} });
  const table = { tag: 'r', rows: undefined as never };
  await commits.apply((plan) => {
    plan.put(table, Buffer.from('one'), Buffer.alloc(100_000));
    plan.remove(table, Buffer.from('two'));
  });
  assert.equal(asked.length, 1);
  assert.ok(asked[0]! >= 100_000 + 2 * 4096 && asked[0]! < 200_000, String(asked));
});

// What the test below runs where no file may grow beyond 64 KiB, as with a quota that the disk does not tell of.
if (process.argv[2] === 'limited') {
  const [folder, path] = process.argv.slice(3) as [string, string];
  const space = new Space(folder, path);
  const outcome = () => {
    try {
      space.assertFree(0);
      return 'free';
    } catch (failure) {
      return isFull(failure) ? 'full' : String(failure);
    }
  };
  const before = outcome();
  space.noteRefusal();
  const after = outcome();
  writeFileSync(path, '');
  process.stdout.write(JSON.stringify([before, after, outcome(), outcome()]));
  process.exit();
}

test('once LMDB was refused it is asked again only when a write of our own fits', (t) => {
  const { folder, path } = folderWith(t, 100 * 1024);
  const command = `ulimit -f 80; trap '' XFSZ; exec "$0" "$@"`;
  const self = fileURLToPath(import.meta.url);
  const child = spawnSync('bash', ['-c', command, process.execPath, self, 'limited', folder, path]);
  assert.deepEqual(JSON.parse(String(child.stdout)), ['free', 'full', 'free', 'free'], String(child.stderr));
});
