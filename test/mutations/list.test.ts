import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { blind } from './blind.ts';
import { mutations } from './list.ts';

test('what a mutation breaks stands once in the code, and is broken by it', () => {
  for (const { name, file, find, replace } of [...mutations, ...blind]) {
    const text = readFileSync(join(import.meta.dirname, '../..', file), 'utf8');
    assert.equal(text.split(find).length - 1, 1, `${name}: ${file}`);
    assert.notEqual(find, replace, name);
  }
  assert.ok(mutations.length >= 12 && blind.length >= 12);
});
