import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { open as openLmdb } from 'lmdb';
import { StateFailure } from '../model/failure.ts';
import { idsWith } from '../ports/ledger.ts';
import { fileProblem } from './file-check.ts';
import { openEmbedded } from './open.ts';

function tests(): void {
  describe('opening the embedded state', () => {
    it('makes the folder, for this user only', () =>
      inFolder(async (parent) => {
        const folder = join(parent, 'a', 'b');
        const state = await openEmbedded({ folder });
        const modes = ['', 'data.mdb', 'data.mdb-lock', 'owner.json', 'run'].map(
          (name) => statSync(join(folder, name)).mode & 0o777,
        );
        assert.deepEqual(modes, [0o700, 0o600, 0o600, 0o600, 0o700]);
        await state.close();
      }));

    it('takes a path that is too long for a socket', () =>
      inFolder(async (parent) => {
        const folder = join(parent, 'x'.repeat(120));
        const owner = await openEmbedded({ folder });
        const { socket } = JSON.parse(readFileSync(join(folder, 'owner.json'), 'utf8')) as { socket: string };
        assert.ok(Buffer.byteLength(socket) <= 103);
        const guest = await openEmbedded({ folder });
        assert.equal(guest.role, 'guest');
        await guest.ledger.commit([{ table: 'keys', id: 'a', value: 1 }]);
        await guest.close();
        await owner.close();
        assert.equal(existsSync(join(socket, '..')), false);
      }));

    it('an owner whose socket was taken away goes on as a guest of the next one, and loses nothing', () =>
      inFolder(async (folder) => {
        const first = await openEmbedded({ folder });
        await first.ledger.commit([{ table: 'keys', id: 'a', value: 'first' }]);
        const { socket } = JSON.parse(readFileSync(join(folder, 'owner.json'), 'utf8')) as { socket: string };
        rmSync(socket);
        const second = await openEmbedded({ folder });
        assert.deepEqual([first.role, second.role], ['owner', 'owner']);
        await second.ledger.commit([{ table: 'keys', id: 'a', value: 'second' }]);
        const late = await first.ledger.commit([
          { table: 'keys', id: 'a', value: 'late', expect: 'absent' },
          { table: 'keys', id: 'b', value: 'late' },
        ]);
        assert.deepEqual(late, { kind: 'conflict', index: 0 });
        await first.ledger.commit([{ table: 'keys', id: 'c', value: 'through the new owner' }]);
        assert.deepEqual([first.role, second.role], ['guest', 'owner']);
        assert.equal((await second.ledger.get('keys', 'a'))?.value, 'second');
        assert.equal(await second.ledger.count('keys', idsWith('')), 2);
        await second.close();
        assert.equal(await first.ledger.count('keys', idsWith('')), 2);
        assert.equal(first.role, 'owner');
        await first.close();
      }));

    it('closed, it says so, and a waiting subscription ends', () =>
      inFolder(async (folder) => {
        const state = await openEmbedded({ folder });
        const options = { dataset: 'd', maxInFlight: 1 };
        const next = state.bus
          .subscribe(options, new AbortController().signal)
          [Symbol.asyncIterator]()
          .next();
        await state.ledger.get('keys', 'a');
        const refused = assert.rejects(next, isFailure('unavailable'));
        await state.close();
        await refused;
        await assert.rejects(state.ledger.get('keys', 'a'), isFailure('unavailable'));
      }));
  });

  describe('a state folder that cannot be used', () => {
    it('is a file', () =>
      inFolder(async (parent) => {
        const folder = join(parent, 'file');
        writeFileSync(folder, '');
        await assert.rejects(openEmbedded({ folder }), isFailure('unavailable', /not a folder/));
      }));

    it('may not be written', () =>
      inFolder(async (folder) => {
        const user = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};
        mkdirSync(join(folder, 'state'), { mode: 0o500 });
        const child = runChild('open', join(folder, 'state'), user);
        if (child.status !== 0) return; // That user may not read this program either.
        assert.match(child.stdout, /^unavailable .*(write permission)/);
      }));

    it('was written by a newer program', () =>
      inFolder(async (folder) => {
        await filledFolder(folder, 1);
        await asSchema(folder, '2');
        await assert.rejects(openEmbedded({ folder }), isFailure('unreadable', /newer Isobar \(schema 2/));
        await asSchema(folder, '1');
        await (await openEmbedded({ folder })).close();
      }));

    it('has lost its data file', () =>
      inFolder(async (folder) => {
        await filledFolder(folder, 1);
        rmSync(join(folder, 'data.mdb'));
        await assert.rejects(
          openEmbedded({ folder }),
          isFailure('unreadable', /is gone.*rebuilt from the sites/),
        );
        assert.equal(existsSync(join(folder, 'data.mdb')), false);
      }));

    for (const [what, damage] of Object.entries(damages)) {
      it(`has a data file that is ${what}: an error, not a crash`, () =>
        inFolder(async (folder) => {
          await filledFolder(folder, 3000);
          damage(join(folder, 'data.mdb'));
          const child = runChild('open', folder);
          assert.equal(child.signal, null);
          assert.match(child.stdout, /^unreadable .*rebuilt from the sites/, child.stderr);
        }));
    }

    it('the check accepts every file that LMDB wrote, whatever was done to it', () =>
      inFolder(async (folder) => {
        const { ledger, bus, close } = await openEmbedded({ folder });
        const path = join(folder, 'data.mdb');
        for (let round = 0; round < 60; round++) {
          const ids = Array.from({ length: 50 }, (_, i) => `${'k'.repeat(round * 15)}${round % 7}/${i}`);
          const value = 'v'.repeat((round * 997) % 30_000);
          await ledger.commit(
            ids.map((id) => ({ table: 'keys', id, value: round % 3 === 2 ? undefined : value })),
          );
          await bus.publish([{ id: `${round}`, dataset: 'd', key: 'k', site: 'aws', atMs: round }]);
          assert.equal(fileProblem(path, Number.POSITIVE_INFINITY), undefined, `round ${round}`);
        }
        await close();
      }));
  });

  describe('a full disk', () => {
    it('is `full`; nothing of the write is kept, nothing else is lost, and it goes on when there is room', () =>
      inFolder(async (folder) => {
        // A limit of the file size fills up at the same place as a quota or a disk, and needs no privilege.
        const child = spawnSync('bash', [
          '-c',
          `ulimit -f 3000 && exec "$0" "$@"`,
          process.execPath,
          fileURLToPath(import.meta.url),
          'fill',
          folder,
        ]);
        const lines = String(child.stdout).trim().split('\n');
        assert.equal(child.status, 0, String(child.stderr));
        assert.match(lines[0]!, /^full No space left .*Free some space/);
        const acknowledged = Number(lines[1]);
        assert.equal(Number(lines[2]), acknowledged);
        const state = await openEmbedded({ folder });
        assert.equal(await state.ledger.count('keys', idsWith('')), acknowledged);
        await state.ledger.commit([{ table: 'keys', id: 'more', value: 'x'.repeat(3_000_000) }]);
        await state.close();
      }));
  });
}

const damages: Readonly<Record<string, (path: string) => void>> = {
  empty: (path) => truncateSync(path, 0),
  'cut off within the meta pages': (path) => truncateSync(path, 5000),
  'cut off in the middle': (path) => truncateSync(path, Math.floor(statSync(path).size / 8192) * 4096),
  'cut off before its last quarter': (path) =>
    truncateSync(path, Math.floor(statSync(path).size / 16384) * 3 * 4096),
  'another file': (path) => writeFileSync(path, 'not a database, but long enough to be one\n'.repeat(1000)),
  'zeroed at the start': (path) => overwrite(path, 0, Buffer.alloc(4096)),
  'zeroed at the second meta page': (path) => overwrite(path, 4096, Buffer.alloc(4096)),
  'zeroed behind the meta pages': (path) => overwrite(path, 8192, Buffer.alloc(statSync(path).size - 8192)),
  'noise behind the meta pages': (path) => overwrite(path, 8192, noise(statSync(path).size - 8192)),
};

function overwrite(path: string, at: number, bytes: Buffer): void {
  const fd = openSync(path, 'r+');
  writeSync(fd, bytes, 0, bytes.length, at);
  closeSync(fd);
}

function noise(bytes: number): Buffer {
  const buffer = Buffer.alloc(bytes);
  for (let i = 0, x = 1; i < bytes; i++) {
    x = (x * 1103515245 + 12345) & 0x7fffffff;
    buffer[i] = x >> 16;
  }
  return buffer;
}

async function filledFolder(folder: string, rows: number): Promise<void> {
  const state = await openEmbedded({ folder });
  const writes = Array.from({ length: rows }, (_, i) => ({
    table: 'keys' as const,
    id: `k${i}`,
    value: 'v'.repeat(100),
  }));
  await state.ledger.commit(writes);
  await state.close();
}

async function asSchema(folder: string, version: string): Promise<void> {
  const bytes = { keyEncoding: 'binary', encoding: 'binary' } as const;
  const root = openLmdb<Buffer, Buffer>({ path: join(folder, 'data.mdb'), overlappingSync: false, ...bytes });
  const meta = root.openDB<Buffer, Buffer>({ name: 'meta', useVersions: true, ...bytes });
  meta.putSync(Buffer.from('schema'), Buffer.from(version));
  await root.close();
}

function runChild(task: string, folder: string, user: { uid?: number; gid?: number } = {}) {
  const script = fileURLToPath(import.meta.url);
  return spawnSync(process.execPath, [script, task, folder], { encoding: 'utf8', ...user });
}

async function openOnce(folder: string): Promise<void> {
  try {
    const state = await openEmbedded({ folder });
    await state.ledger.count('keys', idsWith(''));
    await state.close();
    writeSync(1, 'opened\n');
  } catch (failure) {
    writeSync(1, `${(failure as StateFailure).code} ${(failure as StateFailure).message}\n`);
  }
}

/** Prints the failure, the rows that were acknowledged, and the rows that are there. */
async function fillUp(folder: string): Promise<void> {
  const { ledger, close } = await openEmbedded({ folder });
  let acknowledged = 0;
  for (let failed = false; !failed; ) {
    const ids = Array.from({ length: 100 }, (_, i) => `${acknowledged + i}`);
    try {
      await ledger.commit(ids.map((id) => ({ table: 'keys', id, value: 'x'.repeat(300) })));
      acknowledged += ids.length;
    } catch (failure) {
      failed = true;
      writeSync(1, `${(failure as StateFailure).code} ${(failure as StateFailure).message}\n`);
    }
  }
  writeSync(1, `${acknowledged}\n${await ledger.count('keys', idsWith(''))}\n`);
  await close();
}

function isFailure(code: StateFailure['code'], message = /./): (failure: unknown) => boolean {
  return (failure) =>
    failure instanceof StateFailure && failure.code === code && message.test(failure.message);
}

async function inFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'isobar-open-test-'));
  try {
    await use(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const [, , childTask, childFolder] = process.argv;
if (childTask === 'fill') await fillUp(childFolder!);
else if (childTask === 'open') await openOnce(childFolder!);
else tests();
