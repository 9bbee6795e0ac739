import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, type TestContext, test } from 'node:test';
import { send, signS3 } from '../servers/request.ts';
import { availableServers, type S3SiteConfig, startServer } from '../servers/start.ts';
import { Place } from './place.ts';

// Credentials that lack one permission: `doctor` names it, nothing is lost, and what was missed follows once it is there.

const permissions = [
  's3:ListBucket',
  's3:ListBucketMultipartUploads',
  's3:GetObject',
  's3:GetObjectTagging',
  's3:PutObject',
  's3:AbortMultipartUpload',
  's3:DeleteObject',
] as const;
type Permission = (typeof permissions)[number];

const skip = availableServers().includes('minio') ? false : 'not installed: minio (npm run servers)';

/** Temporary credentials of the same account, which may do nothing else. */
async function allowed(site: S3SiteConfig, actions: readonly string[]) {
  const bucket = `arn:aws:s3:::${site.bucket}`;
  const statement = { Effect: 'Allow', Action: actions, Resource: [bucket, `${bucket}/*`] };
  const body = new URLSearchParams({
    Action: 'AssumeRole',
    Version: '2011-06-15',
    Policy: JSON.stringify({ Version: '2012-10-17', Statement: [statement] }),
  }).toString();
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  const request = { method: 'POST', url: `${site.endpoint}/`, headers, body };
  const { text } = await send(signS3(request, { ...site, service: 'sts' }));
  const field = (name: string) => {
    const value = new RegExp(`<${name}>([^<]+)`).exec(text)?.[1];
    assert.ok(value, text);
    return value;
  };
  const keys = { accessKeyId: field('AccessKeyId'), secretAccessKey: field('SecretAccessKey') };
  return { ...site, ...keys, sessionToken: field('SessionToken') };
}

const without = (lacking: Permission) => permissions.filter((one) => one !== lacking);

/** A dataset over two folders and a bucket, and the bucket as a native client with all rights sees it. */
class Bucket {
  readonly place: Place;
  readonly #site: S3SiteConfig;

  constructor(t: TestContext, site: S3SiteConfig) {
    this.place = new Place(t);
    this.#site = site;
    this.place.secrets.push(site.secretAccessKey);
  }

  async use(actions: readonly string[]): Promise<void> {
    const site = await allowed(this.#site, actions);
    this.place.secrets.push(site.secretAccessKey, site.sessionToken);
    const s = { ...site, accept: ['delete-without-condition'] };
    this.place.configure({ sites: { s }, dataset: { sites: ['a', 's', 'b'] } });
  }

  async call(method: string, key: string, body = ''): Promise<string | undefined> {
    const url = `${this.#site.endpoint}/${this.#site.bucket}/${key}`;
    const answer = await send(signS3({ method, url, body }, this.#site));
    assert.ok([200, 204, 404].includes(answer.status), answer.text);
    return answer.status === 404 ? undefined : answer.text;
  }
}

describe('a missing permission', { skip, concurrency: 2 }, () => {
  const starting = skip ? undefined : startServer('minio');
  after(async () => (await starting)?.stop());
  const open = async (t: TestContext) => {
    const server = (await starting)!;
    return new Bucket(t, server.siteConfig(await server.newBucket()));
  };

  for (const lacking of permissions) {
    test(`doctor names ${lacking}`, async (t) => {
      const bucket = await open(t);
      await bucket.use(without(lacking));
      const { code, stdout } = await bucket.place.run('doctor', 's', '--json');
      assert.equal(code, 1);
      const checks = stdout.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line)]));
      const failed = checks.filter(({ status }) => status === 'failed');
      assert.equal(failed.length, 1, stdout);
      assert.match(failed[0].detail, /403/);
      const named = permissions.filter((one) => new RegExp(`${one}\\b`).test(failed[0].remedy));
      assert.deepEqual(named, [lacking]);
      assert.match(failed[0].remedy, /docs\/permissions\.md/);
    });
  }

  test('doctor is content with what docs/permissions.md asks for', async (t) => {
    const bucket = await open(t);
    await bucket.use(permissions);
    assert.equal((await bucket.place.run('doctor', 's')).code, 0);
  });

  const outcomes: readonly (readonly [Permission, number, RegExp])[] = [
    ['s3:ListBucket', 4, /s was away: .*GET of the bucket was answered 403/],
    ['s3:GetObject', 4, /s was away: .*GET of .* was answered 403/],
    ['s3:PutObject', 1, /s: \d keys still to come: .*PUT of .* was answered 403/],
    ['s3:DeleteObject', 1, /s: 1 key still to come: .*DELETE of "gone\.txt" was answered 403/],
  ];
  for (const [lacking, code, message] of outcomes) {
    test(`sync without ${lacking} loses nothing, and catches up once it is given`, async (t) => {
      const bucket = await open(t);
      await followsLater(bucket, lacking, code, message);
    });
  }
});

async function followsLater(
  bucket: Bucket,
  lacking: Permission,
  code: number,
  message: RegExp,
): Promise<void> {
  const { place } = bucket;
  const path = (name: string) => join(place.folder, 'a', name);
  for (const name of ['changed.txt', 'gone.txt']) writeFileSync(path(name), 'old');
  await bucket.use(permissions);
  assert.equal((await place.run('sync', 'd')).code, 0);

  writeFileSync(path('changed.txt'), 'new, longer');
  writeFileSync(path('made.txt'), 'made');
  rmSync(path('gone.txt'));
  await bucket.call('PUT', 'native.txt', 'by a native client');
  await bucket.use(without(lacking));
  await place.told(code, message, 'sync', 'd');
  const after = place.files();
  assert.deepEqual(
    [after['b/changed.txt'], after['b/made.txt']],
    ['new, longer', 'made'],
    'the others go on',
  );
  assert.equal(after['b/gone.txt'], undefined);
  assert.equal(await bucket.call('GET', 'native.txt'), 'by a native client');
  assert.equal(await bucket.call('GET', 'kept.txt'), 'precious');
  await place.told(0, /durable at a /, 'put', 'd', 'put.txt', 'isobar.yaml');
  const status = (await place.run('status', 'd')).stdout;
  assert.match(status, /^ {2}s: .*was answered 403/m);
  assert.doesNotMatch(status, /^ {2}s: never/m);

  await bucket.use(permissions);
  assert.equal((await place.run('sync', 'd')).code, 0);
  const verified = await place.run('verify', 'd', '--deep', '--json');
  assert.deepEqual([verified.code, JSON.parse(verified.stdout).comparedKeys], [0, 5]);
  assert.equal(place.files()['b/native.txt'], 'by a native client');
  assert.equal(await bucket.call('GET', 'changed.txt'), 'new, longer');
  assert.equal(await bucket.call('GET', 'gone.txt'), undefined);
}
