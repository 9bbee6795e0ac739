import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemWorld } from '../../src/system-world.ts';
import { Daemon } from './daemon-process.ts';
import { Place } from './place.ts';

const signal = AbortSignal.timeout(2 * 60_000);

function wrote(place: Place, path: string, text: string): void {
  writeFileSync(join(place.folder, path), text);
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await systemWorld.sleep(50, signal);
}

function kept(place: Place): number {
  const folder = join(place.folder, 'a', '.isobar', 'losers');
  if (!existsSync(folder)) return 0;
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.json'))
    .length;
}

test('rules by key pattern from the file: merged, beside, preferred, or kept; then show, pick and release', async (t) => {
  const place = new Place(t);
  const conflicts = [
    { match: '*.json', rule: 'merge-json' },
    { match: '*.txt', rule: 'keep-both' },
    { match: 'p-*', rule: { prefer: 'a' } },
  ];
  place.configure({ dataset: { conflicts } });
  for (const [key, first, second] of [
    ['doc.json', '{"a":1}', '{"b":2}'],
    ['note.txt', 'first', 'second'],
    ['p-x', 'first', 'second'],
    ['other', 'first', 'second'],
  ] as const) {
    wrote(place, `a/${key}`, first);
    await systemWorld.sleep(20, signal);
    wrote(place, `b/${key}`, second);
  }
  assert.equal((await place.run('sync', 'd')).code, 0);
  const files = place.files();
  const at = (site: string) =>
    Object.entries(files)
      .filter(([path]) => path.startsWith(`${site}/`) && !path.endsWith('kept.txt'))
      .map(([path, text]) => [path.slice(2), text]);
  assert.deepEqual(at('a'), at('b'));
  assert.deepEqual(JSON.parse(files['a/doc.json']!), { a: 1, b: 2 });
  assert.deepEqual([files['a/note.txt'], files['a/p-x'], files['a/other']], ['second', 'first', 'second']);
  const beside = Object.keys(files).find((path) => /^a\/note\.conflict-a-.*\.txt$/.test(path));
  assert.equal(files[beside ?? ''], 'first');

  const listed = await place.run('conflicts', 'ls', 'd', '--key', 'other', '--json');
  const { id } = JSON.parse(listed.stdout);
  assert.equal((await place.run('conflicts', 'show', 'd', 'other', '--body', 'loser')).stdout, 'first');
  assert.equal((await place.run('conflicts', 'pick', 'd', id)).code, 0);
  assert.equal((await place.run('sync', 'd')).code, 0);
  assert.deepEqual([place.files()['a/other'], place.files()['b/other']], ['first', 'first']);
  assert.equal((await place.run('conflicts', 'release', 'd', '--all', '--yes')).code, 0);
  assert.equal((await place.run('conflicts', 'ls')).stderr, 'nothing is kept\n');
  assert.equal(kept(place), 0);
});

test('beside a running daemon: it replicates what is picked, and knows what is released', async (t) => {
  const place = new Place(t);
  place.configure({ dataset: { scan: { every: '1s' } } });
  wrote(place, 'a/k', 'first');
  await systemWorld.sleep(20, signal);
  wrote(place, 'b/k', 'second');
  const daemon = await Daemon.start(join(place.folder, 'isobar.yaml'), signal);
  try {
    const now = () => ['a', 'b'].map((site) => readFileSync(join(place.folder, site, 'k'), 'utf8'));
    await until(() => now().join() === 'second,second');
    const { id } = JSON.parse((await place.run('conflicts', 'ls', '--json')).stdout);
    assert.equal((await place.run('conflicts', 'pick', 'd', id)).code, 0);
    await until(() => now().join() === 'first,first');
    assert.equal((await place.run('conflicts', 'show', 'd', 'k', '--body', 'loser')).stdout, 'second');
    assert.equal((await place.run('conflicts', 'release', 'd', '--all', '--yes')).code, 0);
    assert.equal((await place.run('conflicts', 'ls')).stdout, '');
  } finally {
    await daemon.stop();
  }
});

test('a rule that cannot be: 2, with its place', async (t) => {
  const place = new Place(t);
  place.configure({ dataset: { conflicts: { prefer: 'c' } } });
  await place.refused(2, /isobar\.yaml:1:\d+: .*no site `c`.*its sites are a, b/s, 'sync', 'd');
  place.configure({ dataset: { conflicts: 'merge' } });
  await place.refused(2, /must be `last-writer-wins`/, 'conflicts', 'ls');
});
