import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, type TestContext, test } from 'node:test';
import { availableServers, startServer } from '../servers/start.ts';
import { Place } from './place.ts';

// Metadata that one target cannot hold: its change is parked and explained, the others have it, nothing is lost.

const servers = ['minio', 'azurite'] as const;
const missing = servers.filter((name) => !availableServers().includes(name));
const skip = missing.length > 0 ? `not installed: ${missing.join(', ')} (npm run servers)` : false;

/** So many KiB of user metadata, as flags. */
const notes = (kib: number) =>
  Array.from({ length: kib }, (_, i) => [
    '--meta',
    `note${i}=${String(i).repeat(1024).slice(0, 1018)}`,
  ]).flat();

interface Change {
  readonly site: string;
  readonly key: string;
  readonly reason: string;
  readonly detail: string;
}

describe('metadata over the limit of a target', { skip }, () => {
  const starting = skip ? [] : servers.map((name) => startServer(name));
  after(async () => void (await Promise.all(starting.map(async (server) => (await server).stop()))));

  /** Sites `a` and `b` (folders, 64 KiB), `s` (S3, 2 KiB) and `z` (Azure, 8 KiB), in this order. */
  async function open(t: TestContext, order: readonly string[]): Promise<Place> {
    const place = new Place(t);
    const [s, z] = await Promise.all(
      starting.map(async (starts) => {
        const server = await starts;
        return server.siteConfig(await server.newBucket());
      }),
    );
    const accept = ['delete-without-condition'];
    place.configure({ sites: { s: { ...s, accept }, z }, dataset: { sites: order } });
    writeFileSync(join(place.folder, 'body'), 'the body');
    return place;
  }

  async function parked(place: Place): Promise<Change[]> {
    const { stdout } = await place.run('parked', 'ls', '--json');
    return stdout.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Change]));
  }

  test('it is parked there, and whole everywhere else', async (t) => {
    const place = await open(t, ['a', 's', 'z', 'b']);
    await place.told(0, /durable at a /, 'put', 'd', 'large.txt', 'body', ...notes(4));
    await place.told(0, /durable at a /, 'put', 'd', 'huge.txt', 'body', ...notes(12));
    await place.told(4, /s: 2 changes parked; see `isobar parked ls d`/, 'sync', 'd');

    const changes = await parked(place);
    assert.deepEqual(
      changes.map(({ site, key, reason }) => [site, key, reason]),
      [
        ['s', 'huge.txt', 'invalid'],
        ['s', 'large.txt', 'invalid'],
        ['z', 'huge.txt', 'invalid'],
      ],
    );
    for (const { site, detail } of changes)
      assert.match(
        detail,
        site === 's' ? /\d{4,5} bytes.*S3 takes 20\d\d/ : /12\d{3} bytes.* 8\d{3} are the limit/,
      );
    const { stdout: explained } = await place.run('explain', 'd', 'large.txt');
    assert.match(
      explained,
      /^ {2}s: absent\n.*\n {4}parked: .*S3 takes 20\d\d.*isobar parked retry d 's\/large\.txt'/m,
    );
    assert.match(explained, /^ {2}z: current/m);

    for (const site of ['z', 'b']) {
      assert.equal((await place.run('get', 'd', 'large.txt', '--site', site)).stdout, 'the body');
      const { stdout } = await place.run('stat', 'd', 'large.txt', '--site', site, '--json');
      const { user } = JSON.parse(stdout).metadata;
      assert.deepEqual(
        Object.values(user)
          .map(String)
          .map((value) => value.length),
        [1018, 1018, 1018, 1018],
      );
    }
    await place.told(0, /durable at a /, 'put', 'd', 'small.txt', 'body', ...notes(1));
    await place.told(4, /copied 3 objects/, 'sync', 'd');
    assert.equal((await parked(place)).length, 3, 'nothing is dropped by itself');
    await place.told(0, /3 changes tried again/, 'parked', 'retry', 'd', '--all');
    await place.told(4, /s: 2 changes parked/, 'sync', 'd');

    for (const key of ['large.txt', 'huge.txt'])
      await place.told(0, /durable/, 'put', 'd', key, 'body', ...notes(1));
    assert.equal((await place.run('sync', 'd')).code, 0);
    assert.deepEqual(await parked(place), []);
    const verified = await place.run('verify', 'd', '--deep', '--json');
    assert.deepEqual([verified.code, JSON.parse(verified.stdout).comparedKeys], [0, 4]);
  });

  test('a write that goes to such a site first is refused, and nobody has it', async (t) => {
    const place = await open(t, ['s', 'a', 'z', 'b']);
    await place.refused(
      1,
      /user metadata is 4\d{3} bytes.*S3 takes 20\d\d.*less of it/,
      'put',
      'd',
      'k',
      'body',
      ...notes(4),
    );
    assert.equal((await place.run('sync', 'd')).code, 0);
    assert.equal((await place.run('ls', 'd')).stdout, 'kept.txt\n');
  });
});
