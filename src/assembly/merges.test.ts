import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import type { ConflictRule } from '../model/policy.ts';
import { systemWorld } from '../system-world.ts';
import { Trial } from '../testing/trial.ts';
import { mergesFor } from './merges.ts';

const folder = mkdtempSync(join(tmpdir(), 'isobar-hook-'));
after(() => rmSync(folder, { recursive: true }));

/** The merges as a configuration gets them, in a dataset over memory stores. */
async function merged(t: TestContext, rule: ConflictRule, bodies: readonly [string, string, string]) {
  const trial = new Trial({ policy: { conflicts: rule }, merges: mergesFor('photos', systemWorld) });
  t.after(() => trial.close());
  const [base, first, second] = bodies;
  await trial.nativePut('aws', 'k', base);
  await trial.syncAll();
  await trial.nativePut('aws', 'k', first);
  await trial.nativePut('gcp', 'k', second);
  await trial.syncAll();
  await trial.syncAll();
  const found = await Promise.all(trial.names.map((site) => trial.contents(site)));
  for (const one of found) assert.deepEqual(one, found[0]);
  return { trial, all: found[0]! };
}

function moduleHook(name: string, source: string): ConflictRule {
  const module = join(folder, name);
  writeFileSync(module, source);
  return { hook: { module, timeoutMs: 5_000 } };
}

test('merge-json: what each changed is in the result', async (t) => {
  const { all } = await merged(t, 'merge-json', ['{"a":1,"b":1}', '{"a":2,"b":1}', '{"a":1,"b":3,"c":4}']);
  const { b, c } = JSON.parse(all.k!);
  assert.deepEqual([b, c], [3, 4]);
});

test('merge-json: a body that is no JSON is decided by the later write, and the loser kept with the reason', async (t) => {
  const { trial, all } = await merged(t, 'merge-json', ['{}', 'text', '{"b":1}']);
  assert.deepEqual(all, { k: '{"b":1}' });
  assert.match((await trial.losers())[0]?.because ?? '', /JSON/);
});

test('a module decides: its body is taken, and what it did not take is kept', async (t) => {
  const source = `export default ({ versions }) => ({
    outcome: 'write',
    body: Buffer.from(versions.map(({ body }) => Buffer.from(body, 'base64')).join('+')).toString('base64'),
  });`;
  const { trial, all } = await merged(t, moduleHook('join.mjs', source), ['base', 'first', 'second']);
  assert.deepEqual(all, { k: 'second+first' });
  assert.equal((await trial.losers()).length, 2);
});

test('a module that wants both: the other goes beside', async (t) => {
  const rule = moduleHook('both.mjs', "export default () => ({ outcome: 'keep-both' });");
  const { all } = await merged(t, rule, ['base', 'first', 'second']);
  assert.deepEqual(Object.values(all).sort(), ['first', 'second']);
});

test('a module that cannot be loaded, or is none, parks the key and says why', async (t) => {
  for (const [name, source, why] of [
    ['broken.mjs', 'export default (', /cannot be loaded/],
    ['none.mjs', 'export const merge = 1;', /no default export that is a function/],
  ] as const) {
    const trial = new Trial({
      policy: { conflicts: moduleHook(name, source) },
      merges: mergesFor('photos', systemWorld),
    });
    t.after(() => trial.close());
    await trial.nativePut('aws', 'k', 'first');
    await trial.nativePut('gcp', 'k', 'second');
    await trial.sync();
    assert.match((await trial.parked())[0]?.detail ?? '', why);
    assert.equal(await trial.nativeRead('aws', 'k'), 'first');
  }
});

test('an HTTP endpoint is asked, told where both stand, and believed', async (t) => {
  const asked: { key: string; versions: { id: string; at: object }[] }[] = [];
  const server = createServer((request, response) => {
    let text = '';
    request.on('data', (piece) => {
      text += piece;
    });
    request.on('end', () => {
      const parsed = JSON.parse(text);
      asked.push(parsed);
      response.end(JSON.stringify({ outcome: 'pick', version: parsed.versions[1].id }));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const { trial, all } = await merged(t, { hook: { url, timeoutMs: 5_000 } }, ['base', 'first', 'second']);
  assert.deepEqual(all, { k: 'first' });
  assert.deepEqual(
    asked.map(({ key, versions }) => [key, versions.map(({ at }) => at)]),
    [
      [
        'k',
        [
          { site: 'gcp', key: 'k' },
          { site: 'aws', key: 'k' },
        ],
      ],
    ],
  );
  const [loser] = await trial.losers();
  assert.equal(await trial.nativeRead(loser!.site, loser!.keptAs), 'second');
});
