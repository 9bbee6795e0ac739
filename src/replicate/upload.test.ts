import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { MemoryLedgerBacking } from '../ledgers/memory/ledger.ts';
import { leafBytes } from '../model/digest.ts';
import type { World } from '../ports/world.ts';
import { fastWorld, Trial } from '../testing/trial.ts';

// Workers over one ledger and the same sites: nothing of what one of them uploads is lost sight of.

const bytes = Buffer.alloc(2 * leafBytes + 1, 'large ');
const ended = new Set<string>();

function worker(name: string, world: World, ledger: MemoryLedgerBacking, beside?: Trial): Trial {
  return new Trial({
    sites: ['aws', 'gcp'],
    ledger,
    world: { ...world, worker: name, hasEnded: (one) => ended.has(one) },
    ...(beside ? { buckets: beside.buckets } : {}),
  });
}

interface Workers {
  readonly first: Trial;
  readonly second: Trial;
  readonly third: Trial;
  /** As a process that is gone: what it had under way is not done, and never tidied up. */
  endFirst(): Promise<void>;
}

/** The first worker has begun an upload to gcp, and hangs at `verb`. */
async function withAnUploadUnderWay(t: TestContext, verb: 'startUpload' | 'writePart'): Promise<Workers> {
  const world = fastWorld(20);
  const ledger = new MemoryLedgerBacking();
  const name = `first of ${t.name}`;
  const first = worker(name, world, ledger);
  const second = worker(`second of ${t.name}`, world, ledger, first);
  const third = worker(`third of ${t.name}`, world, ledger, first);
  t.after(() => Promise.all([first, second, third].map((one) => one.close())));
  await first.nativePut('aws', 'big', bytes);
  if (verb === 'startUpload') first.at('gcp').inject({ verbs: [verb], effect: { kind: 'lost-reply' } });
  else first.at('gcp').inject({ verbs: [verb], effect: { kind: 'hang' } });
  const working = first.sync().catch(() => {});
  await first.until(() => first.at('gcp').count(verb) > 0);
  const endFirst = async () => {
    ended.add(name);
    await first.dataset.close();
    await working;
  };
  return { first, second, third, endFirst };
}

test('a worker leaves the upload of another one that lives alone, and begins its own', async (t) => {
  const { first, second } = await withAnUploadUnderWay(t, 'writePart');
  await second.sync();
  assert.equal(second.at('gcp').count('startUpload'), 1);
  assert.equal(await second.nativeRead('gcp', 'big'), bytes.toString());
  assert.equal(first.bucket('gcp').uploads().length, 1, 'that of the first, which may still go on');
});

test('an upload whose worker ended while another one sent the same write is cleared away', async (t) => {
  const { second, endFirst } = await withAnUploadUnderWay(t, 'writePart');
  const lift = second.at('gcp').inject({ verbs: ['writePart'], effect: { kind: 'hang' } });
  const working = second.sync();
  await second.until(() => second.at('gcp').count('writePart') > 0);
  assert.equal(second.bucket('gcp').uploads().length, 2);
  await endFirst();
  lift();
  await working;
  assert.equal(await second.nativeRead('gcp', 'big'), bytes.toString());
  await second.sync();
  assert.deepEqual(second.bucket('gcp').uploads(), []);
});

test('clearing an upload whose id nobody knows leaves those alone that somebody does know', async (t) => {
  const { first, second, third, endFirst } = await withAnUploadUnderWay(t, 'startUpload');
  await endFirst();
  assert.ok(first.bucket('gcp').uploads().length > 0);
  const lift = second.at('gcp').inject({ verbs: ['writePart'], effect: { kind: 'hang' } });
  const working = second.sync();
  await second.until(() => second.at('gcp').count('writePart') > 0);
  await third.nativePut('aws', 'big', 'newer');
  await third.sync();
  assert.equal(third.bucket('gcp').uploads().length, 1, 'that of the second');
  lift();
  await working;
  assert.equal(await third.nativeRead('gcp', 'big'), 'newer');
  assert.deepEqual(third.bucket('gcp').uploads(), []);
});
