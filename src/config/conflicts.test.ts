import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Conflicts } from '../model/policy.ts';
import { parseConfig, toPolicy } from './load.ts';
import { ConfigFailure, type Problem } from './problems.ts';
import { fileShape } from './show.ts';

const file = '/somewhere/isobar.yaml';
const two = 'sites:\n  a: { kind: filesystem, path: a }\n  b: { kind: filesystem, path: b }\n';
const withRule = (text: string) => `${two}datasets:\n  d:\n    sites: [a, b]\n    conflicts: ${text}\n`;

function rulesOf(text: string): Conflicts {
  return toPolicy(parseConfig(withRule(text), file, {}), 'd').conflicts;
}

function problems(text: string): readonly Problem[] {
  try {
    parseConfig(withRule(text), file, {});
  } catch (error) {
    if (error instanceof ConfigFailure) return error.problems;
    throw error;
  }
  return [];
}

test('one rule for all, or the first of a list', () => {
  for (const word of ['last-writer-wins', 'keep-both', 'merge-json'] as const)
    assert.equal(rulesOf(word), word);
  assert.deepEqual(rulesOf('{ prefer: b }'), { prefer: 'b' });
  assert.deepEqual(rulesOf('{ crdt: yjs }'), { crdt: 'yjs' });
  assert.deepEqual(
    rulesOf(
      '[{ match: "**/*.json", rule: merge-json }, { match: "c/**", rule: { crdt: { "/n": counter } } }]',
    ),
    [
      { match: '**/*.json', rule: 'merge-json' },
      { match: 'c/**', rule: { crdt: { '/n': 'counter' } } },
    ],
  );
  assert.deepEqual(rulesOf('{ hook: { url: "http://127.0.0.1:8080/merge" } }'), {
    hook: { url: 'http://127.0.0.1:8080/merge', timeoutMs: 10_000 },
  });
  assert.deepEqual(rulesOf('[{ match: "**", rule: { hook: { module: ./m.js, timeout: 2s } } }]'), [
    { match: '**', rule: { hook: { module: join('/somewhere', 'm.js'), timeoutMs: 2_000 } } },
  ]);
});

test('what is shown means the same', () => {
  const text =
    '[{ match: "x", rule: { hook: { module: m.js, timeout: 90s } } }, { match: "**", rule: { prefer: a } }]';
  const config = parseConfig(withRule(text), file, {});
  const shown = JSON.stringify(
    (fileShape(config) as { datasets: { d: { conflicts: unknown } } }).datasets.d.conflicts,
  );
  assert.deepEqual(rulesOf(shown), toPolicy(config, 'd').conflicts);
});

test('a rule that cannot be is said with its place and what to do', () => {
  const cases: readonly (readonly [string, string, RegExp, RegExp?])[] = [
    ['{ prefer: c }', '7:26', /the dataset has no site `c` that could be preferred/, /its sites are a, b/],
    ['last-write-wins', '7:16', /must be `last-writer-wins`, `{ prefer: SITE }`/],
    ['{ prefers: a }', '7:16', /unknown field `prefers`|must be `last-writer-wins`/],
    ['[{ match: "a{b", rule: keep-both }]', '7:26', /does not close a brace/],
    ['[{ match: "a", rule: keep }]', '7:37', /must be `last-writer-wins`, `{ prefer: SITE }`/],
    ['[{ match: "a", rule: { prefer: bb } }]', '7:47', /no site `bb`/, /did you mean `b`\?/],
    ['[{ match: "a" }]', '7:17', /needs `rule`/],
    ['{ crdt: { likes: counter } }', '7:24', /"likes" is no JSON pointer/, /such as "\/likes"/],
    ['{ crdt: { "/a": counter, "/a/b": set } }', '7:24', /"\/a\/b" is inside "\/a"/],
    ['{ crdt: { "/a": counters } }', '7:32', /`counter`/],
    ['{ crdt: {} }', '7:24', /it names no path/],
    ['{ hook: { timeout: 1s } }', '7:24', /needs either `url` or `module`/],
    ['{ hook: { url: "http://x", module: m.js } }', '7:24', /needs either `url` or `module`/],
    ['{ hook: { url: "ftp://x" } }', '7:31', /must be a URL/],
    ['{ hook: { url: "http://x", timeout: 1h } }', '7:52', /between 100ms and 5m/],
    [
      '[{ match: "**", rule: keep-both }, { match: "x", rule: merge-json }]',
      '7:60',
      /no key ever comes to `x`/,
    ],
  ];
  for (const [text, at, message, hint] of cases) {
    const [found, ...more] = problems(text);
    assert.match(found?.message ?? 'nothing', message, text);
    assert.equal(`${found?.line}:${found?.column}`, at, `${text}: ${found?.message}`);
    if (hint) assert.match(found?.hint ?? '', hint, text);
    assert.deepEqual(
      more.map((one) => one.message),
      [],
      text,
    );
  }
});
