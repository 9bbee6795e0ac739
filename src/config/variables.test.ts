// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is the syntax under test
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closest, snippetOf } from './problems.ts';
import { substitute } from './variables.ts';

test('inherited names are no variables', () => {
  assert.equal(substitute('${toString}', {}).problems.length, 1);
});

test('a default may hold colons and quotes, and nothing is substituted twice', () => {
  assert.equal(substitute('${A:-x:"y"}', {}).text, 'x:"y"');
  assert.equal(substitute('${A}${B:-}', { A: '${B}$$' }).text, '${B}$$');
});

test('all problems of a text are found, with their places', () => {
  const { problems } = substitute('${A} ${} ${B', {});
  assert.deepEqual(
    problems.map((one) => one.at),
    [0, 5, 9],
  );
});

test('suggestions: a swap, a gap, a doubled letter; never something far away', () => {
  const fields = ['bucket', 'region', 'prefix', 'pathStyle'];
  assert.equal(closest('bukcet', fields), 'bucket');
  assert.equal(closest('buckets', fields), 'bucket');
  assert.equal(closest('pathstyle', fields), 'pathStyle');
  assert.equal(closest('colour', fields), undefined);
});

test('a long line is cut around the caret, which still points at the place', () => {
  const line = `${'x '.repeat(200)}HERE${' y'.repeat(200)}`;
  const [shown, caret] = snippetOf(line, 7, 401).split('\n');
  assert.ok(shown!.length < 120);
  assert.equal(shown!.slice(caret!.indexOf('^')).slice(0, 4), 'HERE');
});
