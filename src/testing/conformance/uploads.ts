import assert from 'node:assert/strict';
import { noMetadata } from '../../model/metadata.ts';
import type { PartReceipt, Upload, UploadEntry } from '../../ports/object-store.ts';
import {
  assertAbsent,
  assertBody,
  assertConflict,
  assertFails,
  assertWritten,
  bodyOf,
  headToken,
  keysOf,
  text,
} from './observe.ts';
import { partCount, partOf, partSizeFor, sendInParts, sendParts } from './parts.ts';
import type { Scratch, Subject } from './subject.ts';

const onlyIfAbsent = { condition: { kind: 'absent' }, metadata: noMetadata } as const;

export function uploadTests(subject: Subject): void {
  boundaryTests(subject);
  visibilityTests(subject);
  conditionTests(subject);
  resumeTests(subject);
  abortTests(subject);
}

function begin(scratch: Scratch, key: string, size: number): Promise<Upload> {
  const partSizeBytes = partSizeFor(scratch.store.limits);
  return scratch.store.startUpload({ key, size, partSizeBytes, metadata: noMetadata }, scratch.signal);
}

/** Sends the parts of `order` all at once and answers all receipts by index. */
async function sendAtOnce(
  scratch: Scratch,
  upload: Upload,
  body: Uint8Array,
  order: readonly number[],
): Promise<PartReceipt[]> {
  const receipts: PartReceipt[] = [];
  const send = async (index: number): Promise<void> => {
    const part = { index, bytes: partOf(body, upload.partSizeBytes, index) };
    receipts[index] = await scratch.store.writePart(upload, part, scratch.signal);
  };
  await Promise.all(order.map(send));
  return receipts;
}

function boundaryTests(subject: Subject): void {
  for (const [name, offset] of [
    ['one byte less than two parts', -1],
    ['exactly two parts', 0],
    ['two parts and one byte', 1],
  ] as const) {
    subject.test(
      `an object of ${name}, sent backwards and in parallel, arrives whole`,
      ['complete'],
      async (scratch) => {
        const { store, signal } = scratch;
        const key = scratch.key('large');
        const partSize = partSizeFor(store.limits);
        const body = bodyOf(name, 2 * partSize + offset);
        const upload = await begin(scratch, key, body.length);
        const backwards = [...Array(partCount(body.length, partSize)).keys()].reverse();
        const receipts = await sendAtOnce(scratch, upload, body, backwards);
        const answer = await store.completeUpload(upload, receipts, onlyIfAbsent, signal);
        assertWritten(answer);
        await assertBody(scratch, key, body);
        const head = await store.head(key, signal);
        assert.equal(head?.size, body.length);
        assert.ok(store.sameWrite(answer.token, head.token));
      },
    );
  }

  subject.test('an object smaller than one part arrives whole', ['complete'], async (scratch) => {
    const key = scratch.key('small');
    assertWritten(
      await sendInParts(scratch.store, { key, body: text('x'), ...onlyIfAbsent, signal: scratch.signal }),
    );
    await assertBody(scratch, key, text('x'));
  });

  subject.test(
    'the store keeps its own copy of a part: the caller may use its buffer again',
    ['complete'],
    async (scratch) => {
      const { store, signal } = scratch;
      const key = scratch.key('a');
      const buffer = Buffer.from('before');
      const { upload, receipts } = await sendParts(store, { key, body: buffer, signal });
      buffer.fill('x');
      assertWritten(await store.completeUpload(upload, receipts, onlyIfAbsent, signal));
      await assertBody(scratch, key, text('before'));
    },
  );

  subject.test('a part sent twice counts once', ['complete'], async (scratch) => {
    const { store, signal } = scratch;
    const key = scratch.key('twice');
    const body = bodyOf('twice', partSizeFor(store.limits) + 100);
    const upload = await begin(scratch, key, body.length);
    const first = await sendAtOnce(scratch, upload, body, [0, 1]);
    const again = await sendAtOnce(scratch, upload, body, [1, 0]);
    const receipts = [again[0]!, first[1]!];
    assertWritten(await store.completeUpload(upload, receipts, onlyIfAbsent, signal));
    await assertBody(scratch, key, body);
  });
}

function visibilityTests(subject: Subject): void {
  subject.test('nothing is visible under the key before completion', ['complete'], async (scratch) => {
    const { store, signal } = scratch;
    const key = scratch.key('a');
    const { upload, receipts } = await sendParts(store, { key, body: text('new'), signal });
    await assertAbsent(scratch, key);
    assert.equal(await store.read(key, {}, signal), undefined);
    assert.deepEqual(await keysOf(scratch, { prefix: scratch.prefix }), []);
    assertWritten(await store.completeUpload(upload, receipts, onlyIfAbsent, signal));
    assert.deepEqual(await keysOf(scratch, { prefix: scratch.prefix }), [key]);
  });

  subject.test('the old object stands until completion', ['complete'], async (scratch) => {
    const { store, signal } = scratch;
    const key = scratch.key('a');
    await scratch.put(key, text('old'));
    const token = await headToken(scratch, key);
    const { upload, receipts } = await sendParts(store, { key, body: text('new'), signal });
    await assertBody(scratch, key, text('old'));
    assert.ok(store.sameWrite(token, await headToken(scratch, key)));
    const commit = { condition: { kind: 'match', token }, metadata: noMetadata } as const;
    assertWritten(await store.completeUpload(upload, receipts, commit, signal));
    await assertBody(scratch, key, text('new'));
  });
}

function conditionTests(subject: Subject): void {
  const complete = (scratch: Scratch, key: string, token: string | undefined) =>
    sendInParts(scratch.store, {
      key,
      body: text('late'),
      condition: token === undefined ? { kind: 'absent' } : { kind: 'match', token },
      signal: scratch.signal,
    });

  subject.test(
    'completion create-only over an object is a conflict and changes nothing',
    ['complete'],
    async (scratch) => {
      const key = scratch.key('a');
      await scratch.put(key, text('old'));
      assertConflict(await complete(scratch, key, undefined));
      await assertBody(scratch, key, text('old'));
    },
  );

  subject.test(
    'completion against a stale token is a conflict and changes nothing',
    ['complete'],
    async (scratch) => {
      const key = scratch.key('a');
      const stale = await scratch.put(key, text('then'));
      await scratch.replace(key, stale, text('now'));
      const token = await headToken(scratch, key);
      assertConflict(await complete(scratch, key, stale));
      await assertBody(scratch, key, text('now'));
      assert.ok(scratch.store.sameWrite(token, await headToken(scratch, key)));
    },
  );

  subject.test(
    'completion against an absent key by a token is a conflict and creates nothing',
    ['complete'],
    async (scratch) => {
      const token = await scratch.put(scratch.key('other'), text('x'));
      assertConflict(await complete(scratch, scratch.key('never'), token));
      await assertAbsent(scratch, scratch.key('never'));
    },
  );

  subject.test(
    'of 8 racing completions exactly one wins, and its body stands',
    ['complete'],
    async (scratch) => {
      const { store, signal } = scratch;
      const key = scratch.key('a');
      const sent = await Promise.all(
        Array.from({ length: 8 }, (_, i) => sendParts(store, { key, body: text(`racer ${i}`), signal })),
      );
      const answers = await Promise.allSettled(
        sent.map(({ upload, receipts }) => store.completeUpload(upload, receipts, onlyIfAbsent, signal)),
      );
      const winners = [...answers.entries()].filter(
        ([, a]) => a.status === 'fulfilled' && a.value.kind === 'written',
      );
      assert.equal(winners.length, 1, `${winners.length} racing completions were told that they won`);
      await assertBody(scratch, key, text(`racer ${winners[0]![0]}`));
      // A store that keeps uncommitted parts by key drops the losers' parts when the winner commits.
      const lost = answers.filter((a) => a.status === 'rejected').map((a) => a.reason as { code?: string });
      for (const reason of lost) assert.equal(reason.code, 'upload-lost', String(reason));
    },
  );
}

function resumeTests(subject: Subject): void {
  subject.test('another instance resumes an upload from JSON', ['complete'], async (scratch) => {
    const { store, other, signal } = scratch;
    const key = scratch.key('a');
    const body = bodyOf('resumed', 2 * partSizeFor(store.limits) + 10);
    const begun = await begin(scratch, key, body.length);
    const done = await sendAtOnce(scratch, begun, body, [0, 2]);
    const { upload, receipts } = JSON.parse(JSON.stringify({ upload: begun, receipts: done })) as {
      upload: Upload;
      receipts: PartReceipt[];
    };
    const bytes = partOf(body, upload.partSizeBytes, 1);
    receipts[1] = await other.writePart(upload, { index: 1, bytes }, signal);
    assertWritten(await other.completeUpload(upload, receipts, onlyIfAbsent, signal));
    await assertBody(scratch, key, body);
  });

  subject.test('two uploads of one key do not mix', ['complete'], async (scratch) => {
    const { store, signal } = scratch;
    const key = scratch.key('a');
    const size = partSizeFor(store.limits) + 5;
    const [mine, theirs] = [bodyOf('mine', size), bodyOf('theirs', size)];
    const [first, second] = [await begin(scratch, key, size), await begin(scratch, key, size)];
    assert.notEqual(first.id, second.id);
    const [ofFirst, ofSecond] = await Promise.all([
      sendAtOnce(scratch, first, mine, [1, 0]),
      sendAtOnce(scratch, second, theirs, [0, 1]),
    ]);
    assertWritten(await store.completeUpload(first, ofFirst, onlyIfAbsent, signal));
    await conflictOrLost(store.completeUpload(second, ofSecond, onlyIfAbsent, signal));
    await assertBody(scratch, key, mine);
  });

  subject.test('completing twice never harms the object', ['complete'], async (scratch) => {
    const { store, signal } = scratch;
    const key = scratch.key('a');
    const { upload, receipts } = await sendParts(store, { key, body: text('x'), signal });
    assertWritten(await store.completeUpload(upload, receipts, onlyIfAbsent, signal));
    // S3 answers a repeated completion as the first one; others know nothing of the upload any more.
    await conflictOrLost(store.completeUpload(upload, receipts, onlyIfAbsent, signal), 'written');
    await assertBody(scratch, key, text('x'));
  });
}

async function conflictOrLost(work: Promise<{ kind: string }>, ...alsoFine: string[]): Promise<void> {
  const kind = await work.then(
    (answer) => answer.kind,
    (error: { code?: string }) => error.code ?? String(error),
  );
  assert.ok(
    ['conflict', 'upload-lost', ...alsoFine].includes(kind),
    `expected conflict or upload-lost, got ${kind}`,
  );
}

async function openUploads(scratch: Scratch): Promise<UploadEntry[]> {
  const entries: UploadEntry[] = [];
  for await (const page of scratch.store.listUploads(scratch.signal)) entries.push(...page);
  return entries.filter((entry) => entry.upload.key.startsWith(scratch.prefix));
}

function abortTests(subject: Subject): void {
  subject.test(
    'an aborted upload is lost: its parts and its completion fail, a second abort is fine',
    ['complete'],
    async (scratch) => {
      const { store, signal } = scratch;
      const key = scratch.key('a');
      const { upload, receipts } = await sendParts(store, { key, body: text('x'), signal });
      await store.abortUpload({ id: upload.id, key }, signal);
      await store.abortUpload({ id: upload.id, key }, signal);
      await assertFails(store.writePart(upload, { index: 0, bytes: text('x') }, signal), 'upload-lost');
      await assertFails(store.completeUpload(upload, receipts, onlyIfAbsent, signal), 'upload-lost');
      await assertAbsent(scratch, key);
    },
  );

  subject.test('aborting a completed upload leaves its object', ['complete'], async (scratch) => {
    const { store, signal } = scratch;
    const key = scratch.key('a');
    const { upload, receipts } = await sendParts(store, { key, body: text('x'), signal });
    assertWritten(await store.completeUpload(upload, receipts, onlyIfAbsent, signal));
    await store.abortUpload(upload, signal);
    await assertBody(scratch, key, text('x'));
  });

  subject.test('aborting an upload leaves another one of the same key', ['complete'], async (scratch) => {
    const { store, signal } = scratch;
    const key = scratch.key('a');
    const doomed = await sendParts(store, { key, body: text('doomed'), signal });
    const kept = await sendParts(store, { key, body: text('kept'), signal });
    await store.abortUpload(doomed.upload, signal);
    assertWritten(await store.completeUpload(kept.upload, kept.receipts, onlyIfAbsent, signal));
    await assertBody(scratch, key, text('kept'));
  });

  subject.test(
    'listUploads names what was begun, and neither the completed nor the aborted',
    ['complete'],
    async (scratch) => {
      const { store, signal } = scratch;
      const open = await sendParts(store, { key: scratch.key('open'), body: text('x'), signal });
      const empty = await begin(scratch, scratch.key('begun & only'), 10);
      const aborted = await sendParts(store, { key: scratch.key('aborted'), body: text('x'), signal });
      await store.abortUpload(aborted.upload, signal);
      const done = await sendParts(store, { key: scratch.key('done'), body: text('x'), signal });
      assertWritten(await store.completeUpload(done.upload, done.receipts, onlyIfAbsent, signal));
      const listed = await openUploads(scratch);
      const names = (of: ReadonlyArray<{ id: string; key: string }>) =>
        of.map(({ id, key }) => `${key} ${id}`).sort();
      assert.deepEqual(names(listed.map((entry) => entry.upload)), names([open.upload, empty]));
      for (const entry of listed) assert.ok(entry.startedMs > 0);
      for (const entry of listed) await store.abortUpload(entry.upload, signal);
      assert.deepEqual(await openUploads(scratch), []);
    },
  );
}
