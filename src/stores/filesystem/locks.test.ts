import assert from 'node:assert/strict';
import { link, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { nodeCalls } from './calls.ts';
import { Locks } from './locks.ts';
import { fateOf, type Owner, thisOwner } from './owner.ts';
import { never, type ScratchFolder, scratchFolder } from './scratch-folder.ts';
import { SiteFolder } from './site-folder.ts';

let folder: ScratchFolder;
let site: SiteFolder;
const opened: Locks[] = [];

async function openLocks(owner?: Owner, mend: () => Promise<void> = async () => undefined): Promise<Locks> {
  const locks = new Locks(site, nodeCalls, owner ? { owner, mend } : { mend });
  await locks.start();
  opened.push(locks);
  return locks;
}

beforeEach(async () => {
  folder = await scratchFolder();
  site = new SiteFolder(folder.path, nodeCalls, {});
  await site.prepare();
});
afterEach(async () => {
  for (const locks of opened.splice(0)) await locks.stop();
  await folder.remove();
});

test('many holders, two processes: one at a time', async () => {
  const both = [await openLocks(), await openLocks()];
  let [inside, most, done] = [0, 0, 0];
  const work = async () => {
    inside++;
    most = Math.max(most, inside);
    await new Promise((resolve) => setImmediate(resolve));
    inside--;
    done++;
  };
  await Promise.all(Array.from({ length: 60 }, (_, i) => both[i % 2]!.hold('k', never, work)));
  assert.deepEqual([most, done], [1, 60]);
  assert.deepEqual(await folder.tree('.isobar/store/locks'), []);
});

test('who waits stops when it is aborted, and the turn goes on', async () => {
  const [first, second] = [await openLocks(), await openLocks()];
  const release = Promise.withResolvers<void>();
  const held = first.hold('k', never, () => release.promise);
  const abort = new AbortController();
  const waiting = [first, second].map((locks) =>
    locks.hold('k', abort.signal, async () => assert.fail('never')),
  );
  abort.abort(new Error('enough'));
  for (const wait of waiting) await assert.rejects(wait, /enough/);
  release.resolve();
  await held;
  await second.hold('k', never, async () => undefined);
});

/** A process that took a lock and is gone. */
async function deadOwner(id: string, changes: Partial<Owner> = {}): Promise<Owner> {
  const owner = { ...(await thisOwner(nodeCalls)), id, pid: 2 ** 22 + 1, started: '1', ...changes };
  await writeFile(site.own('owners', id), JSON.stringify(owner));
  return owner;
}

describe('the lock of a dead process', () => {
  test('is taken over, after what it left was mended', async () => {
    await deadOwner('dead');
    await link(site.own('owners', 'dead'), site.own('locks', 'k'));
    const mended: boolean[] = [];
    const isLocked = async () => (await readFile(site.own('locks', 'k'), 'utf8').catch(() => '')) !== '';
    const locks = await openLocks(undefined, async () => {
      mended.push(await isLocked());
    });
    await locks.hold('k', never, async () => undefined);
    assert.deepEqual(mended, [true]);
    assert.deepEqual(await folder.tree('.isobar/store/owners'), [locks.ownerId]);
  });

  test('is taken over by exactly one of many', async () => {
    const others = await Promise.all(Array.from({ length: 6 }, () => openLocks()));
    await deadOwner('dead');
    for (const name of ['k', 'l', 'm']) await link(site.own('owners', 'dead'), site.own('locks', name));
    let [inside, most] = [0, 0];
    const work = async () => {
      inside++;
      most = Math.max(most, inside);
      await new Promise((resolve) => setTimeout(resolve, 2));
      inside--;
    };
    await Promise.all(others.map((locks) => locks.hold('k', never, work)));
    assert.equal(most, 1);
    assert.deepEqual(await folder.tree('.isobar/store/locks'), []);
  });

  test('is taken over when its pid belongs to another process now', async () => {
    await deadOwner('dead', { pid: process.pid, started: '1' });
    await link(site.own('owners', 'dead'), site.own('locks', 'k'));
    const locks = await openLocks();
    await locks.hold('k', never, async () => undefined);
  });

  test('is taken over when its own file is gone, and when a claimant died too', async () => {
    await deadOwner('dead');
    await deadOwner('claimant');
    await link(site.own('owners', 'dead'), site.own('locks', 'k'));
    await link(site.own('owners', 'dead'), site.own('locks', 'l'));
    await rename(site.own('owners', 'dead'), join(folder.path, 'away'));
    const locks = await openLocks();
    await locks.hold('k', never, async () => undefined);
    await locks.hold('l', never, async () => undefined);
    await rename(join(folder.path, 'away'), site.own('owners', 'dead~claimant'));
    await link(site.own('owners', 'dead~claimant'), site.own('locks', 'k'));
    await locks.hold('k', never, async () => undefined);
  });
});

test('who cannot be seen from here is not taken for dead', async () => {
  const own = await thisOwner(nodeCalls);
  assert.equal(await fateOf(nodeCalls, own, own), 'alive');
  for (const changes of [{ host: 'other' }, { boot: 'other' }, { namespace: 'other' }]) {
    assert.equal(await fateOf(nodeCalls, { ...own, pid: 2 ** 22 + 1, ...changes }, own), 'unknown');
  }
  assert.equal(await fateOf(nodeCalls, { ...own, pid: 2 ** 22 + 1 }, own), 'dead');
});
