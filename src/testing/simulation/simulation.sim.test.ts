import assert from 'node:assert/strict';
import { test } from 'node:test';
import { campaign, unseen } from './campaign.ts';
import { scheduleOf } from './schedule.ts';
import { shrink } from './shrink.ts';
import { simulate } from './simulate.ts';

test('two thousand worlds keep what docs/guarantees.md promises, and every kind of fault and decision took effect', async () => {
  const done = await campaign({ from: 0, goOn: ({ seeds }) => seeds < 2_000 });
  const replay = (seed: number) => `npm run sim -- --seed ${seed} --shrink --trace`;
  assert.deepEqual(
    done.failures.map(({ seed, violations }) => `${violations[0]}: ${replay(seed)}`),
    [],
  );
  assert.deepEqual(unseen(done), []);
});

test('the same seed is the same run', async () => {
  for (const seed of [1, 2, 3]) {
    const [lines, again]: string[][] = [[], []];
    const first = await simulate(scheduleOf(seed), lines);
    const second = await simulate(scheduleOf(seed), again);
    assert.deepEqual(again, lines);
    assert.deepEqual(second, first);
    assert.notEqual((await simulate(scheduleOf(`${seed} other`))).trace, first.trace);
  }
});

test('a schedule shrinks to what its failure needs', async () => {
  const schedule = scheduleOf(11);
  const needed = schedule.happenings.filter((_, index) => index % 7 === 0).slice(0, 3);
  const fails = async (one: typeof schedule) =>
    needed.every((happening) => one.happenings.includes(happening));
  const shrunk = await shrink(schedule, fails);
  assert.deepEqual(shrunk.happenings, needed);
  assert.ok(Object.values(shrunk.rates).every((rate) => rate === 0));
});
