import assert from 'node:assert/strict';
import type { StoreFailureCode } from '../../model/failure.ts';
import { noMetadata } from '../../model/metadata.ts';
import type { Condition, ObjectStore } from '../../ports/object-store.ts';
import {
  assertAbsent,
  assertBody,
  assertFails,
  assertSameBytes,
  bodyAt,
  bodyOf,
  headToken,
  inLanes,
  text,
} from './observe.ts';
import { partSizeFor, sendInParts } from './parts.ts';
import { type Scratch, Skipped, type Subject, type Verb } from './subject.ts';

const largeBytes = 5 * 1024 * 1024 + 1;

export function failureTests(subject: Subject): void {
  refusalTests(subject);
  abortTests(subject);
  sickStoreTests(subject);
}

function write(scratch: Scratch, key: string, condition: Condition): Promise<unknown> {
  const request = { key, body: text('new'), metadata: noMetadata, condition };
  return scratch.store.write(request, scratch.signal);
}

function complete(scratch: Scratch, key: string, condition: Condition): Promise<unknown> {
  return sendInParts(scratch.store, { key, body: text('new'), condition, signal: scratch.signal });
}

type Act = (scratch: Scratch, key: string, condition: Condition) => Promise<unknown>;

/** For a verb that the store declares as `none`: it throws `unsupported` and changes nothing. */
function refusalTests(subject: Subject): void {
  const refused = (name: string, verb: Verb, kind: Condition['kind'], act: Act) =>
    subject.test(
      `${name} is refused as unsupported where the store cannot promise it`,
      [],
      async (scratch) => {
        if (scratch.assurance(verb) !== 'none')
          throw new Skipped(`the store declares ${verb}: ${scratch.assurance(verb)}`);
        if (kind === 'absent') {
          await assertFails(act(scratch, scratch.key('absent'), { kind }), 'unsupported');
          return assertAbsent(scratch, scratch.key('absent'));
        }
        const key = scratch.key('a');
        const token = await scratch.put(key, text('old'));
        const seen = await headToken(scratch, key);
        await assertFails(act(scratch, key, { kind, token }), 'unsupported');
        await assertBody(scratch, key, text('old'));
        assert.ok(scratch.store.sameWrite(seen, await headToken(scratch, key)));
      },
    );

  refused('create-only', 'create', 'absent', write);
  refused('compare-and-set', 'replace', 'match', write);
  refused('create-only completion', 'complete', 'absent', complete);
  refused('compare-and-set completion', 'complete', 'match', complete);
  refused('removal', 'remove', 'match', (scratch, key, condition) =>
    scratch.store.remove(key, condition.kind === 'match' ? condition.token : '', scratch.signal),
  );
}

async function drain(pages: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of pages);
}

/** Every verb once, with harmless arguments. */
function everyVerb(
  store: ObjectStore,
  key: string,
  token: string,
  signal: AbortSignal,
): Record<string, () => Promise<unknown>> {
  const upload = { id: 'none', key, size: 1, partSizeBytes: partSizeFor(store.limits), metadata: noMetadata };
  const condition = { kind: 'absent' } as const;
  const promised = (verb: Verb) => store.capabilities[verb] !== 'none';
  return {
    head: () => store.head(key, signal),
    read: () => store.read(key, {}, signal),
    list: () => drain(store.list({}, signal)),
    listUploads: () => drain(store.listUploads(signal)),
    startUpload: () => store.startUpload(upload, signal),
    ...(promised('create') && {
      write: () => store.write({ key, body: text('x'), metadata: noMetadata, condition }, signal),
    }),
    ...(promised('remove') && { remove: () => store.remove(key, token, signal) }),
  };
}

async function assertThrowsExactly(
  work: () => Promise<unknown>,
  reason: unknown,
  what: string,
): Promise<void> {
  let outcome: unknown = 'it resolved';
  try {
    await work();
  } catch (error) {
    outcome = error;
  }
  assert.equal(outcome, reason, `${what} must throw the reason of the signal`);
}

function abortTests(subject: Subject): void {
  subject.test('every verb throws the reason of a signal that is aborted already', [], async (scratch) => {
    const { store, prefix } = scratch;
    const key = scratch.key('a');
    const token = await scratch.put(key, text('x'));
    const reason = new Error('stopped by the test');
    const aborted = AbortSignal.abort(reason);
    for (const [verb, call] of Object.entries(everyVerb(store, key, token, aborted))) {
      await assertThrowsExactly(call, reason, verb);
    }
    if (scratch.assurance('complete') !== 'none') {
      const request = {
        key: `${prefix}part`,
        size: 1,
        partSizeBytes: partSizeFor(store.limits),
        metadata: noMetadata,
      };
      const upload = await store.startUpload(request, scratch.signal);
      const commit = { condition: { kind: 'absent' }, metadata: noMetadata } as const;
      await assertThrowsExactly(
        () => store.writePart(upload, { index: 0, bytes: text('x') }, aborted),
        reason,
        'writePart',
      );
      await assertThrowsExactly(
        () => store.completeUpload(upload, [], commit, aborted),
        reason,
        'completeUpload',
      );
      await assertThrowsExactly(() => store.abortUpload(upload, aborted), reason, 'abortUpload');
      await store.abortUpload(upload, scratch.signal);
    }
    await assertBody(scratch, key, text('x'));
  });

  subject.test('a large read stops when its signal aborts, and the store goes on', [], async (scratch) => {
    const key = scratch.key('large');
    const body = bodyOf('large', largeBytes);
    await scratch.put(key, body);
    await inLanes(20, 2, (i) => abortedRead(scratch, key, i % 2 === 0));
    assertSameBytes(await bodyAt(scratch, key), body);
  });

  subject.test('an aborted large write leaves the object absent or whole', ['create'], async (scratch) => {
    const body = bodyOf('large', largeBytes);
    for (let round = 0; round < 4; round++) {
      const key = scratch.key(`${round}`);
      await abortedWrite(scratch, key, body, round);
      const read = await scratch.store.read(key, {}, scratch.signal);
      if (read) assertSameBytes(await read.bytes(), body, 'what an aborted write left');
    }
  });

  subject.test('a listing stops between pages when its signal aborts', [], async (scratch) => {
    for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) await scratch.put(scratch.key(name), text('x'));
    const controller = new AbortController();
    const reason = new Error('stopped by the test');
    const list = async (): Promise<void> => {
      const pages = scratch.store.list({ prefix: scratch.prefix, pageSize: 1 }, controller.signal);
      for await (const _ of pages) controller.abort(reason);
    };
    await assertThrowsExactly(list, reason, 'list');
  });
}

async function abortedRead(scratch: Scratch, key: string, streaming: boolean): Promise<void> {
  const controller = new AbortController();
  const reason = new Error('stopped by the test');
  const read = await scratch.store.read(key, {}, controller.signal);
  assert.ok(read);
  const consume = async (): Promise<void> => {
    if (!streaming) {
      controller.abort(reason);
      await read.bytes();
      return;
    }
    for await (const _ of read.body) controller.abort(reason);
  };
  await assertThrowsExactly(consume, reason, streaming ? 'the stream of a body' : 'a body in memory');
}

/** Later in each round; whether it still takes effect is open, what it throws is not. */
async function abortedWrite(scratch: Scratch, key: string, body: Uint8Array, round: number): Promise<void> {
  const controller = new AbortController();
  const reason = new Error('stopped by the test');
  const request = { key, body, metadata: noMetadata, condition: { kind: 'absent' } } as const;
  const writing = scratch.store.write(request, controller.signal).then(
    () => undefined,
    (error: unknown) => assert.equal(error, reason, 'an aborted write must throw the reason of the signal'),
  );
  for (let turn = 0; turn < round * 3; turn++) await new Promise((resolve) => setImmediate(resolve));
  controller.abort(reason);
  await writing;
}

function sickStoreTests(subject: Subject): void {
  const failsWith = (
    name: string,
    code: StoreFailureCode,
    open: (scratch: Scratch) => Promise<ObjectStore> | undefined,
  ) =>
    subject.test(name, [], async (scratch) => {
      const opening = open(scratch);
      if (opening === undefined) throw new Skipped('the test of this driver opens no such store');
      const token = await scratch.put(scratch.key('a'), text('x'));
      const store = await opening;
      try {
        for (const [verb, call] of Object.entries(
          everyVerb(store, scratch.key('a'), token, scratch.signal),
        )) {
          await assertFails(call(), code).catch((error: Error) => assert.fail(`${verb}: ${error.message}`));
        }
      } finally {
        await store.close();
      }
    });

  failsWith('an absent bucket is misplaced, never empty', 'misplaced', (scratch) =>
    scratch.opened.onAbsentBucket?.(),
  );
  failsWith('wrong credentials are denied, never absent', 'denied', (scratch) =>
    scratch.opened.onWrongCredentials?.(),
  );
}
