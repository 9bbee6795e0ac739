import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { checkHistory, type HistoryCall, isLinearizable, type WriteCondition } from './linearizability.ts';
import { Random } from './simulation/random.ts';

const never = Number.POSITIVE_INFINITY;

function get(client: string, from: number, to: number, value?: string, tag?: string): HistoryCall {
  const times = { client, key: 'k', calledAt: from, returnedAt: to };
  return { ...times, kind: 'get', value, ...(tag ? { tag } : {}) };
}

type Outcome = 'ok' | 'conflict' | 'failed' | 'unknown';

/** Its tag is `t-` and the value. */
function put(
  client: string,
  from: number,
  to: number,
  value: string | undefined,
  outcome: Outcome = 'ok',
  condition?: WriteCondition,
): HistoryCall {
  const times = { client, key: 'k', calledAt: from, returnedAt: to };
  const tag = value === undefined ? {} : { tag: `t-${value}` };
  return { ...times, kind: 'write', value, outcome, ...tag, ...(condition ? { condition } : {}) };
}

const ifMatch = (value: string): WriteCondition => ({ kind: 'if-match', tag: `t-${value}` });
const ifAbsent: WriteCondition = { kind: 'if-absent' };

const good: Record<string, HistoryCall[]> = {
  'nothing was ever written': [get('a', 1, 2)],
  'one after the other': [put('a', 1, 2, 'x'), get('b', 3, 4, 'x'), put('a', 5, 6, 'y'), get('b', 7, 8, 'y')],
  'a read beside a write sees either': [put('a', 1, 9, 'x'), get('b', 2, 3), get('b', 4, 5, 'x')],
  'two writes at once, in either order': [
    put('a', 1, 5, 'x'),
    put('b', 1, 5, 'y'),
    get('c', 6, 7, 'x'),
    get('c', 8, 9, 'x'),
  ],
  'an unknown write is read later': [
    put('a', 1, never, 'x', 'unknown'),
    get('b', 3, 4),
    get('b', 50, 60, 'x'),
  ],
  'an unknown write is never read': [put('a', 1, never, 'x', 'unknown'), get('b', 3, 4), get('b', 50, 60)],
  'an unknown write takes effect after a later one': [
    put('a', 1, never, 'x', 'unknown'),
    put('b', 2, 3, 'y'),
    get('b', 4, 5, 'y'),
    get('b', 6, 7, 'x'),
  ],
  'a write that failed leaves nothing': [put('a', 1, 2, 'x', 'failed'), get('b', 3, 4)],
  'a removal': [put('a', 1, 2, 'x'), put('a', 3, 4, undefined), get('b', 5, 6)],
  'of two that match one wins': [
    put('a', 1, 2, 'x'),
    put('b', 3, 9, 'y', 'ok', ifMatch('x')),
    put('c', 3, 9, 'z', 'conflict', ifMatch('x')),
    get('a', 10, 11, 'y'),
  ],
  'creating again after a removal': [
    put('a', 1, 2, 'x', 'ok', ifAbsent),
    put('a', 3, 4, undefined),
    put('b', 5, 6, 'y', 'ok', ifAbsent),
  ],
  'called at the time of a return': [put('a', 1, 2, 'x'), get('b', 2, 3)],
};

const bad: Record<string, HistoryCall[]> = {
  'a stale read': [put('a', 1, 2, 'x'), put('a', 3, 4, 'y'), get('b', 5, 6, 'x')],
  'a lost write': [put('a', 1, 2, 'x'), get('b', 3, 4)],
  'a read that goes back': [put('a', 1, 20, 'x'), get('b', 2, 3, 'x'), get('c', 4, 5)],
  'a value nobody wrote': [put('a', 1, 2, 'x'), get('b', 3, 4, 'z')],
  'a lost update': [put('a', 1, 2, 'x'), put('b', 3, 4, 'y', 'ok', ifMatch('x')), get('c', 5, 6, 'x')],
  'two that match both win': [
    put('a', 1, 2, 'x'),
    put('b', 3, 9, 'y', 'ok', ifMatch('x')),
    put('c', 3, 9, 'z', 'ok', ifMatch('x')),
  ],
  'two that create both win': [put('a', 1, 9, 'x', 'ok', ifAbsent), put('b', 1, 9, 'y', 'ok', ifAbsent)],
  'a removed value comes back': [put('a', 1, 2, 'x'), put('a', 3, 4, undefined), get('b', 5, 6, 'x')],
  'a write that failed is read': [put('a', 1, 2, 'x', 'failed'), get('b', 3, 4, 'x')],
  'a write is read before its call': [get('b', 1, 2, 'x'), put('a', 3, 4, 'x')],
  'an unknown write is read before its call': [get('b', 1, 2, 'x'), put('a', 3, never, 'x', 'unknown')],
  'an unknown write takes effect twice': [
    put('a', 1, never, 'x', 'unknown'),
    get('b', 2, 3, 'x'),
    put('b', 4, 5, 'y'),
    get('b', 6, 7, 'x'),
  ],
  'a conflict although it matched': [put('a', 1, 2, 'x'), put('b', 3, 4, 'y', 'conflict', ifMatch('x'))],
  'the same value under another tag': [put('a', 1, 2, 'x'), get('b', 3, 4, 'x', 't-other')],
};

describe('a history is linearizable', () => {
  for (const [name, calls] of Object.entries(good)) {
    test(name, () => assert.deepEqual(checkHistory(calls), { kind: 'linearizable' }));
  }
});

describe('a history is not linearizable', () => {
  for (const [name, calls] of Object.entries(bad)) {
    test(name, () => assert.equal(checkHistory(calls).kind, 'violation'));
  }
});

test('keys are judged each by itself, and the violation names its key', () => {
  const elsewhere = bad['a stale read']!.map((call) => ({ ...call, key: 'other' }));
  const verdict = checkHistory([...good['a removal']!, ...elsewhere]);
  assert.deepEqual(verdict, { kind: 'violation', key: 'other', calls: elsewhere });
});

/** The specification word for word: some order of all, that agrees with time, explains every answer. */
function bruteForce(calls: readonly HistoryCall[], held: HistoryCall | undefined = undefined): boolean {
  const pending = calls.filter((call) => call.returnedAt !== never);
  if (pending.length === 0) return true;
  const firstReturn = Math.min(...pending.map((call) => call.returnedAt));
  return calls.some((call) => {
    if (call.calledAt > firstReturn) return false;
    const rest = calls.filter((other) => other !== call);
    if (call.kind === 'write' && call.outcome === 'failed') return bruteForce(rest, held);
    if (call.kind === 'get') return held?.value === call.value && bruteForce(rest, held);
    const { condition } = call;
    const tag = held?.kind === 'write' && held.value !== undefined ? held.tag : undefined;
    const holds = !condition || (condition.kind === 'if-absent' ? tag === undefined : tag === condition.tag);
    if (call.outcome === 'conflict') return !holds && bruteForce(rest, held);
    return holds && bruteForce(rest, call);
  });
}

test('it agrees with the specification on 3,000 random histories, good and bad', () => {
  const random = new Random('linearizability');
  const found = { good: 0, bad: 0 };
  for (let round = 0; round < 3_000; round++) {
    const calls = randomCalls(random, 6);
    const expected = bruteForce(calls);
    assert.equal(isLinearizable(calls), expected, JSON.stringify(calls));
    found[expected ? 'good' : 'bad'] += 1;
  }
  assert.ok(found.good > 500 && found.bad > 500, JSON.stringify(found));
});

function randomCalls(random: Random, count: number): HistoryCall[] {
  return Array.from({ length: count }, (_, i) => {
    const from = random.between(0, 16);
    const to = from + random.between(4, 24) + 0.5;
    if (random.chance(0.4)) return get('r', from, to, random.pick(['v0', 'v1', 'v2', 'v3', undefined]));
    const value = random.chance(0.15) ? undefined : `v${i}`;
    const condition = random.pick([undefined, undefined, ifAbsent, ifMatch(`v${random.between(0, 4)}`)]);
    const outcome = random.pick<Outcome>(['ok', 'unknown', 'unknown', 'failed', 'conflict']);
    if (outcome === 'conflict' && !condition) return put('w', from, to, value);
    return put('w', from, outcome === 'unknown' ? never : to, value, outcome, condition);
  });
}

test('fifty operations of ten clients, a fifth of unknown outcome, take well under a second', () => {
  const random = new Random('fifty');
  for (let round = 0; round < 20; round++) {
    const calls = atomicHistory(random, 10, 50);
    assert.ok(isLinearizable(calls));
    const wrong = [...calls, get('late', 1e6, 1e6 + 1, 'never written')];
    assert.ok(!isLinearizable(wrong));
  }
});

/** What a register that is one variable would have answered. */
function atomicHistory(random: Random, clients: number, count: number): HistoryCall[] {
  const free = Array.from({ length: clients }, () => 0);
  const planned = Array.from({ length: count }, (_, i) => {
    const client = random.between(0, clients);
    const from = free[client]! + random.between(1, 20);
    const effect = from + random.next() * 30;
    free[client] = effect + random.between(1, 30);
    return { i, client: `c${client}`, from, effect, to: free[client]! };
  });
  let held: string | undefined;
  return planned
    .sort((a, b) => a.effect - b.effect)
    .map(({ i, client, from, to }) => {
      if (random.chance(0.5)) return get(client, from, to, held);
      const unknown = random.chance(0.2);
      if (!unknown || random.chance(0.5)) held = `v${i}`;
      return put(client, from, unknown ? never : to, `v${i}`, unknown ? 'unknown' : 'ok');
    });
}
