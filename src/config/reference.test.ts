import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { jsonSchema, renderReference } from './reference.ts';

interface Node {
  readonly [name: string]: unknown;
  readonly properties?: Record<string, Node>;
}

test('docs/configuration.md is what `npm run docs` writes', () => {
  const page = readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8');
  assert.equal(page, renderReference(), 'stale: run `npm run docs`');
});

test('every field has a description and a row on the page', () => {
  const page = renderReference();
  const visit = (node: unknown, where: string): void => {
    if (typeof node !== 'object' || node === null) return;
    for (const [name, field] of Object.entries((node as Node).properties ?? {})) {
      assert.ok(typeof field.description === 'string' && field.description.length > 5, `${where}.${name}`);
      assert.match(page, new RegExp(`\\| \`(\\w+\\.)*${name}\` \\|`), `${where}.${name}`);
    }
    for (const [name, child] of Object.entries(node)) visit(child, `${where}/${name}`);
  };
  visit(jsonSchema(), '');
});

test('the JSON Schema refuses unknown fields, asks for nothing that has a default, and takes variables', () => {
  const schema = jsonSchema() as Node;
  assert.equal(schema.additionalProperties, false);
  assert.deepEqual(schema.required, ['sites', 'datasets']);
  const kinds = (schema.properties!.sites!.additionalProperties as Node).oneOf as Node[];
  assert.deepEqual(
    kinds.map((kind) => kind.title),
    ['s3', 'gcs', 'azure', 'filesystem'],
  );
  assert.deepEqual(kinds[0]?.required, ['kind', 'bucket']);
  const style = kinds[0]?.properties?.pathStyle?.anyOf as Node[];
  assert.ok(style.some((one) => one.type === 'boolean') && style.some((one) => one.type === 'string'));
});
