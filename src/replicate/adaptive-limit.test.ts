import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { test } from 'node:test';
import { StoreFailure } from '../model/failure.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { systemWorld } from '../system-world.ts';
import { AdaptiveLimit } from './adaptive-limit.ts';
import { Breaker } from './breaker.ts';
import { GuardedStore } from './guarded-store.ts';

const patient = new AbortController().signal;
const settings = { start: 32, most: 96, slowFactor: 8 };
type Outcome = Parameters<AdaptiveLimit['leave']>[0];
const refused: Outcome = { throttled: true };
const tookMs = (smallMs: number | undefined): Outcome => ({ throttled: false, smallMs });
const large = tookMs(undefined);

/** As many under way as it allows. */
async function fill(limit: AdaptiveLimit): Promise<void> {
  while (limit.inUse < limit.limit) await limit.enter(patient);
}

/** So many answers one after the other, with as many under way all the time as it allows. */
async function answer(limit: AdaptiveLimit, count: number, outcome: Outcome): Promise<void> {
  for (let nth = 0; nth < count; nth++) {
    await fill(limit);
    limit.leave(outcome);
  }
}

const full = async (changes: Partial<typeof settings> = {}): Promise<AdaptiveLimit> => {
  const limit = new AdaptiveLimit({ ...settings, ...changes });
  await fill(limit);
  return limit;
};

test('it starts where it is told to, but never above the most', () => {
  assert.equal(new AdaptiveLimit(settings).limit, 32);
  assert.equal(new AdaptiveLimit({ ...settings, most: 8 }).limit, 8);
});

test('it grows by one per answer while it is used to the full, up to the most', async () => {
  const limit = await full();
  await answer(limit, 10, tookMs(5));
  assert.equal(limit.limit, 42);
  await answer(limit, 100, large);
  assert.equal(limit.limit, 96);
});

test('it does not grow while there is room', async () => {
  const limit = new AdaptiveLimit(settings);
  for (let nth = 0; nth < 100; nth++) {
    await limit.enter(patient);
    limit.leave(tookMs(5));
  }
  assert.equal(limit.limit, 32);
});

test('a site that throttles gets a third less, once per round of what was under way', async () => {
  const limit = await full({ most: 32 });
  await answer(limit, 16, large);
  await answer(limit, 32, refused);
  assert.equal(limit.limit, 21, 'one burst counts once');
  await answer(limit, 1, refused);
  assert.equal(limit.limit, 14, 'and the next round again');
});

test('a site that refuses everything is soon asked for little', async () => {
  const limit = await full();
  await answer(limit, 200, refused);
  assert.equal(limit.limit, 4);
});

test('it never falls below four', async () => {
  const limit = await full({ start: 5, most: 5 });
  for (let round = 0; round < 10; round++) {
    await answer(limit, 5, large);
    await answer(limit, 1, refused);
    assert.equal(limit.limit, 4);
  }
});

test('small requests that take several times their best shrink it by a tenth, once per round', async () => {
  const limit = await full({ most: 32 });
  await answer(limit, 100, tookMs(10));
  assert.equal(limit.limit, 32);
  // The usual time passes 8 × 10 + 20 ms with the fourth.
  await answer(limit, 3, tookMs(300));
  assert.equal(limit.limit, 32);
  await answer(limit, 1, tookMs(300));
  assert.equal(limit.limit, 28);
  await answer(limit, 14, tookMs(300));
  assert.equal(limit.limit, 28);
  await answer(limit, 1, tookMs(300));
  assert.equal(limit.limit, 25);
});

test('a few milliseconds more are not slow, however fast the best was', async () => {
  const limit = await full({ most: 32 });
  await answer(limit, 50, tookMs(0));
  await answer(limit, 400, tookMs(28));
  assert.equal(limit.limit, 32);
});

test('what is not small tells nothing of slowness: it neither shrinks nor grows the limit of a slow site', async () => {
  const limit = await full({ most: 32 });
  await answer(limit, 100, tookMs(10));
  await answer(limit, 4, tookMs(300));
  assert.equal(limit.limit, 28);
  await answer(limit, 1_000, large);
  assert.equal(limit.limit, 28);
});

test('a site that is slower for good is judged anew after the window', async () => {
  const limit = await full();
  await answer(limit, 500, tookMs(5));
  await answer(limit, 400, tookMs(200));
  const shrunk = limit.limit;
  assert.ok(shrunk < 32, `${shrunk}`);
  await answer(limit, 600, tookMs(200));
  assert.ok(limit.limit > shrunk, `${limit.limit} after ${shrunk}`);
  await answer(limit, 100, tookMs(200));
  assert.equal(limit.limit, 96);
});

test('one fast answer is remembered for a window of them, and then forgotten', async () => {
  const limit = await full({ most: 32 });
  await answer(limit, 1, tookMs(1));
  await answer(limit, 100, tookMs(100));
  assert.ok(limit.limit < 32);
  await answer(limit, 1_000, tookMs(100));
  assert.equal(limit.limit, 32);
});

test('who waits longest enters first, one for each that leaves', async () => {
  const limit = await full({ start: 2, most: 2 });
  const entered: number[] = [];
  const waiting = [0, 1, 2].map((nth) => limit.enter(patient).then(() => entered.push(nth)));
  await Promise.resolve();
  assert.deepEqual(entered, []);
  limit.leave(large);
  await waiting[0];
  assert.deepEqual(entered, [0]);
  limit.leave(large);
  limit.leave(large);
  await Promise.all(waiting);
  assert.deepEqual(entered, [0, 1, 2]);
  assert.equal(limit.inUse, 2);
});

test('a limit that shrank lets nobody in before so many have left', async () => {
  const limit = await full({ start: 12, most: 12 });
  for (let nth = 0; nth < 6; nth++) {
    limit.leave(large);
    await limit.enter(patient);
  }
  let hasEntered = false;
  const waiting = limit.enter(patient).then(() => {
    hasEntered = true;
  });
  limit.leave(refused);
  assert.equal(limit.limit, 8);
  for (let nth = 0; nth < 3; nth++) limit.leave(refused);
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual({ inUse: limit.inUse, hasEntered }, { inUse: 8, hasEntered: false });
  limit.leave(refused);
  await waiting;
  assert.equal(limit.inUse, 8);
});

test('a waiter that aborts rejects with the reason and leaves its place to the next', async () => {
  const limit = await full({ start: 1, most: 1 });
  const abort = new AbortController();
  const reason = new Error('enough');
  const [first, second] = [limit.enter(abort.signal), limit.enter(patient)];
  const rejected = assert.rejects(first, (error) => error === reason);
  abort.abort(reason);
  await rejected;
  limit.leave(large);
  await second;
  assert.equal(limit.inUse, 1);
});

test('who is let in no longer listens for an abort, and keeps what it has', async () => {
  const limit = await full({ start: 1, most: 1 });
  const abort = new AbortController();
  const waiting = limit.enter(abort.signal);
  limit.leave(large);
  await waiting;
  assert.equal(getEventListeners(abort.signal, 'abort').length, 0);
  abort.abort();
  assert.equal(limit.inUse, 1);
});

test('who has aborted already does not enter', async () => {
  const limit = new AdaptiveLimit(settings);
  const reason = new Error('enough');
  await assert.rejects(limit.enter(AbortSignal.abort(reason)), (error) => error === reason);
  assert.equal(limit.inUse, 0);
});

test('only answers that are soon there judge how slow a site is; pages and the end of a listing do not', async (t) => {
  const limit = new AdaptiveLimit(settings);
  const leave = t.mock.method(limit, 'leave');
  const absent = { head: async () => undefined, read: async () => undefined, remove: async () => undefined };
  const store = {
    ...absent,
    list: async function* () {
      yield [];
      yield [];
    },
    writePart: async () => ({}),
    abortUpload: () => Promise.reject(new StoreFailure('denied', 'no')),
  } as unknown as ObjectStore;
  const breaker = new Breaker('aws', systemWorld);
  const guarded = new GuardedStore({ store, world: systemWorld, breaker, limit });
  const seen = async (call: Promise<unknown>) => {
    leave.mock.resetCalls();
    await call.catch(() => {});
    return leave.mock.calls.map(({ arguments: [outcome] }) => typeof outcome.smallMs);
  };
  const [upload, part] = [{ id: 'u', key: 'a' }, { number: 1 }] as unknown as Parameters<
    ObjectStore['writePart']
  >;
  assert.deepEqual(await seen(guarded.head('a', patient)), ['number']);
  assert.deepEqual(await seen(guarded.read('a', {}, patient)), ['number']);
  assert.deepEqual(await seen(Array.fromAsync(guarded.list({}, patient))), Array(3).fill('undefined'));
  assert.deepEqual(await seen(guarded.writePart(upload, part, patient)), ['undefined']);
  assert.deepEqual(await seen(guarded.abortUpload(upload, patient)), ['undefined']);
});
