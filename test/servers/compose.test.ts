import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { goPrograms, pythonPrograms, requiredGo } from './versions.ts';

interface Service {
  readonly image: string;
  readonly command: string;
  readonly ports: readonly string[];
}

const { services } = parse(readFileSync(join(import.meta.dirname, '../../deploy/compose.yaml'), 'utf8'), {
  merge: true,
}) as { readonly services: Readonly<Record<string, Service>> };
const packageJson = JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8')) as {
  readonly devDependencies: Readonly<Record<string, string>>;
};

test('the containers have every server of the tests, in the same versions', () => {
  const installed: Record<string, string> = {
    ministack: `ministack==${pythonPrograms.ministack.version}`,
    azurite: `azurite@${packageJson.devDependencies['azurite']}`,
  };
  for (const [name, program] of Object.entries(goPrograms)) {
    if (name !== 'rclone') installed[name] = `${program.package}@${program.version}`;
  }
  assert.deepEqual(Object.keys(services).sort(), Object.keys(installed).sort());
  for (const [name, what] of Object.entries(installed))
    assert.ok(services[name]!.command.includes(what), name);
  for (const { image } of Object.values(services).filter(({ command }) => command.includes('go install')))
    assert.equal(image, `golang:${requiredGo}`);
});

test('none of them can be reached from another machine', () => {
  for (const [name, { ports }] of Object.entries(services)) {
    assert.ok(ports.length > 0, name);
    for (const port of ports) assert.match(port, /^127\.0\.0\.1:\d+:\d+$/, name);
  }
});
