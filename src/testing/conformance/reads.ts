import assert from 'node:assert/strict';
import type { ByteRange } from '../../ports/object-store.ts';
import {
  assertBody,
  assertDigests,
  assertFails,
  assertSameBytes,
  bodyAt,
  bodyOf,
  headToken,
  inLanes,
  readOrFail,
  streamed,
  text,
} from './observe.ts';
import type { Subject } from './subject.ts';

const size = 1_000;

const ranges: ReadonlyArray<readonly [string, ByteRange]> = [
  ['inside', { from: 100, to: 300 }],
  ['to the end', { from: 900, to: size }],
  ['whose end lies beyond the end', { from: 900, to: size + 500 }],
  ['of one byte', { from: 500, to: 501 }],
  ['of the last byte', { from: size - 1, to: size }],
  ['from 0', { from: 0, to: 10 }],
  ['of everything', { from: 0, to: size }],
  ['of no bytes', { from: 10, to: 10 }],
  ['that begins at the end', { from: size, to: size + 10 }],
];

export function readTests(subject: Subject): void {
  absenceTests(subject);
  rangeTests(subject);
  tokenTests(subject);
  restartTests(subject);
}

function absenceTests(subject: Subject): void {
  subject.test('head and read of an absent key answer undefined', [], async (scratch) => {
    const { store, signal } = scratch;
    const key = scratch.key('absent');
    assert.equal(await store.head(key, signal), undefined);
    assert.equal(await store.read(key, {}, signal), undefined);
    assert.equal(await store.read(key, { range: { from: 0, to: 1 } }, signal), undefined);
  });

  subject.test('read of an absent key by a token answers undefined', ['remove'], async (scratch) => {
    const { store, signal } = scratch;
    const key = scratch.key('gone');
    await scratch.put(key, text('x'));
    const token = await headToken(scratch, key);
    await store.remove(key, token, signal);
    assert.equal(await store.read(key, { token }, signal), undefined);
  });

  subject.test('head and read agree on size, token, time and digests', [], async (scratch) => {
    const { store, signal } = scratch;
    const key = scratch.key('a');
    const body = bodyOf('a', size);
    await scratch.put(key, body);
    const head = await store.head(key, signal);
    const read = await readOrFail(scratch, key);
    await read.bytes();
    assert.ok(head);
    for (const seen of [head, read.head]) {
      assert.equal(seen.key, key);
      assert.equal(seen.size, size);
      assert.ok(seen.lastModifiedMs > 0, 'a time of last modification');
      assertDigests(seen.digests, body);
    }
    assert.ok(store.sameWrite(head.token, read.head.token));
    assert.ok(Math.abs(head.lastModifiedMs - read.head.lastModifiedMs) < 1_000);
  });
}

function rangeTests(subject: Subject): void {
  for (const [name, range] of ranges) {
    subject.test(`a range ${name}, streamed and in memory`, [], async (scratch) => {
      const key = scratch.key('a');
      const body = bodyOf('ranges', size);
      await scratch.put(key, body);
      const expected = body.subarray(range.from, range.to);
      const read = await readOrFail(scratch, key, { range });
      assert.equal(read.head.size, size, 'the head is of the whole object');
      assertSameBytes(await streamed(read), expected, 'the streamed range');
      assertSameBytes(await bodyAt(scratch, key, { range }), expected, 'the range in memory');
    });
  }

  subject.test('any range of an empty object is empty', [], async (scratch) => {
    const key = scratch.key('empty');
    await scratch.put(key, text(''));
    for (const range of [
      { from: 0, to: 0 },
      { from: 0, to: 10 },
      { from: 5, to: 10 },
    ]) {
      const read = await readOrFail(scratch, key, { range });
      assert.equal(read.head.size, 0);
      assert.equal((await streamed(read)).length, 0);
      assert.equal((await bodyAt(scratch, key, { range })).length, 0);
    }
  });
}

function tokenTests(subject: Subject): void {
  subject.test('a read by the right token gives the body, ranges too', [], async (scratch) => {
    const key = scratch.key('a');
    const body = bodyOf('a', size);
    const written = await scratch.put(key, body);
    for (const token of [written, await headToken(scratch, key)]) {
      assertSameBytes(await bodyAt(scratch, key, { token }), body);
      const range = { from: 10, to: 20 };
      assertSameBytes(await bodyAt(scratch, key, { token, range }), body.subarray(10, 20));
    }
  });

  subject.test('a read by a stale token fails as changed, ranges too', [], async (scratch) => {
    const key = scratch.key('a');
    const written = await scratch.put(key, text('old'));
    const seen = await headToken(scratch, key);
    await scratch.replace(key, written, text('new'));
    for (const token of [written, seen]) {
      await assertFails(bodyAt(scratch, key, { token }), 'changed');
      await assertFails(bodyAt(scratch, key, { token, range: { from: 1, to: 2 } }), 'changed');
      await assertFails(bodyAt(scratch, key, { token, range: { from: 0, to: 0 } }), 'changed');
    }
    await assertBody(scratch, key, text('new'));
  });

  subject.test(
    'a reader beside writers sees one write whole: head, metadata and body',
    ['replace'],
    async (scratch) => {
      const { store, signal } = scratch;
      const key = scratch.key('a');
      const bodies = Array.from({ length: 12 }, (_, i) => bodyOf(`whole ${i}`, 200_000 + i));
      const metadataOf = (i: number) => ({ user: { n: String(i) }, tags: {} });
      let token = await scratch.put(key, bodies[0]!, metadataOf(0));
      let writing = true;
      const write = async (): Promise<void> => {
        for (let i = 1; i < bodies.length; i++)
          token = await scratch.replace(key, token, bodies[i]!, metadataOf(i));
        writing = false;
      };
      const read = async (): Promise<void> => {
        while (writing) {
          const read = await store.read(key, {}, signal);
          assert.ok(read, 'an overwrite never makes the key absent');
          const bytes = await read.bytes();
          assertSameBytes(bytes, bodies[Number(read.head.metadata.user.n)]!, 'the body under its metadata');
          assert.equal(read.head.size, bytes.length);
        }
      };
      await Promise.all([write(), read(), read()]);
    },
  );
}

function restartTests(subject: Subject): void {
  subject.test('a body can be read again from byte zero', [], async (scratch) => {
    const key = scratch.key('a');
    const body = bodyOf('again', 300_000);
    await scratch.put(key, body);
    assertSameBytes(await streamed(await readOrFail(scratch, key)), body, 'the first reading');
    assertSameBytes(await streamed(await readOrFail(scratch, key)), body, 'the second reading');
  });

  subject.test('200 bodies left after their first piece leak no connection', [], async (scratch) => {
    const key = scratch.key('a');
    const body = bodyOf('cancelled', 300_000);
    await scratch.put(key, body);
    await inLanes(200, 4, async () => {
      const read = await readOrFail(scratch, key);
      for await (const piece of read.body) {
        assertSameBytes(piece, body.subarray(0, piece.length), 'the first piece');
        break;
      }
    });
    await assertBody(scratch, key, body);
  });
}
