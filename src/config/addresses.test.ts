import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfig } from './load.ts';
import { ConfigFailure, type Problem } from './problems.ts';

const sites = `sites:
  a: { kind: s3, bucket: a, region: r }
  b: { kind: s3, bucket: b, region: r }
datasets:
  d: { sites: [a, b] }
`;

function problemsOf(rest: string): readonly Problem[] {
  try {
    parseConfig(sites + rest, 'isobar.yaml', {});
  } catch (error) {
    if (error instanceof ConfigFailure) return error.problems;
    throw error;
  }
  return [];
}

function sourcesAt(a: string, b: string): readonly Problem[] {
  return problemsOf(`sources:
  a: { kind: s3-webhook, path: /a, listen: "${a}" }
  b: { kind: s3-webhook, path: /b, listen: "${b}" }
`);
}

test('two push sources cannot listen at one address, whatever their paths', () => {
  const [problem, ...others] = sourcesAt('127.0.0.1:9465', '127.0.0.1:9465');
  assert.deepEqual(others, []);
  assert.equal(problem?.message, '`sources.a` already uses 127.0.0.1:9465');
  assert.deepEqual([problem?.line, problem?.column], [8, 44]);
  assert.equal(problem?.hint, 'give this source a port of its own: `listen: "127.0.0.1:9466"`');
});

test('the default address can be used once; the suggestion is free', () => {
  const [problem] = problemsOf(
    'listen: 127.0.0.1:9466\nsources:\n  a: { kind: s3-webhook }\n  b: { kind: s3-webhook }\n',
  );
  assert.equal(problem?.message, '`sources.a` already uses 127.0.0.1:9465');
  assert.deepEqual([problem?.line, problem?.column], [9, 3]);
  assert.match(problem?.hint ?? '', /127\.0\.0\.1:9467/);
});

test('an address is the same however it is spelt, and a wildcard takes all of its port', () => {
  const clashing = [
    ['127.0.0.1:9000', '9000'],
    ['localhost:9000', '127.0.0.1:9000'],
    ['[::1]:9000', '[0:0::1]:9000'],
    ['0.0.0.0:9000', '127.0.0.1:9000'],
    ['10.0.0.1:9000', '[::]:9000'],
    ['1.2.3.999:9000', '1.2.3.999:9000'],
  ] as const;
  for (const [a, b] of clashing) {
    assert.equal(sourcesAt(a, b).length, 1, `${a} ${b}`);
    assert.equal(sourcesAt(b, a).length, 1, `${b} ${a}`);
  }
  const fitting = [
    ['127.0.0.1:9000', '127.0.0.1:9001'],
    ['127.0.0.1:9000', '10.0.0.1:9000'],
    ['0.0.0.0:9000', '[::1]:9000'],
    ['127.0.0.1:0', '127.0.0.1:0'],
  ] as const;
  for (const [a, b] of fitting) assert.deepEqual(sourcesAt(a, b), [], `${a} ${b}`);
});

test('nor can a source where the daemon itself listens', () => {
  const [problem] = problemsOf('listen: 0.0.0.0:9465\nsources: { a: { kind: s3-webhook } }\n');
  assert.equal(problem?.message, '`listen` already uses 127.0.0.1:9465');
});
