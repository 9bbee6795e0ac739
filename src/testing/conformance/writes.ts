import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { noMetadata } from '../../model/metadata.ts';
import {
  assertBody,
  assertDigests,
  assertFails,
  assertSameBytes,
  assertWritten,
  bodyOf,
  headToken,
  listedToken,
  readOrFail,
  streamed,
  text,
} from './observe.ts';
import type { Scratch, Subject } from './subject.ts';

const sizes: ReadonlyArray<readonly [string, number]> = [
  ['empty', 0],
  ['one byte', 1],
  ['5 MiB and one byte', 5 * 1024 * 1024 + 1],
];

export function writeTests(subject: Subject): void {
  sizeTests(subject);
  tokenTests(subject);
  overwriteTests(subject);
}

function sizeTests(subject: Subject): void {
  for (const [name, size] of sizes) {
    subject.test(`a body of ${name} arrives as it is`, ['create'], async (scratch) => {
      const { store, signal } = scratch;
      const key = scratch.key('a');
      const body = bodyOf(name, size);
      const sha256 = createHash('sha256').update(body).digest('hex');
      const answer = await store.write(
        { key, body, metadata: noMetadata, condition: { kind: 'absent' }, sha256 },
        signal,
      );
      assertWritten(answer);
      if (size < 10_000) assertDigests(answer.digests, body);
      const read = await readOrFail(scratch, key);
      assert.equal(read.head.size, size);
      assertSameBytes(await streamed(read), body, 'the streamed body');
      await assertBody(scratch, key, body);
    });
  }

  subject.test(
    'the store keeps its own copy: the caller may use its buffer again',
    ['create'],
    async (scratch) => {
      const key = scratch.key('a');
      const body = Buffer.from('before');
      await scratch.put(key, body);
      body.fill('x');
      await assertBody(scratch, key, text('before'));
      (await (await readOrFail(scratch, key)).bytes()).fill(0);
      for await (const piece of (await readOrFail(scratch, key)).body) piece.fill(0);
      await assertBody(scratch, key, text('before'));
    },
  );

  subject.test('a view into a larger buffer is sent as the view alone', [], async (scratch) => {
    const key = scratch.key('a');
    const large = bodyOf('large', 100_000);
    await scratch.put(key, large.subarray(1_000, 2_000));
    await assertBody(scratch, key, bodyOf('large', 100_000).subarray(1_000, 2_000));
  });

  subject.test('what one instance wrote, another reads at once', [], async (scratch) => {
    const key = scratch.key('a');
    await scratch.put(key, text('shared'));
    const read = await scratch.other.read(key, {}, scratch.signal);
    assert.ok(read);
    assertSameBytes(await read.bytes(), text('shared'));
  });
}

/** The tokens that head, read and list tell for `key`. */
async function seenTokens(scratch: Scratch, key: string): Promise<Record<string, string>> {
  const read = await readOrFail(scratch, key);
  await read.bytes();
  return {
    head: await headToken(scratch, key),
    read: read.head.token,
    list: await listedToken(scratch, key),
  };
}

function tokenTests(subject: Subject): void {
  subject.test('write, head, read and list name the same write', [], async (scratch) => {
    const { store } = scratch;
    const key = scratch.key('a');
    const written = await scratch.put(key, text('x'));
    const seen = await seenTokens(scratch, key);
    for (const [from, recorded] of Object.entries({ ...seen, write: written })) {
      for (const [by, token] of Object.entries(seen)) {
        assert.ok(store.sameWrite(recorded, token), `the token of ${from} and the one seen by ${by}`);
        assert.ok(scratch.other.sameWrite(recorded, token), 'as another instance sees it');
      }
    }
  });

  subject.test('tokens survive as text: JSON and back', [], async (scratch) => {
    const key = scratch.key('a');
    const token = JSON.parse(JSON.stringify(await scratch.put(key, text('x'))));
    assert.equal(typeof token, 'string');
    await scratch.replace(key, token, text('y'));
    await assertBody(scratch, key, text('y'));
  });
}

function overwriteTests(subject: Subject): void {
  const changed = { user: { colour: 'green' }, tags: {} };
  const overwrites = [
    ['another body', text('another'), noMetadata],
    ['an equal body', text('x'), noMetadata],
    ['an equal body and other metadata', text('x'), changed],
  ] as const;

  for (const [name, body, metadata] of overwrites) {
    subject.test(`an overwrite with ${name} is seen as another write`, [], async (scratch) => {
      const { store } = scratch;
      const key = scratch.key('a');
      const written = await scratch.put(key, text('x'));
      const before = await seenTokens(scratch, key);
      // The answer to a write may tell less than what is seen later (S3: no time), and cannot count here.
      const recorded = store.capabilities.tokenIsContentDigest ? before : { ...before, write: written };
      await scratch.letTimePass();
      await scratch.replace(key, written, body, metadata);
      const after = await seenTokens(scratch, key);
      for (const [from, token] of Object.entries(recorded)) {
        for (const [by, seen] of Object.entries(after)) {
          assert.ok(!store.sameWrite(token, seen), `the old token of ${from} and the new one seen by ${by}`);
        }
        await assertFails(readOrFail(scratch, key, { token }), 'changed');
      }
    });
  }

  subject.test('an overwrite leaves nothing of the old body and metadata', [], async (scratch) => {
    const key = scratch.key('a');
    const old = {
      contentType: 'text/plain',
      cacheControl: 'no-store',
      user: { old: '1' },
      tags: { old: '1' },
    };
    const token = await scratch.put(key, bodyOf('long', 5_000), old);
    await scratch.replace(key, token, text('short'), { user: { new: '2' }, tags: {} });
    const read = await readOrFail(scratch, key);
    assertSameBytes(await read.bytes(), text('short'));
    assert.deepEqual({ ...read.head.metadata.user }, { new: '2' });
    assert.deepEqual({ ...read.head.metadata.tags }, {});
    assert.equal(read.head.metadata.cacheControl, undefined);
    assert.equal(read.head.metadata.contentType, undefined);
  });
}
