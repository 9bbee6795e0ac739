import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keyProblem } from './key.ts';
import { siblingKey, siblingVersion } from './sibling.ts';
import { stampOf } from './stamp.ts';
import type { Version } from './version.ts';

const loser: Version = {
  stamp: stampOf(Date.UTC(2026, 10, 21, 13, 8, 5)),
  dot: { site: 'aws-eu', count: 3 },
  past: { aws: 2 },
  operation: 'one',
  deleted: false,
};
const bytes = (text: string) => Buffer.byteLength(text);
const tail = 'conflict-aws-eu-20261121T130805Z-XXXXXXXX';
const shape = (key: string) => siblingKey(key, loser).replace(/-[0-9a-f]{8}(?=[./]|$)/, '-XXXXXXXX');

test('the sibling stands beside its key, and keeps extension and slashes', () => {
  assert.equal(shape('photo.jpg'), `photo.${tail}.jpg`);
  assert.equal(shape('a.b/photo'), `a.b/photo.${tail}`);
  assert.equal(shape('.bashrc'), `.bashrc.${tail}`);
  assert.equal(shape('folder/'), `folder.${tail}/`);
  assert.equal(shape('what? no extension. Really'), `what? no extension. Really.${tail}`);
});

test('one per key and write; a sibling of a sibling is no longer', () => {
  const other = { ...loser, operation: 'two' };
  const first = siblingKey('photo.jpg', loser);
  assert.notEqual(first, siblingKey('photo.jpg', other));
  assert.equal(first, siblingKey('photo.jpg', { ...loser, past: {} }));
  const second = siblingKey(first, other);
  assert.equal(second.length, first.length);
  assert.notEqual(second, siblingKey('photo.jpg', other), 'nor does it meet the sibling of the key itself');
  assert.equal(siblingKey(`${first}/`, other).length, first.length + 1);
});

test('it fits wherever its key fits', () => {
  const keys = [
    'é'.repeat(512),
    `${'x/'.repeat(511)}y`,
    `${'a'.repeat(251)}.jpg`,
    '/',
    `${'😀'.repeat(255)}.js`,
  ];
  for (const key of [...keys, 'a'.repeat(1024), `${'d/'.repeat(300)}${'n'.repeat(255)}`]) {
    const sibling = siblingKey(key, loser);
    assert.equal(keyProblem(sibling), undefined);
    assert.ok(bytes(sibling) <= Math.max(448, bytes(key)), key);
    const longest = (text: string) => Math.max(...text.split('/').map(bytes));
    assert.ok(longest(sibling) <= Math.max(255, longest(key)), key);
    assert.ok(sibling.isWellFormed() && !sibling.includes('\ufffd'), key);
  }
});

test('whoever makes it makes the same write', () => {
  assert.deepEqual(siblingVersion('k', loser), siblingVersion('k', { ...loser }));
  assert.notEqual(
    siblingVersion('k', loser).operation,
    siblingVersion('k', { ...loser, operation: 'x' }).operation,
  );
});
