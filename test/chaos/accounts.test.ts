import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Asked, accountFor } from './accounts.ts';
import type { Act, Actor } from './recorder.ts';

/** `aws native old>new`: what stood there, and what stands there now; nothing: `-`. */
function acts(...lines: readonly string[]): Act[] {
  const none = (id: string) => (id === '-' ? undefined : id);
  return lines.map((line, atMs) => {
    const [site = '', actor = '', before = '', after = ''] = line.split(/[ >]/);
    return { atMs, site, key: 'k', actor: actor as Actor, replaced: none(before), body: none(after) };
  });
}

function accounts(lines: readonly string[], current: string | undefined, ...kept: readonly string[]) {
  const now = new Map(current === undefined ? [] : [['k', current]]);
  return accountFor({ acts: acts(...lines), asked: [], current: now, kept: new Set(kept) });
}

test('a body that arrived everywhere is current', () => {
  const found = accounts(['aws native ->a', 'gcp worker ->a'], 'a');
  assert.deepEqual(found, { current: 1, kept: 0, overwritten: 0, addressed: 0, lost: [], overtaken: [] });
});

test('what somebody wrote over or deleted where it stood is overwritten, wherever that was', () => {
  const found = accounts(
    [
      'aws native ->a',
      'gcp worker ->a',
      'gcp user a>b',
      'aws worker a>b',
      'aws native b>-',
      'gcp worker b>-',
    ],
    undefined,
  );
  assert.deepEqual(found, { current: 0, kept: 0, overwritten: 2, addressed: 0, lost: [], overtaken: [] });
});

test('a loser is accounted for while it is kept, and lost when it is not', () => {
  const concurrent = ['aws native ->a', 'gcp native ->b', 'aws worker a>b'];
  assert.deepEqual(accounts(concurrent, 'b', 'a').lost, []);
  assert.equal(accounts(concurrent, 'b', 'a').kept, 1);
  assert.deepEqual(accounts(concurrent, 'b').lost, ['a']);
});

test('what Isobar removed although nobody deleted it is lost', () => {
  assert.deepEqual(accounts(['aws native ->a', 'gcp worker ->a', 'aws worker a>-'], undefined).lost, ['a']);
});

test('a winner that somebody had written over is told', () => {
  const found = accounts(['aws native ->a', 'gcp worker ->a', 'gcp native a>b', 'gcp worker b>a'], 'a', 'b');
  assert.deepEqual(found.overtaken, ['a']);
  assert.deepEqual(found.lost, []);
});

test('a write that got no answer at one site and took effect at another was written over both', () => {
  const history = acts('aws native ->a', 'gcp user ->b', 'aws worker a>b');
  const asked: Asked = { id: 'b', key: 'k', isRemoval: false, fromMs: 1, toMs: 1, unanswered: ['aws'] };
  const outcome = { acts: history, current: new Map([['k', 'b']]), kept: new Set<string>() };
  assert.equal(accountFor({ ...outcome, asked: [asked] }).addressed, 1);
  assert.deepEqual(accountFor({ ...outcome, asked: [{ ...asked, unanswered: ['azure'] }] }).lost, ['a']);
  assert.deepEqual(accountFor({ ...outcome, asked: [{ ...asked, id: 'c' }] }).lost, ['a']);
});
