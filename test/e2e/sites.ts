import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { probeCapabilities } from '../../src/assembly/probe.ts';
import { openStore } from '../../src/assembly/stores.ts';
import { type Config, loadConfig } from '../../src/config/index.ts';
import type { ObjectStore } from '../../src/ports/object-store.ts';
import { systemWorld } from '../../src/system-world.ts';
import { type RunningServer, type ServerName, startServer } from '../servers/start.ts';

/** A site of a whole-system test: a real server, and a driver of its own that plays the native client. */
export interface LiveSite {
  readonly name: string;
  readonly server: RunningServer;
  readonly native: ObjectStore;
}

export interface LiveSystem {
  readonly folder: string;
  readonly configFile: string;
  readonly config: Config;
  readonly sites: readonly LiveSite[];
  stop(): Promise<void>;
}

/** The servers of a whole-system test. fake-gcs-server ignores conditions on compose and delete: accepted by name. */
export const threeClouds: Readonly<Record<string, ServerName>> = {
  aws: 'ministack',
  gcp: 'fake-gcs-server',
  azure: 'azurite',
};

/**
 * For kills: every server keeps every condition. One that ignores them lets a request of the dead process, which it
 * was still working on, overwrite what came after; that is the risk one accepts by name, and no guarantee stands on it.
 * GCS is the repository's own server here (docs/test-servers.md): no other keeps all conditions and ranges.
 */
export const honestClouds: Readonly<Record<string, ServerName>> = {
  aws: 'ministack',
  gcp: 'gcs-memory',
  azure: 'azurite',
};

const accepted: Partial<Record<ServerName, readonly string[]>> = {
  'fake-gcs-server': ['overwrite-without-condition', 'delete-without-condition'],
  versitygw: ['delete-without-condition'],
  minio: ['delete-without-condition'],
};

/** Starts a server per site, makes a bucket in each, and writes the `isobar.yaml` that replicates over them. */
export async function startSystem(
  servers: Readonly<Record<string, ServerName>>,
  options: {
    readonly dataset?: object;
    readonly extra?: object;
    readonly start?: Parameters<typeof startServer>[1];
  } = {},
): Promise<LiveSystem> {
  const folder = await mkdtemp(join(tmpdir(), 'isobar-live-'));
  const started = await Promise.all(
    Object.entries(servers).map(async ([name, product]) => {
      const server = await startServer(product, options.start);
      const bucket = await server.newBucket();
      return { name, product, server: server as RunningServer, place: server.siteConfig(bucket) };
    }),
  );
  const sites = Object.fromEntries(
    started.map(({ name, product, place }) => [name, { ...place, accept: accepted[product] ?? [] }]),
  );
  const dataset = { sites: Object.keys(servers), scan: { every: '3s' }, ...options.dataset };
  const document = { sites, datasets: { photos: dataset }, listen: '127.0.0.1:0', ...options.extra };
  const configFile = join(folder, 'isobar.yaml');
  await writeFile(configFile, JSON.stringify(document, null, 2));
  const config = loadConfig(configFile, {});
  const live = await Promise.all(
    started.map(async ({ name, server }) => ({ name, server, native: await openNative(config, name) })),
  );
  return {
    folder,
    configFile,
    config,
    sites: live,
    async stop() {
      await Promise.all(live.map(({ native }) => native.close()));
      await Promise.all(live.map(({ server }) => server.stop()));
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function openNative(config: Config, site: string): Promise<ObjectStore> {
  const plain = await openStore(config.sites[site]!);
  const found = await probeCapabilities(plain, systemWorld, AbortSignal.timeout(20_000));
  plain.settle({
    ...found,
    create: 'conditional',
    replace: 'conditional',
    complete: 'conditional',
    remove: 'conditional',
  });
  return plain;
}

/** Writes as a native client does: whatever stands there is replaced. */
export async function nativePut(
  store: ObjectStore,
  key: string,
  body: Uint8Array,
  metadata: Parameters<ObjectStore['write']>[0]['metadata'],
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    const head = await store.head(key, signal);
    const condition = head ? ({ kind: 'match', token: head.token } as const) : ({ kind: 'absent' } as const);
    const done = await store.write({ key, body, metadata, condition }, signal);
    if (done.kind === 'written') return;
  }
}

export async function nativeRemove(store: ObjectStore, key: string, signal: AbortSignal): Promise<void> {
  const head = await store.head(key, signal);
  if (head) await store.remove(key, head.token, signal);
}
