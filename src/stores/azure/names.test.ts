import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StoreFailure } from '../../model/failure.ts';
import { checkName, encodePath, nameProblem } from './names.ts';

test('names that Azure holds as they are', () => {
  for (const name of [
    'a',
    'a/b',
    '/a',
    'a/',
    'a//b',
    '.a',
    '...a/b',
    ' a ',
    'a%2Fb',
    '\u{1F600}',
    '\uFFFF',
    'é',
  ]) {
    assert.equal(nameProblem(name), undefined, name);
  }
  assert.equal(nameProblem('x'.repeat(1024)), undefined);
  assert.equal(nameProblem('x/'.repeat(253)), undefined);
});

test('names that it would alter or refuse', () => {
  for (const [name, why] of [
    ['a\\b', /slash/],
    ['a.', /dot/],
    ['a./b', /dot/],
    ['.', /dot/],
    ['a/../b', /dot/],
    ['a\nb', /U\+000A/],
    ['a\u0081', /U\+0081/],
    ['\uD800', /surrogate/],
    ['x'.repeat(1025), /1024/],
    ['x/'.repeat(254), /254/],
  ] as const) {
    assert.match(nameProblem(name) ?? '', why, JSON.stringify(name));
  }
  assert.throws(
    () => checkName('a.', 'team/a.'),
    (error) => error instanceof StoreFailure && error.code === 'invalid' && error.message.includes('"a."'),
  );
});

test('a path is sent so that nothing on the way can read it otherwise', () => {
  assert.equal(
    encodePath("a b/%2F?#+'()*!~é\u{1F600}"),
    'a%20b/%252F%3F%23%2B%27%28%29%2A%21~%C3%A9%F0%9F%98%80',
  );
});
