import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Random } from '../testing/simulation/random.ts';
import { decodeHead, encodeHead, type Head, removal, type Versioned } from './head.ts';
import { fateOf, judge } from './judge.ts';
import { accept, type Move, nothing, prepare, store } from './moves.ts';
import { compareBallots, compareTags, encodeTag, nextStep, parseTag, putTag, type Tag } from './tag.ts';

const key = 'k';
const put = (counter: number, by = 'op'): Versioned => ({ tag: putTag(counter, 'w', by), value: removal });
const ballot = (round: number, by = 'op') => ({ round, by });

function after(move: Move): Head {
  assert.equal(move.kind, 'to');
  return (move as Extract<Move, { kind: 'to' }>).head;
}

test('a read-modify-write comes right behind what it read, and before every later put', () => {
  const base = put(3).tag;
  const [mine, other] = [nextStep(base, 'a'), nextStep(base, 'b')];
  assert.ok(compareTags(base, mine) < 0 && compareTags(mine, put(4).tag) < 0);
  assert.equal(compareTags(mine, other), 0);
  assert.ok(compareTags(mine, nextStep(mine, 'b')) < 0);
  for (const tag of [base, mine, nothing.tag]) assert.deepEqual(parseTag(encodeTag(tag)), tag);
  for (const text of ['', '"etag"', '1.w', '1.w.op.2', '1.w.op/../x'])
    assert.equal(parseTag(text), undefined);
});

test('a head comes back from its bytes, and anything else is refused', () => {
  const inline = new Uint8Array(Buffer.from('body'));
  const digest = '230d8358dc8e8890b4c58deeb62912ee2f20357ae92a5cc861b98e68fe31acb5';
  const value = {
    deleted: false,
    size: 4,
    digest,
    metadata: { user: { a: 'b' }, tags: {} },
    inline,
  } as const;
  const first = after(store(key, undefined, { tag: put(1).tag, value }));
  const second = after(
    accept(key, first, first, { tag: nextStep(first.tag, 'a'), value, ballot: ballot(1) }),
  );
  for (const head of [first, second, after(store(key, second, put(2)))]) {
    assert.deepEqual(decodeHead(key, encodeHead(head)), head);
    assert.throws(() => decodeHead('other', encodeHead(head)), { code: 'invalid' });
  }
  const newer = Buffer.from(encodeHead(first)).toString().replace('"format":1', '"format":2');
  assert.throws(() => decodeHead(key, Buffer.from(newer)), { code: 'invalid' });
  const damaged = Buffer.from(encodeHead(first)).toString().replace('Ym9keQ', 'Ym9keA');
  assert.throws(() => decodeHead(key, Buffer.from(damaged)), { code: 'corrupt' });
});

test('whatever arrives in whatever order, a head only grows, and its content never comes back', () => {
  const random = new Random('moves');
  for (let round = 0; round < 300; round++) {
    let head: Head | undefined;
    const seen = new Set<string>();
    for (let i = 0; i < 40; i++) {
      const base = put(random.between(1, 4), `p${random.between(0, 2)}`);
      const by = `o${random.between(0, 3)}`;
      const at = ballot(random.between(1, 5), by);
      const move = random.pick([
        () => store(key, head, base),
        () => prepare(key, head, base, at),
        () => accept(key, head, base, { tag: nextStep(base.tag, by), value: removal, ballot: at }),
      ])();
      if (move.kind === 'stay') continue;
      const text = Buffer.from(encodeHead(move.head)).toString();
      assert.ok(!seen.has(text), text);
      seen.add(text);
      if (head) assert.ok(grows(head, move.head), text);
      head = move.head;
    }
  }
});

function grows(before: Head, now: Head): boolean {
  const order = compareTags(now.tag, before.tag);
  if (order !== 0) return order > 0;
  const promised = compareBallots(now.promised, before.promised);
  const accepted = compareBallots(now.accepted?.ballot, before.accepted?.ballot);
  return promised >= 0 && accepted >= 0 && promised + accepted > 0;
}

describe('of three sites', () => {
  const base = put(2);
  const at = after(store(key, undefined, base));
  const tag = nextStep(base.tag, 'mine');
  const accepted = (round: number, by = 'mine') =>
    after(accept(key, at, base, { tag: nextStep(base.tag, by), value: removal, ballot: ballot(round, by) }));
  const judged = (...heads: (Head | undefined)[]) =>
    judge(new Map(heads.map((head, i) => [`s${i}`, head])), 3).kind;

  test('what was accepted by two at one ballot was chosen, at two ballots perhaps', () => {
    assert.equal(judged(at, at), 'decided');
    assert.equal(judged(accepted(1), accepted(1)), 'decided');
    assert.equal(judged(accepted(1), accepted(2)), 'undecided');
    assert.equal(judged(at, accepted(1)), 'undecided');
    assert.equal(judged(at, at, accepted(1)), 'decided');
    assert.equal(judged(at, undefined), 'behind');
    assert.equal(judged(undefined, undefined), 'decided');
  });

  test('a proposal that was passed over learns what became of it, where that can be known', () => {
    const passed = (head: Head | undefined) => after(store(key, head, put(3)));
    const fate = (...heads: (Head | undefined)[]) =>
      fateOf(tag, base.tag, new Map(heads.map((head, i) => [`s${i}`, head])), 3);
    assert.equal(fate(at, accepted(1)), 'open');
    assert.equal(fate(passed(at), passed(at), accepted(1)), 'dead');
    assert.equal(fate(passed(undefined), passed(at)), 'dead');
    assert.equal(fate(passed(accepted(1)), accepted(1)), 'chosen');
    assert.equal(fate(passed(accepted(1)), passed(at)), 'unclear');
    assert.equal(fate(passed(accepted(1)), passed(accepted(2))), 'unclear');
    assert.equal(fate(passed(accepted(2, 'other')), passed(at)), 'dead');
    const stepped = (step: Tag) => after(store(key, at, { tag: step, value: removal }));
    assert.equal(fate(stepped(tag)), 'chosen');
    assert.equal(fate(stepped(nextStep(base.tag, 'other'))), 'dead');
    assert.equal(fate(passed(stepped(tag))), 'chosen');
  });
});
