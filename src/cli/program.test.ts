import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildProgram, namedIn } from './program.ts';

const host = { stdout: process.stdout, stderr: process.stderr };
const act = () => async () => {};

test('a command that is declared alone is the same as among all', () => {
  for (const command of buildProgram(act, host).commands) {
    const alone = buildProgram(act, host, command.name()).commands;
    assert.deepEqual(
      alone.map((one) => one.helpInformation()),
      [command.helpInformation()],
    );
  }
});

test('a command is declared alone only where it is plain to see which one it is', () => {
  const named: readonly (readonly [string, string | undefined])[] = [
    ['sync photos', 'sync'],
    ['sync --help', 'sync'],
    ['--json -q -v sync', 'sync'],
    ['-c put sync', 'sync'],
    ['--config put --verbose sync', 'sync'],
    ['--config=put sync', 'sync'],
    // The value of the `c` in it follows.
    ['-qc put sync', undefined],
    ['-cput sync', undefined],
    ['--help sync', undefined],
    ['--unknown sync', undefined],
    ['-- sync', undefined],
    ['-c', undefined],
    ['help sync', undefined],
    // Tells of all commands.
    ['completion bash', undefined],
    ['sycn photos', undefined],
    ['toString', undefined],
    ['', undefined],
  ];
  for (const [line, name] of named) assert.equal(namedIn(line.split(' ')), name, line);
});
