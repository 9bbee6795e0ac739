import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { Command } from 'commander';
import { cli, fakeIsobar, fakeKept } from './kit.test.ts';
import { buildProgram } from './program.ts';
import { unprintable } from './text.ts';

/** docs/cli.md against what is printed: scripts depend on both. */

const page = readFileSync(new URL('../../docs/cli.md', import.meta.url), 'utf8');

interface Shape {
  readonly required: Set<string>;
  readonly optional: Set<string>;
}

/** Per `type`, the fields that its table names. */
function documented(): Map<string, Shape> {
  const shapes = new Map<string, Shape>();
  for (const part of page.split(/^### /m).slice(1)) {
    const type = /^.*\bline `([\w-]+)`/.exec(part)?.[1];
    if (type === undefined) continue;
    const shape: Shape = { required: new Set(['type']), optional: new Set() };
    for (const [, fields, meaning] of part.matchAll(/^\| (`.*?) \| (.*?) ?\|$/gm)) {
      const into = meaning!.startsWith('optional') ? shape.optional : shape.required;
      for (const [, field] of fields!.matchAll(/`([^`]+)`/g)) into.add(field!);
    }
    shapes.set(type, shape);
  }
  return shapes;
}

/** `sites[].error`, `metadata.user.*` and so on. */
function pathsOf(value: unknown, path = ''): string[] {
  if (Array.isArray(value)) return value.flatMap((item) => pathsOf(item, `${path}[]`));
  if (typeof value !== 'object' || value === null) return [path];
  return Object.entries(value).flatMap(([name, child]) => {
    const step = /(^|\.)metadata\.(user|tags)$/.test(path) ? '*' : name;
    return pathsOf(child, path === '' ? step : `${path}.${step}`);
  });
}

const folder = mkdtempSync(join(tmpdir(), 'isobar-docs-'));
after(() => rmSync(folder, { recursive: true }));
const file = join(folder, 'isobar.yaml');
writeFileSync(
  file,
  'sites: { a: { kind: filesystem, path: a }, b: { kind: filesystem, path: b } }\ndatasets: { d: { sites: [a, b] } }\n',
);

const commands: readonly (readonly string[])[] = [
  ['put', 'd', 'k'],
  ['get', 'd', 'k', '-o', join(folder, 'out')],
  ['rm', 'd', 'k'],
  ['ls', 'd'],
  ['stat', 'd', 'k'],
  ['sync', 'd', '--dry-run'],
  ['verify', 'd'],
  ['undo', 'd', '--since', '2h', '--yes'],
  ['ledger', 'rebuild', 'd'],
  ['status'],
  ['explain', 'd', 'k'],
  ['parked', 'ls'],
  ['parked', 'retry', 'd', '--all'],
  ['parked', 'drop', 'd', 'x', '--yes'],
  ['conflicts', 'ls'],
  ['conflicts', 'show', 'd', 'k'],
  ['conflicts', 'pick', 'd', '0123456789ab'],
  ['conflicts', 'release', 'd', '0123456789ab', 'x', '--yes'],
  ['doctor'],
  ['run'],
  ['config', 'check'],
  ['init', '--force', '--site', 'a=filesystem:a', '--site', 'b=filesystem:b'],
];

test('what is printed as JSON is what docs/cli.md says, field by field', async () => {
  const shapes = documented();
  const printed = new Map<string, Set<string>>();
  const dropParked = async (ids: readonly string[]) => ({ dataset: 'd', done: ['y'], unknown: ids });
  const release = async (ids: readonly string[]) => {
    const left = [{ id: 'y', site: 'a', error: 'away' }];
    return { dataset: 'd', released: ids.slice(0, 1), unknown: ids.slice(1), left };
  };
  for (const argv of commands) {
    const isobar = fakeIsobar({ dropParked, kept: fakeKept({ release }) });
    const { json, stderr } = await cli([...argv, '--json', '--config', file], { isobar, stdin: 'hello' });
    assert.ok(json.length > 0, `${argv.join(' ')}: ${stderr}`);
    for (const line of json) {
      const type = String(line.type);
      const paths = pathsOf(line);
      const shape = shapes.get(type);
      assert.ok(shape, `${type} is not documented`);
      for (const path of paths)
        assert.ok(shape.required.has(path) || shape.optional.has(path), `${type}: ${path} is not documented`);
      for (const path of shape.required)
        assert.ok(paths.includes(path), `${type}: ${path} is documented as always there`);
      printed.set(type, new Set([...(printed.get(type) ?? []), ...paths]));
    }
  }
  for (const [type, { optional }] of shapes) {
    assert.ok(printed.has(type), `${type} is documented and never printed`);
    for (const path of optional)
      assert.ok(printed.get(type)?.has(path), `${type}: ${path} is documented and never printed`);
  }
});

test('the failures of --json have the fields that the page names', async () => {
  writeFileSync(join(folder, 'bad.yaml'), 'sites: {}\nx: 1\n');
  const { stderr, stdout, code } = await cli(['config', 'check', '--json', '-c', join(folder, 'bad.yaml')]);
  assert.deepEqual([stdout, code], ['', 2]);
  const error = JSON.parse(stderr);
  assert.deepEqual(Object.keys(error).sort(), ['exitCode', 'message', 'problems', 'type']);
  assert.deepEqual(Object.keys(error.problems.at(-1)).sort(), [
    'column',
    'hint',
    'line',
    'message',
    'snippet',
  ]);
});

test('every command and every flag is on the page, and no other', () => {
  const program = buildProgram(() => async () => {}, { stdout: process.stdout, stderr: process.stderr });
  const table = /## Commands\n([\s\S]*?)\n## /.exec(page)![1]!;
  const rows = new Map(
    [...table.matchAll(/^\| `([a-z ]+?)(?: [^a-z`][^`]*)?` \|(.*)\|$/gm)].map(([, name, rest]) => [
      name!,
      rest!,
    ]),
  );
  const leaves = (command: Command, path: string): [string, Command][] =>
    command.commands.length === 0
      ? [[path, command]]
      : command.commands.flatMap((child) => leaves(child, `${path} ${child.name()}`.trim()));
  const found = leaves(program, '');
  assert.deepEqual([...rows.keys()].sort(), found.map(([name]) => name).sort());
  for (const [name, command] of found) {
    for (const { long } of command.options) assert.ok(rows.get(name)!.includes(long!), `${name} ${long}`);
    for (const [flag] of rows.get(name)!.matchAll(/--[a-z-]+/g)) {
      const known = [...command.options, ...program.options].map(({ long }) => long);
      assert.ok(known.includes(flag), `${name} ${flag}`);
    }
  }
  for (const { long } of program.options) assert.ok(page.includes(`\`${long}`), long!);
});

test('the examples of escaped keys on the page can be read back', () => {
  assert.ok(page.includes('`\\x1b`') && page.includes('`\\u{202e}`') && page.includes('`\\x20`'));
  assert.equal(unprintable('\\x1b\\u{202e}\\x20\\n\\\\'), '\u001b\u202e \n\\');
});
