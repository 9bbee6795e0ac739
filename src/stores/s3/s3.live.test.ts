import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { send, signS3 } from '../../../test/servers/request.ts';
import type { RunningServer, S3SiteConfig } from '../../../test/servers/running.ts';
import { availableServers, describeAvailability, startServer } from '../../../test/servers/start.ts';
import { noMetadata } from '../../model/metadata.ts';
import type { Capabilities, Condition } from '../../ports/object-store.ts';
import { type OpenedStore, objectStoreConformance } from '../../testing/object-store-conformance.ts';
import { keyRefusal } from './keys.ts';
import { createS3Store, type KeyRules, s3Capabilities } from './store.ts';

interface Product {
  /** What this server does not promise. */
  readonly lacks: Partial<Capabilities>;
  readonly keys?: KeyRules;
  readonly checksSignatures?: false;
}

/** What was found of each server, and is thereby declared. */
const products = {
  // Tags: HEAD does not tell that there are any, and an overwrite keeps the old object's.
  // Signatures: any are taken, so wrong credentials cannot be shown here.
  ministack: { lacks: { tags: false }, checksSignatures: false },
  // DELETE with If-Match: 204 for an absent key (AWS: 404), and not atomic among racers.
  versitygw: { lacks: { remove: 'none' }, keys: 'files' },
  // DELETE ignores If-Match.
  minio: { lacks: { remove: 'none' }, keys: 'paths' },
} satisfies Record<string, Product>;

for (const [name, product] of Object.entries(products) as [keyof typeof products, Product][]) {
  if (!availableServers().includes(name)) {
    test(`S3 conformance on ${name}`, { skip: `not installed:\n${describeAvailability()}` }, () => {});
    continue;
  }
  describe(name, () => {
    let server: RunningServer<S3SiteConfig>;
    before(async () => {
      server = await startServer(name);
    });
    after(() => server.stop());
    objectStoreConformance(`s3 on ${name}`, async () => openOn(server, product, ''));
  });
}

// A server of the user's own, Amazon itself among them, is held to everything.
if (process.env['ISOBAR_TEST_S3']) {
  objectStoreConformance('s3 on your own server', async () =>
    openOn(await startServer('s3'), { lacks: {} }, ''),
  );
}

if (availableServers().includes('ministack')) {
  describe('ministack, below a prefix', () => {
    let server: RunningServer<S3SiteConfig>;
    before(async () => {
      server = await startServer('ministack');
    });
    after(() => server.stop());
    objectStoreConformance('s3 below a prefix', async () => openOn(server, products.ministack, 'team-a/ü /'));
  });
}

for (const name of ['ministack', 'minio'] as const) {
  const skip = availableServers().includes(name) ? false : 'not installed';
  test(`S3 on ${name}, a versioned bucket: version ids tell equal bodies apart at once`, {
    skip,
  }, async (t) => {
    const server = await startServer(name);
    t.after(() => server.stop());
    const config = server.siteConfig(await server.newBucket());
    const body = '<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>';
    const url = `${config.endpoint}/${config.bucket}?versioning=`;
    assert.equal((await send(signS3({ method: 'PUT', url, body }, config))).status, 200);
    const store = createS3Store(config);
    t.after(() => store.close());
    const write = async (condition: Condition) => {
      const request = { key: 'a', body: Buffer.from('x'), metadata: noMetadata, condition };
      const answer = await store.write(request, t.signal);
      assert.ok(answer.kind === 'written');
      return answer.token;
    };
    const first = await write({ kind: 'absent' });
    const second = await write({ kind: 'match', token: first });
    const seen = (await store.head('a', t.signal))?.token ?? '';
    assert.ok(store.sameWrite(second, seen));
    assert.ok(!store.sameWrite(first, seen), `${first} and ${seen}`);
    assert.equal((await store.remove('a', second, t.signal)).kind, 'removed');
    assert.equal(await store.head('a', t.signal), undefined, 'behind a delete marker');
    await write({ kind: 'absent' });
  });
}

test('S3 without keys in the configuration takes those of the environment', async (t) => {
  const name = (['versitygw', 'minio'] as const).find((product) => availableServers().includes(product));
  if (name === undefined) return t.skip('not installed');
  const server = await startServer(name);
  t.after(() => server.stop());
  const { bucket, endpoint, accessKeyId, secretAccessKey } = server.siteConfig(await server.newBucket());
  const before = { ...process.env };
  t.after(() => {
    process.env = before;
  });
  delete process.env['AWS_PROFILE'];
  Object.assign(process.env, { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey });
  const store = createS3Store({ bucket, endpoint });
  t.after(() => store.close());
  assert.equal(await store.head('a', t.signal), undefined);
});

async function openOn(
  server: RunningServer<S3SiteConfig>,
  product: Product,
  prefix: string,
): Promise<OpenedStore> {
  const config = { ...server.siteConfig(await server.newBucket()), prefix };
  const keys = product.keys ?? 'any';
  const options = { capabilities: { ...s3Capabilities, ...product.lacks }, keys };
  const store = createS3Store(config, options);
  const wrong = { ...config, secretAccessKey: 'x'.repeat(40) };
  return {
    store,
    close: () => store.close(),
    anotherOn: async () => createS3Store(config, options),
    onAbsentBucket: async () => createS3Store({ ...config, bucket: `${config.bucket}-absent` }),
    ...(product.checksSignatures !== false && { onWrongCredentials: async () => createS3Store(wrong) }),
    refusedKeys: (key) => keyRefusal(key, keys, true) !== undefined,
    ...(keys !== 'any' && { keysAreFiles: true }),
  };
}
