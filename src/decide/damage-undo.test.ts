import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KeyRecord, Replica } from '../model/record.ts';
import { stampOf } from '../model/stamp.ts';
import type { SiteId, Vector } from '../model/version.ts';
import { type Aside, undoing } from './damage-undo.ts';

const sinceMs = 1_000;

function replica(site: SiteId, count: number, ms: number, past: Vector = {}, deleted = false): Replica {
  const version = { stamp: stampOf(ms), dot: { site, count }, past, operation: `${site}${count}`, deleted };
  return { version, size: ms, ...(deleted ? {} : { token: `${ms}` }) };
}

function aside(ms: number, putAsideMs: number): Aside {
  return { site: 'b', keptAs: `kept${ms}`, stamp: stampOf(ms), size: ms, sinceMs: putAsideMs };
}

const newest = replica('a', 3, 1_500, { a: 2 });
const record = (others: Record<SiteId, Replica> = {}): KeyRecord => ({
  key: 'k',
  replicas: { a: newest, ...others },
});

test('the latest body of before the time, from a site or from what was put aside', () => {
  const cases: readonly [Record<SiteId, Replica>, readonly Aside[], string | undefined][] = [
    [{ b: replica('a', 2, 900, { a: 1 }) }, [], 'b'],
    [{ b: replica('a', 1, 800), c: replica('a', 2, 900, { a: 1 }) }, [], 'c'],
    [{ b: replica('a', 1, 800) }, [aside(900, 1_500)], 'kept900'],
    [{ c: replica('a', 2, 900, { a: 1 }) }, [aside(800, 1_200)], 'c'],
    [{}, [aside(800, 1_500), aside(900, 1_500), aside(1_100, 1_500)], 'kept900'],
    [{ b: replica('a', 2, 1_000, { a: 1 }) }, [], undefined],
    [{ b: replica('a', 2, 900, { a: 1 }, true) }, [], undefined],
    [{ b: newest }, [], undefined],
  ];
  for (const [others, asides, from] of cases) {
    const step = undoing(record(others), newest, asides, sinceMs);
    assert.equal(step.kind === 'restore' ? (step.from.keptAs ?? step.from.site) : undefined, from);
    if (from === undefined) assert.equal(step.kind, 'lost');
  }
});

test('what lost a conflict before that time was not there at that time', () => {
  assert.equal(undoing(record(), newest, [aside(800, 900)], sinceMs).kind, 'lost');
});

test('a creation is left, and so is what stands again already', () => {
  const created = replica('a', 1, 1_500);
  const left = undoing({ key: 'k', replicas: { a: created } }, created, [], sinceMs);
  assert.deepEqual(left, { kind: 'leave', because: 'created-since' });
  const same = { size: 5, digest: 'd', traits: 't' };
  const back = { ...newest, ...same };
  const before = { ...replica('a', 2, 900, { a: 1 }), ...same };
  const step = undoing({ key: 'k', replicas: { a: back, b: before } }, back, [], sinceMs);
  assert.deepEqual(step, { kind: 'leave', because: 'unchanged' });
});
