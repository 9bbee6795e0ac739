import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  edited,
  mergeSides,
  randomDocument,
  randomMetadata,
  rawSide,
  side,
  text,
  versionAt,
} from '../testing/merging.ts';
import { Random } from '../testing/simulation/random.ts';
import { clocksOf, mergeJson } from './merge-json.ts';
import { limits, type Merged, type Side } from './rule.ts';

const origin = versionAt('aws.1', 100);
const early = versionAt('aws.2', 200, origin);
const late = versionAt('gcp.1', 300, origin);

function merged(a: Side, b: Side, base?: Side): Merged {
  const result = mergeJson(a, b, base);
  if (result.kind === 'not-merged') assert.fail(result.because);
  assert.deepEqual(mergeJson(b, a, base), result);
  return result;
}

const documents = (a: unknown, b: unknown, base?: unknown) => {
  const result = merged(side(early, a), side(late, b), base === undefined ? undefined : side(origin, base));
  return {
    body: JSON.parse(text(result.body)),
    dropped: result.dropped,
    droppedOfWinner: result.droppedOfWinner,
  };
};

interface Case {
  readonly base?: unknown;
  readonly early: unknown;
  readonly late: unknown;
  readonly gives: unknown;
  readonly dropped?: readonly string[];
  readonly droppedOfWinner?: readonly string[];
}

const cases: Readonly<Record<string, Case>> = {
  'changes of different paths': {
    base: { a: 1, b: 1 },
    early: { a: 2, b: 1 },
    late: { a: 1, b: 3 },
    gives: { a: 2, b: 3 },
  },
  'the same change': { base: { a: 1 }, early: { a: 2 }, late: { a: 2 }, gives: { a: 2 } },
  'changes of one path': {
    base: { a: 1 },
    early: { a: 2 },
    late: { a: 3 },
    gives: { a: 3 },
    dropped: ['/a'],
  },
  'a removal and no change': { base: { a: 1, b: 1 }, early: { b: 1 }, late: { a: 1, b: 2 }, gives: { b: 2 } },
  'a later removal and an edit': { base: { a: 1 }, early: { a: 2 }, late: {}, gives: { a: 2 } },
  'an earlier removal and an edit': { base: { a: 1 }, early: {}, late: { a: 2 }, gives: { a: 2 } },
  'the removal of an object and an edit in it': {
    base: { o: { a: 1, b: 1 } },
    early: { o: { a: 2, b: 1 } },
    late: {},
    gives: { o: { a: 2 } },
  },
  'the removal of an object and an addition to it': {
    base: { o: { a: 1 } },
    early: { o: { a: 1, n: 1 } },
    late: {},
    gives: { o: { n: 1 } },
  },
  'an object emptied and an edit in it': {
    base: { o: { a: 1 } },
    early: { o: { a: 2 } },
    late: { o: {} },
    gives: { o: { a: 2 } },
  },
  'an object emptied and the same removed': {
    base: { o: { a: 1 } },
    early: { o: {} },
    late: {},
    gives: {},
  },
  'an object emptied': {
    base: { o: { a: 1 } },
    early: { o: {} },
    late: { o: { a: 1 }, n: 1 },
    gives: { o: {}, n: 1 },
  },
  'additions to an empty object': {
    base: { o: {} },
    early: { o: { a: 1 } },
    late: { o: { b: 1 } },
    gives: { o: { a: 1, b: 1 } },
  },
  'arrays are values': {
    base: { l: [1] },
    early: { l: [1, 2] },
    late: { l: [1, 3] },
    gives: { l: [1, 3] },
    dropped: ['/l'],
  },
  'a value in place of an object, later': {
    base: { o: { a: 1 } },
    early: { o: { a: 2 } },
    late: { o: 5 },
    gives: { o: 5 },
    dropped: ['/o/a'],
  },
  'a value in place of an object, earlier': {
    base: { o: { a: 1, b: 1 } },
    early: { o: 5 },
    late: { o: { a: 2, b: 1 } },
    gives: { o: { a: 2 } },
    dropped: ['/o'],
  },
  'no base: the union': {
    early: { a: 1, o: { b: 1 } },
    late: { c: 1, o: { d: 1 } },
    gives: { a: 1, c: 1, o: { b: 1, d: 1 } },
  },
  'no base: a removal is not known': { early: { a: 1, b: 1 }, late: { a: 1 }, gives: { a: 1, b: 1 } },
  'no base: one path': { early: { a: 1 }, late: { a: 2 }, gives: { a: 2 }, dropped: ['/a'] },
  'no base: an empty object is no value': { early: { o: { a: 1 } }, late: { o: {} }, gives: { o: { a: 1 } } },
  'roots that are no objects': { early: [1], late: 2, gives: 2, dropped: [''] },
  'null is a value': { base: { a: 1 }, early: { a: null }, late: { a: 1 }, gives: { a: null } },
  'null lost is a loss': {
    base: { a: 1 },
    early: { a: null },
    late: { a: 2 },
    gives: { a: 2 },
    dropped: ['/a'],
  },
};

for (const [what, { base, early: a, late: b, gives, dropped = [], droppedOfWinner = [] }] of Object.entries(
  cases,
)) {
  test(`merges ${what}`, () => {
    assert.deepEqual(documents(a, b, base), { body: gives, dropped, droppedOfWinner });
  });
}

test('a newer value that an older merge partner replaced is reported as lost of the winner', () => {
  const [b, c] = [versionAt('gcp.1', 300, origin), versionAt('azure.1', 250, origin)];
  const base = side(origin, { p: 0, q: 0 });
  const ab = mergeSides(mergeJson, side(early, { p: 1, q: 0 }), side(b, { p: 0, q: 2 }), base, {
    site: 'aws',
    count: 3,
  });
  const result = merged(ab, side(c, { p: 3, q: 0 }), base);
  assert.deepEqual(JSON.parse(text(result.body)), { p: 3, q: 2 });
  assert.deepEqual([result.dropped, result.droppedOfWinner], [[], ['/p']]);
});

test('metadata merge entry by entry, the fields that describe the body as one; the entry of Isobar is no part', () => {
  const old = {
    contentType: 'a',
    contentLanguage: 'en',
    user: { x: '1', y: '1', gone: '1' },
    tags: { t: '1' },
  };
  const base = side(origin, {}, old);
  const a = side(early, {}, { ...old, contentType: 'b', user: { x: '2', y: '1', gone: '1', isobar: '1;x' } });
  const b = side(late, {}, { ...old, user: { x: '1', y: '3', isobar: '1;y' }, tags: { t: '1', u: '1' } });
  const result = merged(a, b, base);
  assert.deepEqual(result.metadata, {
    contentType: 'b',
    contentLanguage: 'en',
    user: { x: '2', y: '3' },
    tags: { t: '1', u: '1' },
  });
  assert.deepEqual(
    merged(side(early, {}, { user: { x: '1' } }), side(late, {}, { user: { x: '2' } })).dropped,
    ['metadata:/user/x'],
  );
});

test('equal bodies stay as they are, JSON or not; only their metadata merge', () => {
  for (const body of ['{ "b": 1, "a": 1.0 }', 'no JSON', '']) {
    const result = merged(
      rawSide(early, body, { tags: { a: '1' } }),
      rawSide(late, body, { tags: { b: '2' } }),
    );
    assert.equal(text(result.body), body);
    assert.deepEqual([result.metadata.tags, result.dropped], [{ a: '1', b: '2' }, []]);
  }
});

test('one version with two bodies, which is damage, still gives the same body in either order', () => {
  const [a, b] = [side(early, { a: 1 }), side(early, { a: 2 })];
  const bodies = [mergeJson(a, b, undefined), mergeJson(b, a, undefined)].map((result) =>
    result.kind === 'merged' ? text(result.body) : result.because,
  );
  assert.deepEqual(bodies, ['{"a":2}', '{"a":2}']);
});

const unmergeable: Readonly<Record<string, readonly [a: Side, b: Side, why: RegExp]>> = {
  'no JSON': [rawSide(early, '<html>'), side(late, {}), /not a JSON document: at "" \(character 1\)/],
  'clocks of another document': [
    {
      ...side(early, { a: 1 }),
      clocks: { '': '0000000000640000;aws.1;op|', '/body/b/c': '-0000000000640000;aws.1;op' },
    },
    side(late, {}),
    /clocks that are those of another document/,
  ],
  'clocks that outdate what is there': [
    {
      ...side(early, { a: 1 }),
      clocks: {
        '': '0000000000640000;aws.1;op|0000000000c80000;aws.2;op',
        '/body/a': '0000000000640000;aws.1;op',
      },
    },
    side(late, {}),
    /clocks that are those of another document/,
  ],
  'clocks that are none': [
    { ...side(early, 1), clocks: { '': 'now|' } },
    side(late, 2),
    /a clock that is none: "now"/,
  ],
  'too many parts of different age': [
    side(early, many('e')),
    side(late, many('l')),
    /more than the 4096 that are kept/,
  ],
};

function many(mine: string): object {
  const members = Array.from({ length: limits.clocks + 1 }, (_, n) => [
    n % 2 === 0 ? `${mine}${n}` : `both${n}`,
    n,
  ]);
  return Object.fromEntries(
    mine === 'e' ? members.concat(members.map(([key, n]) => [`${key}e`, n!])) : members,
  );
}

for (const [what, [a, b, why]] of Object.entries(unmergeable)) {
  test(`not merged, in either order: ${what}`, () => {
    const result = mergeJson(a, b, undefined);
    assert.match(result.kind === 'not-merged' ? result.because : 'merged', why);
    assert.deepEqual(mergeJson(b, a, undefined), result);
  });
}

test('a base that cannot be one is none: no JSON, or not older than the writes', () => {
  const [a, b] = [side(early, { a: 1 }), side(late, { b: 1 })];
  for (const base of [rawSide(origin, 'no JSON'), side(versionAt('gcp.9', 250), { a: 1, b: 1 })]) {
    assert.deepEqual(JSON.parse(text(merged(a, b, base).body)), { a: 1, b: 1 });
  }
});

const wanted = process.env.ISOBAR_MERGE_SEEDS;
const seeds = Number(wanted ?? 2_000);
/** Longer, and slower. */
const histories = Number(wanted ?? 500);
const sites = ['aws', 'gcp', 'azure', 'disk'];

/** Concurrent writes over one ancestor, some over a merge of others, with clocks ten seconds apart at most. */
function writesOf(random: Random): { base: Side | undefined; writes: Side[] } {
  const atMs = () => random.between(200, 10_000);
  const ancestor = randomDocument(random);
  const base = { ...side(origin, ancestor), metadata: randomMetadata(random) };
  const knows = random.chance(0.7);
  const writes = sites.slice(0, random.between(2, 5)).map((site) => {
    const version = versionAt(`${site}.${site === 'aws' ? 2 : 1}`, atMs(), origin);
    const document = random.chance(0.8) ? edited(random, ancestor) : randomDocument(random);
    return {
      ...side(version, document),
      metadata: random.chance(0.5) ? base.metadata : randomMetadata(random),
    };
  });
  return { base: knows ? base : undefined, writes };
}

/** Merges in any order and shape, some of them twice. */
function mergedInSomeOrder(random: Random, writes: readonly Side[], base: Side | undefined): Side {
  const left = [...writes];
  let count = 100;
  while (left.length > 1) {
    const [a] = left.splice(random.between(0, left.length), 1);
    const at = random.between(0, left.length);
    const dot = { site: random.pick(sites), count: count++ };
    left[at] = mergeSides(mergeJson, a!, left[at]!, base, dot);
    if (random.chance(0.2)) left.push(random.pick(writes));
  }
  return left[0]!;
}

function assertSame(a: Side, b: Side): void {
  assert.equal(text(a.body), text(b.body));
  assert.deepEqual(a.metadata, b.metadata);
  assert.deepEqual({ ...a.clocks }, { ...b.clocks });
}

test(`merges commute, associate and are idempotent (${seeds} seeds)`, () => {
  for (let seed = 0; seed < seeds; seed++) {
    const random = new Random(`merge-json/${seed}`);
    const { base, writes } = writesOf(random);
    try {
      const one = mergedInSomeOrder(random, writes, base);
      const other = mergedInSomeOrder(random, writes, base);
      assertSame(one, other);
      assertSame(mergeSides(mergeJson, one, one, base, { site: 'aws', count: 200 }), one);
      for (const write of writes) {
        assertSame(mergeSides(mergeJson, one, write, base, { site: 'gcp', count: 201 }), one);
      }
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
  }
});

test(`histories whose writes keep clocks merge alike whatever meets first (${histories} seeds)`, () => {
  for (let seed = 0; seed < histories; seed++) {
    const random = new Random(`histories/${seed}`);
    const written = (site: string, count: number, seen: Side): Side => {
      const version = versionAt(`${site}.${count}`, 1_000 * count + random.between(0, 900), seen.version);
      const document = edited(random, JSON.parse(text(seen.body)));
      const write = { ...side(version, document), metadata: randomMetadata(random) };
      return { ...write, clocks: clocksOf(write, seen) };
    };
    try {
      const first = side(versionAt('aws.1', 500), randomDocument(random));
      const heads = sites.map((site) => written(site, 2, first));
      for (let count = 3; count < 6; count++) {
        const at = random.between(0, heads.length);
        const seen = random.pick(heads);
        const dot = { site: sites[at]!, count: 100 + count };
        const known = random.chance(0.5)
          ? mergeSides(mergeJson, heads[at]!, seen, undefined, dot)
          : heads[at]!;
        heads[at] = { ...written(sites[at]!, 200 * count, known) };
      }
      const one = mergedInSomeOrder(random, heads, undefined);
      assertSame(one, mergedInSomeOrder(random, heads, undefined));
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
  }
});

test(`without clocks, merges of pairs still commute (${seeds} seeds)`, () => {
  for (let seed = 0; seed < seeds; seed++) {
    const random = new Random(`pairs/${seed}`);
    const { base, writes } = writesOf(random);
    const { clocks: _, ...ab } = mergedInSomeOrder(random, writes.slice(0, 2), base);
    merged(ab, writes.at(-1)!, random.chance(0.5) ? base : undefined);
  }
});
