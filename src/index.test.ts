import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ConfigFailure, openDataset } from './index.ts';

test('the library does what the commands do', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'isobar-library-'));
  try {
    for (const site of ['aws', 'gcp']) await mkdir(join(folder, site));
    const config = join(folder, 'isobar.yaml');
    const here = ['$', '{HERE}'].join('');
    const sites = `sites: { aws: { kind: filesystem, path: "${here}" }, gcp: { kind: filesystem, path: gcp } }`;
    await writeFile(config, `${sites}\ndatasets: { docs: { sites: [aws, gcp] } }\n`);
    await assert.rejects(openDataset('docs', { config }), ConfigFailure);
    await using docs = await openDataset('docs', { config, variables: { HERE: 'aws' } });
    await docs.put('hello.txt', 'hello', {
      metadata: { contentType: 'text/plain', user: { author: 'Ada' } },
    });
    assert.equal(await readFile(join(folder, 'aws', 'hello.txt'), 'utf8'), 'hello');
    await docs.sync();
    assert.equal(await readFile(join(folder, 'gcp', 'hello.txt'), 'utf8'), 'hello');
    const got = await docs.get('hello.txt', { site: 'gcp' });
    assert.deepEqual(got?.metadata.user, { author: 'Ada' });
    assert.equal(Buffer.from(await got!.bytes()).toString(), 'hello');
    const keys: string[] = [];
    for await (const page of docs.list()) keys.push(...page.map(({ key }) => key));
    assert.deepEqual(keys, ['hello.txt']);
    assert.equal(
      (await docs.verify({ deep: true, found: (difference) => assert.fail(JSON.stringify(difference)) }))
        .keys,
      1,
    );
    assert.deepEqual(
      (await docs.status()).map(({ lagMs, backlogKeys }) => [lagMs, backlogKeys]),
      [
        [0, 0],
        [0, 0],
      ],
    );
    const stop = new AbortController();
    const watching = docs.watch({ scanEveryMs: 50, signal: stop.signal });
    await writeFile(join(folder, 'gcp', 'native.txt'), 'native');
    while (!(await docs.get('native.txt', { site: 'aws' })))
      await new Promise((resolve) => setTimeout(resolve, 20));
    stop.abort();
    await watching;
    assert.ok(await docs.remove('hello.txt'));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
