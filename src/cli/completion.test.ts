import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { cli } from './kit.test.ts';

const script = (await cli(['completion', 'bash'])).stdout;
const noBash = spawnSync('bash', ['--version']).error !== undefined;

/** What bash offers after these words, the last of which is being typed. */
function offered(...words: string[]): string[] {
  const quoted = words.map((word) => `'${word}'`).join(' ');
  const ask = `${script}\nCOMP_WORDS=(isobar ${quoted}); COMP_CWORD=${words.length}; _isobar; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = spawnSync('bash', ['--norc', '-c', ask], { encoding: 'utf8' });
  assert.equal(stderr, '');
  return stdout.split('\n').filter((line) => line !== '');
}

test('bash: commands, subcommands, flags and choices', { skip: noBash }, () => {
  assert.ok(offered('').includes('sync') && offered('').includes('completion'));
  assert.deepEqual(offered('st'), ['stat', 'status']);
  assert.deepEqual(offered('parked', ''), ['ls', 'retry', 'drop']);
  assert.deepEqual(offered('sync', '--d'), ['--dry-run']);
  assert.deepEqual(offered('--json', 'parked', 'retry', '--a'), ['--all']);
  assert.ok(offered('ls', '-').includes('--site') && offered('ls', '-').includes('--config'));
  assert.deepEqual(offered('completion', ''), ['bash', 'zsh', 'fish']);
  assert.ok(offered('--config', 'package.js').includes('package.json'));
});

test('zsh and fish name every command', async () => {
  for (const shell of ['zsh', 'fish']) {
    const { code, stdout } = await cli(['completion', shell]);
    assert.equal(code, 0);
    for (const word of ['init', 'doctor', 'sync', 'verify', 'parked', 'retry', 'dry-run'])
      assert.ok(stdout.includes(word), word);
  }
});

test('fish: descriptions are quoted, and nothing is offered twice', async () => {
  const lines = (await cli(['completion', 'fish'])).stdout.trim().split('\n');
  assert.equal(new Set(lines).size, lines.length);
  assert.ok(lines.every((line) => line.startsWith('#') || line.startsWith('complete -c isobar')));
  assert.ok(lines.some((line) => line.includes("every site\\'s version")));
});
