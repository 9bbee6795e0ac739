import assert from 'node:assert/strict';
import { test } from 'node:test';
import { matcherOf, patternProblem } from './pattern.ts';

const cases: readonly [pattern: string, matches: readonly string[], misses: readonly string[]][] = [
  [
    'eu/**',
    ['eu/', 'eu/a', 'eu/a/b', 'eu/.hidden', 'eu//x', 'eu/a\nb'],
    ['eu', 'EU/a', 'xeu/a', '/eu/a', 'e/u'],
  ],
  ['eu/*', ['eu/a', 'eu/'], ['eu/a/b', 'eu']],
  ['**/*.json', ['a.json', 'x/y/.json', 'x/a.json'], ['a.jsonx', 'a-json', 'x/ajson']],
  ['**', ['', 'a', 'a/b', '.isobar'], []],
  ['a**b', ['ab', 'axb', 'a/x/b'], ['a/x/bc']],
  ['x/**/y', ['x/y', 'x/a/y', 'x/a/b/y'], ['xy', 'x/ay', 'x/y/']],
  ['?/{de,fr}-*', ['a/de-1', 'é/fr-', '😀/de-x'], ['a/en-1', '//de-1', 'ab/de-1', 'a/de']],
  ['\\*\\{a,b\\}', ['*{a,b}'], ['x{a,b}', '*a']],
  ['a.b+c(d)[e]^$|', ['a.b+c(d)[e]^$|'], ['aXb+c(d)[e]^$|', 'a.bbc(d)e^$|']],
  ['a,b', ['a,b'], ['a', 'b']],
];

test('a pattern matches whole keys, and nothing that nearly does', () => {
  for (const [pattern, matches, misses] of cases) {
    const holds = matcherOf(pattern);
    for (const key of matches) assert.ok(holds(key), `${pattern} matches ${JSON.stringify(key)}`);
    for (const key of misses) assert.ok(!holds(key), `${pattern} does not match ${JSON.stringify(key)}`);
  }
});

test('what cannot be meant is said', () => {
  assert.equal(patternProblem('a/{b,c}/**'), undefined);
  for (const bad of ['', 'a{b', 'a}b', '{a{b}}', 'a\\']) {
    assert.ok(patternProblem(bad), bad);
    assert.throws(() => matcherOf(bad));
  }
});
