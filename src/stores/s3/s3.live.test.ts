import { after, before, describe, test } from 'node:test';
import type { RunningServer, S3SiteConfig } from '../../../test/servers/running.ts';
import { availableServers, describeAvailability, startServer } from '../../../test/servers/start.ts';
import type { Capabilities } from '../../ports/object-store.ts';
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
