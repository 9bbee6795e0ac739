import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Clock, Stuck, WorkerWorld } from './clock.ts';
import { Random } from './random.ts';

const never = new AbortController().signal;

test('time passes only where somebody waits, in order', async () => {
  const clock = new Clock();
  const order: string[] = [];
  const one = async (name: string, ...pauses: number[]) => {
    for (const ms of pauses) {
      await clock.sleep(ms);
      order.push(`${name}@${clock.elapsedMs}`);
    }
  };
  await clock.run(Promise.all([one('a', 3, 3_600_000), one('b', 1, 1), one('c', 2)]));
  assert.deepEqual(order, ['b@1', 'c@2', 'b@2', 'a@3', 'a@3600003']);
});

test('events of many times come in the order of their times', async () => {
  const clock = new Clock();
  const random = new Random(7);
  const times: number[] = [];
  for (let i = 0; i < 2_000; i++) clock.after(random.between(0, 500), () => times.push(clock.elapsedMs));
  await clock.run(clock.sleep(1_000));
  assert.equal(times.length, 2_000);
  assert.deepEqual(
    times,
    times.toSorted((a, b) => a - b),
  );
});

test('a sleep that is aborted rejects with the reason, and what waits for ever is told', async () => {
  const clock = new Clock();
  const stop = new AbortController();
  const slept = clock.sleep(100, stop.signal);
  clock.after(10, () => stop.abort(new Error('enough')));
  await assert.rejects(clock.run(slept), /enough/);
  assert.equal(clock.elapsedMs, 10);
  await assert.rejects(clock.run(new Promise(() => {})), Stuck);
  const again = async () => {
    for (;;) await clock.sleep(5);
  };
  await assert.rejects(clock.run(again(), 1_000), Stuck);
});

test('a worker sees its own clock', async () => {
  const clock = new Clock();
  const world = new WorkerWorld('w', clock, new Random(1));
  const begunMs = world.nowMs();
  world.skewMs = -600_000;
  await clock.run(world.sleep(1_000, never));
  assert.equal(world.nowMs() - begunMs, -599_000);
  assert.equal(world.monotonicMs(), 1_000);
});

test('a seed is a stream, and so is each of its forks', () => {
  const draw = (random: Random) => Array.from({ length: 100 }, () => random.next());
  assert.deepEqual(draw(new Random(5)), draw(new Random(5)));
  assert.notDeepEqual(draw(new Random(5)), draw(new Random(6)));
  const root = new Random(5);
  const before = draw(root.fork('a'));
  draw(root);
  assert.deepEqual(draw(root.fork('a')), before);
  assert.notDeepEqual(draw(root.fork('b')), before);
  const mean = draw(new Random(9)).reduce((sum, one) => sum + one, 0) / 100;
  assert.ok(mean > 0.35 && mean < 0.65);
  assert.match(root.id(), /^[\w-]{22}$/);
});
