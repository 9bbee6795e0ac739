import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as Y from 'yjs';
import { noMetadata } from '../model/metadata.ts';
import type { Version } from '../model/version.ts';
import { mergeSides, versionAt } from '../testing/merging.ts';
import { Random } from '../testing/simulation/random.ts';
import { loadYjsMerge } from './merge-yjs.ts';
import type { Side } from './rule.ts';

const merge = await loadYjsMerge();
const origin = versionAt('aws.1', 100);

function sideOf(version: Version, body: Uint8Array): Side {
  return { version, body, metadata: noMetadata };
}

/** What a program does that reads the document, changes it as `client`, and writes it. */
function written(
  before: Uint8Array | undefined,
  client: number,
  change: (root: Y.Map<unknown>) => void,
): Uint8Array {
  const document = new Y.Doc();
  document.clientID = client;
  if (before) Y.applyUpdate(document, before);
  document.transact(() => change(document.getMap('root')));
  return Y.encodeStateAsUpdate(document);
}

function read(body: Uint8Array): unknown {
  const document = new Y.Doc();
  Y.applyUpdate(document, body);
  return document.getMap('root').toJSON();
}

const start = written(undefined, 1, (root) => {
  root.set('text', new Y.Text('hello'));
  root.set('list', new Y.Array());
});

test('changes of both are in the result, in either order', () => {
  const a = sideOf(
    versionAt('aws.2', 200, origin),
    written(start, 2, (root) => root.set('a', 1)),
  );
  const b = sideOf(
    versionAt('gcp.1', 300, origin),
    written(start, 3, (root) => (root.get('text') as Y.Text).insert(5, ' world')),
  );
  const result = merge(a, b, undefined);
  if (result.kind === 'not-merged') assert.fail(result.because);
  assert.deepEqual(read(result.body), { a: 1, text: 'hello world', list: [] });
  assert.deepEqual([result.dropped, result.droppedOfWinner], [[], []]);
  assert.deepEqual(merge(b, a, undefined), result);
});

test('a value that another one replaced unseen is reported as dropped, on its side', () => {
  const sides = [2, 3].map((client) => {
    const version = versionAt(client === 2 ? 'aws.2' : 'gcp.1', client * 100, origin);
    return sideOf(
      version,
      written(start, client, (root) => root.set('a', client)),
    );
  }) as [Side, Side];
  const result = merge(...sides, undefined);
  if (result.kind === 'not-merged') assert.fail(result.because);
  // Yjs keeps the value of the greater client id.
  assert.deepEqual(read(result.body), { a: 3, text: 'hello', list: [] });
  assert.deepEqual([result.dropped, result.droppedOfWinner], [[''], []]);
});

const bad: Readonly<Record<string, readonly [body: Uint8Array, why: RegExp]>> = {
  'no Yjs document': [new TextEncoder().encode('{"a":1}'), /not a Yjs document/],
  'a document cut off': [start.subarray(0, start.length - 3), /cannot be read|does not bring along/],
  'a difference instead of a state': [
    Y.encodeStateAsUpdate(
      (() => {
        const document = new Y.Doc();
        Y.applyUpdate(
          document,
          written(start, 4, (root) => (root.get('text') as Y.Text).insert(1, 'x')),
        );
        return document;
      })(),
      Y.encodeStateVectorFromUpdate(start),
    ),
    /builds on changes that it does not bring along/,
  ],
  'another document of the same client id': [
    written(undefined, 1, (root) => root.set('text', 'other')),
    /same Yjs client id/,
  ],
};

for (const [what, [body, why]] of Object.entries(bad)) {
  test(`${what} is not merged`, () => {
    const result = merge(
      sideOf(versionAt('aws.2', 200), body),
      sideOf(versionAt('gcp.1', 300), start),
      undefined,
    );
    assert.match(result.kind === 'not-merged' ? result.because : 'merged', why);
  });
}

const seeds = Number(process.env.ISOBAR_MERGE_SEEDS ?? 1_000);
const sites = ['aws', 'gcp', 'azure', 'disk'];

function changed(random: Random, before: Uint8Array, client: number): Uint8Array {
  return written(before, client, (root) => {
    const text = root.get('text') as Y.Text;
    const list = root.get('list') as Y.Array<unknown>;
    const edits = [
      () => root.set(random.pick(['a', 'b']), random.between(0, 9)),
      () => root.delete(random.pick(['a', 'b'])),
      () => root.set(random.pick(['a', 'b']), new Y.Map([['deep', new Y.Text('t')]])),
      () => text.insert(random.between(0, text.length + 1), random.id().slice(0, 3)),
      () => text.length > 1 && text.delete(random.between(0, text.length - 1), 1),
      () => list.insert(random.between(0, list.length + 1), [1, new Y.Map([['x', 1]])]),
      () => list.length > 0 && list.delete(random.between(0, list.length), 1),
      () =>
        list.length > 0 &&
        list.get(0) instanceof Y.Map &&
        (list.get(0) as Y.Map<unknown>).set('y', new Y.Array()),
    ];
    for (let times = random.between(1, 9); times > 0; times--) random.pick(edits)();
  });
}

function mergedInSomeOrder(random: Random, writes: readonly Side[]): Side {
  const left = [...writes];
  let count = 100;
  while (left.length > 1) {
    const [a] = left.splice(random.between(0, left.length), 1);
    const at = random.between(0, left.length);
    left[at] = mergeSides(merge, a!, left[at]!, undefined, { site: random.pick(sites), count: count++ });
    if (random.chance(0.2)) left.push(random.pick(writes));
  }
  return left[0]!;
}

test(`documents commute, associate and are idempotent (${seeds} seeds)`, () => {
  for (let seed = 0; seed < seeds; seed++) {
    const random = new Random(`yjs/${seed}`);
    const ancestor = random.chance(0.7) ? changed(random, start, 2) : start;
    const writes = sites.slice(0, random.between(2, 5)).map((site, index) => {
      const once = changed(random, ancestor, 10 + index);
      const body = random.chance(0.3) ? changed(random, once, 20 + index) : once;
      return sideOf(versionAt(`${site}.5`, random.between(200, 9_000), origin), body);
    });
    const one = mergedInSomeOrder(random, writes);
    const other = mergedInSomeOrder(random, writes);
    assert.deepEqual(Buffer.from(one.body), Buffer.from(other.body), `seed ${seed}`);
    const again = mergeSides(merge, one, random.pick(writes), undefined, { site: 'aws', count: 200 });
    assert.deepEqual(Buffer.from(again.body), Buffer.from(one.body), `seed ${seed}`);
  }
});

test('damaged bodies are refused or merged alike in either order, and end soon', () => {
  const body = changed(new Random('damage'), start, 7);
  const random = new Random('damage');
  for (let round = 0; round < 3_000; round++) {
    const damaged = Uint8Array.from(body);
    for (let flips = random.between(1, 4); flips > 0; flips--)
      damaged[random.between(0, body.length)] = random.between(0, 256);
    const a = sideOf(versionAt('aws.2', 200), damaged);
    const b = sideOf(versionAt('gcp.1', 300), body);
    assert.deepEqual(merge(a, b, undefined), merge(b, a, undefined));
  }
});
