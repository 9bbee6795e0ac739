import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CrdtType } from '../../model/policy.ts';
import { stampOf } from '../../model/stamp.ts';
import {
  edited,
  mergeSides,
  type Plain,
  randomDocument,
  rawSide,
  side,
  text,
  versionAt,
} from '../../testing/merging.ts';
import { Random } from '../../testing/simulation/random.ts';
import { canonical, type Json, parseJson } from '../json.ts';
import { mergeCrdt } from '../merge-json.ts';
import type { Merge, Side } from '../rule.ts';
import { incrementedCounter } from './counter.ts';
import * as edit from './edit.ts';
import { typedPaths } from './types.ts';

const types: Readonly<Record<string, CrdtType>> = {
  '/views': 'counter',
  '/by-page/*': 'counter',
  '/tags': 'set',
  '/title': 'register',
  '/note': 'multi-register',
  '/props': 'map',
  '/cart': 'map',
  '/cart/*': 'counter',
};
const merge = mergeCrdt(types);
const origin = versionAt('aws.1', 100);

function sideOf(dot: string, ms: number, document: Json): Side {
  return rawSide(versionAt(dot, ms, origin), canonical(document));
}

function mergedValue(a: Json, b: Json, base?: Json): unknown {
  const result = merge(
    sideOf('aws.2', 200, a),
    sideOf('gcp.1', 300, b),
    base === undefined ? undefined : { ...sideOf('aws.1', 100, base), version: origin },
  );
  if (result.kind === 'not-merged') assert.fail(result.because);
  return JSON.parse(canonical(edit.valueOfDocument(parseJson(result.body), types)));
}

const empty: Json = new Map();

test('a counter counts what both added and took away', () => {
  const both = edit.increment(empty, '/views', 'web', 3);
  const a = edit.increment(both, '/views', 'web', 2);
  const b = edit.increment(both, '/views', 'app', -4);
  assert.deepEqual(mergedValue(a, b), { views: 1 });
});

test('an element that one removed and another added again stays; one that was only removed goes', () => {
  const both = edit.add(edit.add(empty, '/tags', 'x', 'red'), '/tags', 'x', { deep: [1] });
  const a = edit.remove(edit.remove(both, '/tags', 'red'), '/tags', { deep: [1] });
  const b = edit.add(both, '/tags', 'y', 'red');
  assert.deepEqual(mergedValue(a, b), { tags: ['red'] });
});

test('the later stamp wins in a register, concurrent values stand side by side in a multi-value one', () => {
  const a = edit.setMulti(edit.set(empty, '/title', 'x', 'late', stampOf(9)), '/note', 'x', 1);
  const b = edit.setMulti(edit.set(empty, '/title', 'y', 'early', stampOf(8)), '/note', 'y', 2);
  assert.deepEqual(mergedValue(a, b), { title: 'late', note: [1, 2] });
  const after = edit.setMulti(
    parseJson((merge(sideOf('aws.2', 1, a), sideOf('gcp.1', 2, b), undefined) as { body: Uint8Array }).body),
    '/note',
    'z',
    3,
  );
  assert.deepEqual(mergedValue(a, after), { title: 'late', note: [3] });
});

test('an entry that one removed and another changed stays, with what the other knew', () => {
  const put = (document: Json, actor: string, key: string, by: number) =>
    edit.setEntry(document, types, '/cart', actor, key, (count) => incrementedCounter(count, actor, by));
  const both = put(put(empty, 'x', 'pear', 1), 'x', 'plum', 1);
  const a = edit.removeEntry(edit.removeEntry(both, types, '/cart', 'pear'), types, '/cart', 'plum');
  const b = put(both, 'y', 'pear', 5);
  assert.deepEqual(mergedValue(a, b), { cart: { pear: 6 } });
  assert.deepEqual(mergedValue(put(both, 'z', 'pear', 1), b), { cart: { pear: 7, plum: 1 } });
});

test('what is outside the typed paths merges as JSON does, and a typed state outlives what replaced it', () => {
  const base = edit.increment(parseJson(Buffer.from('{"a":1,"by-page":{}}')), '/by-page/home', 'web', 1);
  const counted = edit.increment(base, '/by-page/home', 'app', 1);
  const replaced = parseJson(Buffer.from('{"a":2,"by-page":7}'));
  assert.deepEqual(mergedValue(counted, replaced, base), { a: 2, 'by-page': { home: 2 } });
});

test('a value of a register that another one outdated is reported as dropped', () => {
  const a = edit.set(empty, '/title', 'x', 'old', stampOf(1));
  const b = edit.set(empty, '/title', 'y', 'new', stampOf(2));
  const result = merge(sideOf('aws.2', 200, a), sideOf('gcp.1', 300, b), undefined);
  assert.deepEqual(result.kind === 'merged' && [result.dropped, result.droppedOfWinner], [['/title'], []]);
});

const malformed: Readonly<Record<string, readonly [document: unknown, why: RegExp]>> = {
  'a number for a counter': [{ views: 3 }, /"\/views" is not an object with "p", "n"/],
  'a negative count': [{ views: { p: { a: -1 } } }, /"\/views\/p\/a" is not a whole number/],
  'a count beyond doubles': [{ views: { p: { a: 2 ** 53 } } }, /whole number from 0 to 2\^53 - 1/],
  'a field too many': [{ views: { p: {}, n: {}, x: 1 } }, /"\/views\/x" is unknown here/],
  'a dot that nobody saw': [
    { tags: { elements: { 'a:2': 1 }, seen: { a: 1 } } },
    /"\/tags\/elements\/a:2" is no dot/,
  ],
  'a dot without an actor': [{ tags: { elements: { ':1': 1 }, seen: { '': 1 } } }, /is no dot/],
  'a stamp that is none': [
    { title: { value: 1, actor: 'x', stamp: 'now' } },
    /"\/title\/stamp" is not 16 hex/,
  ],
  'a register without a value': [{ title: { actor: 'x', stamp: stampOf(1) } }, /"\/title\/value" is missing/],
  'a value that counts nobody': [
    { note: { values: [{ value: 1, vector: {} }] } },
    /"\/note\/values\/0\/vector" counts/,
  ],
  'an entry without dots': [
    { cart: { entries: { pear: 1 }, seen: {} } },
    /"\/cart\/entries\/pear" is not an object/,
  ],
  'a value of a map that is no counter': [
    { cart: { entries: { pear: { 'a:1': 5 } }, seen: { a: 1 } } },
    /"\/cart\/entries\/pear\/a:1" is not an object/,
  ],
};

for (const [what, [document, why]] of Object.entries(malformed)) {
  test(`${what} is not merged, and it says where`, () => {
    const result = merge(
      side(versionAt('aws.2', 200), document),
      side(versionAt('gcp.1', 300), {}),
      undefined,
    );
    assert.equal(result.kind, 'not-merged');
    assert.match(result.kind === 'not-merged' ? result.because : '', why);
  });
}

test('types of paths inside others are refused, but for the values of maps', () => {
  assert.throws(() => typedPaths({ '/a': 'counter', '/a/b': 'set' }), RangeError);
  assert.throws(() => typedPaths({ '/*': 'counter', '/a/b': 'set' }), RangeError);
  assert.throws(() => typedPaths({ '/a': 'map', '/a/*/b': 'set' }), RangeError);
  assert.throws(() => typedPaths({ a: 'map' }), RangeError);
  assert.doesNotThrow(() => typedPaths({ '/a': 'map', '/a/*': 'map', '/a/*/*': 'set' }));
});

/** What one of several writers does to a document, by the functions that users have. */
function written(random: Random, document: Json, actor: string): Json {
  const keys = ['k', 'l', '__proto__'];
  const values = [1, 'x', null, [1]];
  const count = (state: Json | undefined) => incrementedCounter(state, actor, random.between(-3, 5));
  const edits: readonly ((on: Json) => Json)[] = [
    (on) => edit.increment(on, '/views', actor, random.between(-5, 10)),
    (on) => edit.increment(on, `/by-page/${random.pick(['x', 'y'])}`, actor),
    (on) => edit.add(on, '/tags', actor, random.pick(values)),
    (on) => (has(on, 'tags') ? edit.remove(on, '/tags', random.pick(values)) : on),
    (on) => edit.set(on, '/title', actor, random.pick(values), stampOf(random.between(0, 50))),
    (on) => edit.setMulti(on, '/note', actor, random.pick(values)),
    (on) =>
      edit.setEntry(on, types, '/props', actor, random.pick(keys), () =>
        random.pick<Json>(['v', null, true]),
      ),
    (on) => edit.setEntry(on, types, '/cart', actor, random.pick(keys), count),
    (on) => (has(on, 'cart') ? edit.removeEntry(on, types, '/cart', random.pick(keys)) : on),
    (on) => (has(on, 'props') ? edit.removeEntry(on, types, '/props', random.pick(keys)) : on),
    (on) => withPlain(random, on),
  ];
  let result = document;
  for (let times = random.between(1, 8); times > 0; times--) result = random.pick(edits)(result);
  return result;
}

function has(document: Json, key: string): boolean {
  return document instanceof Map && document.has(key);
}

function withPlain(random: Random, document: Json): Json {
  const members = new Map(document as ReadonlyMap<string, Json>);
  const old = members.get('plain');
  if (old !== undefined && random.chance(0.2)) members.delete('plain');
  else
    members.set(
      'plain',
      edit.jsonOf(
        edited(random, old === undefined ? randomDocument(random) : (JSON.parse(canonical(old)) as Plain)),
      ),
    );
  return members;
}

/** As somebody does who knows nothing of types. */
function replacedTyped(random: Random, document: Json): Json {
  const members = new Map(document as ReadonlyMap<string, Json>);
  if (random.chance(0.5)) members.set('by-page', edit.jsonOf(random.pick([1, {}, 'x'])));
  else members.delete(random.pick(['by-page', 'views', 'cart']));
  return members;
}

const seeds = Number(process.env.ISOBAR_MERGE_SEEDS ?? 2_000);
const sites = ['aws', 'gcp', 'azure', 'disk'];

/** Each actor writes at one place after the other: what it knew is in what it writes. */
function writesOf(random: Random): { base: Side; writes: Side[] } {
  const start = edit.increment(
    edit.add(edit.jsonOf({ 'by-page': {} }), '/tags', 'web', 'x'),
    '/views',
    'app',
    2,
  );
  const ancestor = random.chance(0.8) ? written(random, start, 'web') : start;
  const base = { ...sideOf('aws.1', 100, ancestor), version: origin };
  const writes = sites.slice(0, random.between(2, 5)).map((site) => {
    const edit = written(random, ancestor, site);
    const document = random.chance(0.2) ? replacedTyped(random, edit) : edit;
    const dot = `${site}.${site === 'aws' ? 2 : 1}`;
    return rawSide(versionAt(dot, random.between(200, 10_000), origin), canonical(document));
  });
  return { base, writes };
}

function mergedInSomeOrder(
  rule: Merge,
  random: Random,
  writes: readonly Side[],
  base: Side | undefined,
): Side {
  const left = [...writes];
  let count = 100;
  while (left.length > 1) {
    const [a] = left.splice(random.between(0, left.length), 1);
    const at = random.between(0, left.length);
    left[at] = mergeSides(rule, a!, left[at]!, base, { site: random.pick(sites), count: count++ });
    if (random.chance(0.2)) left.push(random.pick(writes));
  }
  return left[0]!;
}

test(`typed documents commute, associate and are idempotent (${seeds} seeds)`, () => {
  for (let seed = 0; seed < seeds; seed++) {
    const random = new Random(`crdt/${seed}`);
    try {
      const { base, writes } = writesOf(random);
      const known = random.chance(0.7) ? base : undefined;
      const one = mergedInSomeOrder(merge, random, writes, known);
      const other = mergedInSomeOrder(merge, random, writes, known);
      assert.equal(text(one.body), text(other.body));
      assert.deepEqual(one.clocks, other.clocks);
      const again = mergeSides(merge, one, random.pick(writes), known, { site: 'aws', count: 200 });
      assert.equal(text(again.body), text(one.body));
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
  }
});
