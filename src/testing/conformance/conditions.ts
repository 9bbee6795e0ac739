import assert from 'node:assert/strict';
import { StoreFailure } from '../../model/failure.ts';
import { noMetadata } from '../../model/metadata.ts';
import type { Condition, Conflict, Removed, Token, Written } from '../../ports/object-store.ts';
import {
  assertAbsent,
  assertBody,
  assertConflict,
  assertRemoved,
  assertWritten,
  bodyAt,
  bodyOf,
  headToken,
  listedToken,
  readOrFail,
  text,
} from './observe.ts';
import type { Scratch, Subject } from './subject.ts';

const racers = 16;
/** A store that is not atomic loses only now and then. */
const rounds = 4;

export function conditionTests(subject: Subject): void {
  createTests(subject);
  replaceTests(subject);
  removeTests(subject);
  raceTests(subject);
}

function write(
  scratch: Scratch,
  key: string,
  body: Uint8Array,
  condition: Condition,
): Promise<Written | Conflict> {
  return scratch.store.write({ key, body, metadata: noMetadata, condition }, scratch.signal);
}

/** A body and its token must stand as they were. */
async function assertUntouched(scratch: Scratch, key: string, body: Uint8Array, token: Token): Promise<void> {
  await assertBody(scratch, key, body);
  assert.ok(scratch.store.sameWrite(token, await headToken(scratch, key)), 'the token is the one before');
}

/** A token that once named a write of `key` and no longer does: what stands now is `text('now')`. */
async function staleToken(scratch: Scratch, key: string): Promise<Token> {
  const stale = await scratch.put(key, text('then'));
  await scratch.replace(key, stale, text('now'));
  return stale;
}

function createTests(subject: Subject): void {
  subject.test(
    'create-only over an object is a conflict and changes nothing',
    ['create'],
    async (scratch) => {
      const key = scratch.key('a');
      await scratch.put(key, text('first'), { user: { by: 'first' }, tags: {} });
      const token = await headToken(scratch, key);
      assertConflict(await write(scratch, key, text('second'), { kind: 'absent' }));
      assertConflict(await write(scratch, key, text('first'), { kind: 'absent' }));
      await assertUntouched(scratch, key, text('first'), token);
      assert.equal((await scratch.store.head(key, scratch.signal))?.metadata.user.by, 'first');
    },
  );

  subject.test('create-only over an empty object is a conflict too', ['create'], async (scratch) => {
    const key = scratch.key('a');
    await scratch.put(key, text(''));
    assertConflict(await write(scratch, key, text('second'), { kind: 'absent' }));
    await assertBody(scratch, key, text(''));
  });

  subject.test('a key can be created again after its removal', ['create', 'remove'], async (scratch) => {
    const key = scratch.key('a');
    const first = await scratch.put(key, text('first'));
    assertRemoved(await scratch.store.remove(key, first, scratch.signal));
    assertWritten(await write(scratch, key, text('second'), { kind: 'absent' }));
    await assertBody(scratch, key, text('second'));
    assert.ok(!scratch.store.sameWrite(first, await headToken(scratch, key)));
  });
}

function replaceTests(subject: Subject): void {
  subject.test(
    'compare-and-set takes the token of write, head, read and list',
    ['replace'],
    async (scratch) => {
      const key = scratch.key('a');
      const tokenFrom = {
        head: () => headToken(scratch, key),
        list: () => listedToken(scratch, key),
        read: async () => (await readOrFail(scratch, key, { range: { from: 0, to: 1 } })).head.token,
      };
      let token = await scratch.put(key, text('0'));
      for (const [i, next] of [tokenFrom.head, tokenFrom.list, tokenFrom.read, tokenFrom.head].entries()) {
        assertWritten(await write(scratch, key, text(`body ${i}`), { kind: 'match', token }));
        await assertBody(scratch, key, text(`body ${i}`));
        token = await next();
      }
    },
  );

  subject.test(
    'compare-and-set against a stale token is a conflict and changes nothing',
    ['replace'],
    async (scratch) => {
      const key = scratch.key('a');
      const stale = await staleToken(scratch, key);
      const token = await headToken(scratch, key);
      assertConflict(await write(scratch, key, text('late'), { kind: 'match', token: stale }));
      await assertUntouched(scratch, key, text('now'), token);
    },
  );

  subject.test(
    'compare-and-set against an absent key is a conflict and creates nothing',
    ['replace'],
    async (scratch) => {
      const never = scratch.key('never');
      const token = await scratch.put(scratch.key('other'), text('x'));
      assertConflict(await write(scratch, never, text('x'), { kind: 'match', token }));
      await assertAbsent(scratch, never);
    },
  );

  subject.test(
    'compare-and-set after a removal is a conflict and creates nothing',
    ['replace', 'remove'],
    async (scratch) => {
      const key = scratch.key('a');
      const token = await scratch.put(key, text('x'));
      assertRemoved(await scratch.store.remove(key, token, scratch.signal));
      assertConflict(await write(scratch, key, text('y'), { kind: 'match', token }));
      await assertAbsent(scratch, key);
    },
  );

  subject.test(
    'X, then Y, then X again: the first token is stale unless tokens are digests',
    ['replace'],
    async (scratch) => {
      const key = scratch.key('a');
      const first = await scratch.put(key, text('X'));
      const second = await scratch.replace(key, first, text('Y'));
      await scratch.replace(key, second, text('X'));
      const answer = await write(scratch, key, text('late'), { kind: 'match', token: first });
      assert.equal(answer.kind, scratch.store.capabilities.tokenIsContentDigest ? 'written' : 'conflict');
    },
  );
}

function removeTests(subject: Subject): void {
  subject.test('removal by the right token: the object is gone', ['remove'], async (scratch) => {
    const { store, signal } = scratch;
    for (const [name, tokenOf] of [['head', headToken] as const, ['list', listedToken] as const]) {
      const key = scratch.key(name);
      await scratch.put(key, text('x'));
      assertRemoved(await store.remove(key, await tokenOf(scratch, key), signal));
      await assertAbsent(scratch, key);
      assert.equal(await store.read(key, {}, signal), undefined);
    }
    const key = scratch.key('write');
    assertRemoved(await store.remove(key, await scratch.put(key, text('x')), signal));
    await assertAbsent(scratch, key);
    for await (const page of store.list({ prefix: scratch.prefix }, signal)) assert.deepEqual(page, []);
  });

  subject.test(
    'removal by a stale token is a conflict and the object still stands',
    ['remove'],
    async (scratch) => {
      const key = scratch.key('a');
      const stale = await staleToken(scratch, key);
      const token = await headToken(scratch, key);
      assertConflict(await scratch.store.remove(key, stale, scratch.signal));
      await assertUntouched(scratch, key, text('now'), token);
    },
  );

  subject.test('removal of an absent key is a conflict', ['remove'], async (scratch) => {
    const { store, signal } = scratch;
    const key = scratch.key('a');
    const token = await scratch.put(key, text('x'));
    assertConflict(await store.remove(scratch.key('never'), token, signal));
    assertRemoved(await store.remove(key, token, signal));
    assertConflict(await store.remove(key, token, signal));
  });

  subject.test('removal takes one key and no other that begins with it', ['remove'], async (scratch) => {
    const key = scratch.key('a');
    const token = await scratch.put(key, text('x'));
    await scratch.put(scratch.key('a.txt'), text('x'));
    await scratch.put(scratch.key('ab/c'), text('x'));
    assertRemoved(await scratch.store.remove(key, token, scratch.signal));
    await assertBody(scratch, scratch.key('a.txt'), text('x'));
    await assertBody(scratch, scratch.key('ab/c'), text('x'));
  });
}

type Answer = Written | Conflict | Removed;

/** Which of the racers won, with their answers. To be told to slow down is to have lost (GCS, one name). */
async function winnersOf(
  count: number,
  run: (i: number) => Promise<Answer>,
): Promise<Array<[number, Answer]>> {
  const answers = await Promise.all(Array.from({ length: count }, (_, i) => run(i).catch(lostByThrottling)));
  return [...answers.entries()].filter(([, answer]) => answer.kind !== 'conflict');
}

function lostByThrottling(error: unknown): Conflict {
  if (error instanceof StoreFailure && error.code === 'throttled') return { kind: 'conflict' };
  throw error;
}

/** Racing writers under one condition: exactly one wins, and its body stands whole. */
async function raceWriters(scratch: Scratch, key: string, condition: Condition): Promise<Token> {
  // Never a body that stood before: where tokens are digests, it would bring the old token back.
  const race = `${key} ${JSON.stringify(condition)}`;
  const bodies = Array.from({ length: racers }, (_, i) => bodyOf(`${race} racer ${i}`, 64 * 1024));
  const winners = await winnersOf(racers, (i) => {
    const store = i % 2 === 0 ? scratch.store : scratch.other;
    return store.write({ key, body: bodies[i]!, metadata: noMetadata, condition }, scratch.signal);
  });
  assert.equal(winners.length, 1, `${winners.length} of ${racers} racing writers were told that they won`);
  const [winner, answer] = winners[0]!;
  await assertBody(scratch, key, bodies[winner]!);
  assertWritten(answer);
  assert.ok(scratch.store.sameWrite(answer.token, await headToken(scratch, key)));
  return answer.token;
}

function raceTests(subject: Subject): void {
  subject.test(
    `create-only: of ${racers} racing writers exactly one wins, and its body stands`,
    ['create'],
    async (scratch) => {
      for (let round = 0; round < rounds; round++) {
        await raceWriters(scratch, scratch.key(`round ${round}`), { kind: 'absent' });
      }
    },
  );

  subject.test(
    `compare-and-set: of ${racers} racing writers exactly one wins, and its body stands`,
    ['replace'],
    async (scratch) => {
      const key = scratch.key('a');
      let token = await scratch.put(key, text('start'));
      for (let round = 0; round < rounds; round++) {
        token = await raceWriters(scratch, key, { kind: 'match', token });
      }
    },
  );

  subject.test('of racing removals by one token exactly one wins', ['remove'], async (scratch) => {
    for (let round = 0; round < rounds; round++) {
      const key = scratch.key(`round ${round}`);
      const token = await scratch.put(key, text('x'));
      const winners = await winnersOf(racers, (i) =>
        (i % 2 === 0 ? scratch.store : scratch.other).remove(key, token, scratch.signal),
      );
      assert.equal(winners.length, 1, `${winners.length} racing removals were told that they won`);
      await assertAbsent(scratch, key);
    }
  });

  subject.test(
    'of a removal and an overwrite by one token exactly one wins',
    ['remove', 'replace'],
    async (scratch) => {
      for (let round = 0; round < 2 * rounds; round++) {
        const key = scratch.key(`round ${round}`);
        const token = await scratch.put(key, text('old'));
        const writeFirst = round % 2 === 0;
        const winners = await winnersOf(2, (i) =>
          (i === 0) === writeFirst
            ? write(scratch, key, text('new'), { kind: 'match', token })
            : scratch.other.remove(key, token, scratch.signal),
        );
        assert.equal(winners.length, 1, 'both or neither were told that they won');
        if (winners[0]![1].kind === 'removed') await assertAbsent(scratch, key);
        else assert.equal((await bodyAt(scratch, key)).toString(), 'new');
      }
    },
  );
}
