import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { probe } from '../../src/assembly/probe.ts';
import { openStore } from '../../src/assembly/stores.ts';
import type { SiteConfig } from '../../src/config/sites.ts';
import { systemWorld } from '../../src/system-world.ts';
import { availableServers, type ServerName, startServer } from '../servers/start.ts';

// What docs/test-servers.md says that each server keeps of its promises. A probe finds that, and leaves nothing behind.

const found: Partial<Record<ServerName, object>> = {
  ministack: { create: true, replace: true, complete: true, remove: true, keys: 'any' },
  versitygw: { create: true, replace: true, complete: true, remove: false, keys: 'files' },
  minio: { create: true, replace: true, complete: true, remove: false, keys: 'paths' },
  'gcs-memory': { create: true, replace: true, complete: true, remove: true, keys: 'any' },
  'fake-gcs-server': { create: true, replace: true, complete: false, remove: false, keys: 'any' },
  azurite: { create: true, replace: true, complete: true, remove: true, keys: 'files' },
};

describe('a probe', () => {
  const there = availableServers();
  for (const name of there.filter((one) => one in found)) {
    test(`finds what ${name} promises, and leaves nothing there`, async () => {
      const signal = AbortSignal.timeout(60_000);
      const server = await startServer(name);
      try {
        const site = { ...server.siteConfig(await server.newBucket()), anonymous: server.kind === 'gcs' };
        const store = await openStore(site as unknown as SiteConfig);
        const { capabilities, cleaned } = await probe(store, systemWorld, signal);
        store.settle(capabilities);
        const { create, replace, complete, remove, keys } = capabilities;
        const holds = Object.entries({ create, replace, complete, remove }).map(
          ([verb, assurance]) => [verb, assurance === 'conditional'] as const,
        );
        assert.deepEqual({ ...Object.fromEntries(holds), keys }, found[name]);
        await cleaned;
        for await (const page of store.list({ prefix: '.isobar/' }, signal)) assert.deepEqual(page, []);
        for await (const page of store.listUploads(signal)) assert.deepEqual(page, []);
        await store.close();
      } finally {
        await server.stop();
      }
    });
  }
});
