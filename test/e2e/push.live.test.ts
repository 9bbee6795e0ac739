import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { openStore } from '../../src/assembly/stores.ts';
import { loadConfig } from '../../src/config/index.ts';
import { noMetadata } from '../../src/model/metadata.ts';
import type { ObjectStore } from '../../src/ports/object-store.ts';
import { systemWorld } from '../../src/system-world.ts';
import { availableServers } from '../servers/start.ts';
import { Daemon, isobar } from './daemon-process.ts';
import { type LiveSystem, nativePut, nativeRemove, startSystem } from './sites.ts';

const servers = { aws: 'minio', azure: 'azurite' } as const;
const missing = Object.values(servers).filter((name) => !availableServers().includes(name));
const skip = missing.length > 0 ? `not installed: ${missing.join(', ')} (npm run servers)` : false;
const signal = AbortSignal.timeout(3 * 60_000);
const secret = 'only-minio-knows-this';

/** Between MinIO and the daemon: MinIO wants an answer when it starts, which is before there is a daemon. */
class Relay {
  readonly bodies: string[] = [];
  target: string | undefined;
  readonly #server: Server;

  private constructor() {
    this.#server = createServer(async (request, response) => {
      const pieces: Buffer[] = [];
      for await (const piece of request) pieces.push(piece as Buffer);
      const body = Buffer.concat(pieces).toString('utf8');
      if (this.target === undefined) return void response.end();
      this.bodies.push(body);
      const status = await this.post(body).catch(() => 503);
      response.writeHead(status).end();
    });
  }

  static async start(): Promise<Relay> {
    const relay = new Relay();
    await new Promise<void>((resolve) => relay.#server.listen(0, '127.0.0.1', resolve));
    return relay;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`;
  }

  async post(body: string): Promise<number> {
    const answer = await fetch(`${this.target}?token=${secret}`, { method: 'POST', body });
    await answer.text();
    return answer.status;
  }

  stop(): void {
    this.#server.close().closeAllConnections();
  }
}

let relay: Relay;
let system: LiveSystem;
let configFile: string;
let daemon: Daemon;
let folder: ObjectStore;

before(async () => {
  if (skip) return;
  relay = await Relay.start();
  system = await startSystem(servers, { start: { webhookUrl: relay.url } });
  const document = JSON.parse(await readFile(system.configFile, 'utf8'));
  await mkdir(join(system.folder, 'disk'));
  document.sites.disk = { kind: 'filesystem', path: join(system.folder, 'disk') };
  document.datasets.photos = { sites: ['aws', 'azure', 'disk'], scan: { every: '1h' } };
  document.sources = { aws: { kind: 's3-webhook', listen: '127.0.0.1:0', path: '/events', secret } };
  configFile = join(system.folder, 'push.yaml');
  await writeFile(configFile, JSON.stringify(document));
  folder = await openStore(loadConfig(configFile, {}).sites['disk']!);
  daemon = await Daemon.start(configFile, signal);
  await daemon.scanned(3, signal);
  relay.target = daemon.ready.sources![0]!;
});

after(async () => {
  await daemon?.stop();
  await folder?.close();
  await system?.stop();
  relay?.stop();
});

const minio = () => system.sites[0]!.native;
const azure = () => system.sites[1]!.native;

async function textAt(store: ObjectStore, key: string): Promise<string | undefined> {
  const read = await store.read(key, {}, signal);
  return read && Buffer.from(await read.bytes()).toString('utf8');
}

async function arrives(key: string, text: string | undefined): Promise<void> {
  for (const store of [azure(), folder]) {
    while ((await textAt(store, key)) !== text) await systemWorld.sleep(50, signal);
  }
}

const put = (key: string, text: string) => nativePut(minio(), key, Buffer.from(text), noMetadata, signal);

/** Everything that was said to the daemon is worked off. */
async function quiet(): Promise<void> {
  for (;;) {
    const { text } = await daemon.get('/metrics');
    const { stdout } = await isobar(configFile, ['status', '--json']);
    const { sites } = JSON.parse(stdout) as { sites: { backlogKeys: number }[] };
    if (text && sites.every(({ backlogKeys }) => backlogKeys === 0)) return;
    await systemWorld.sleep(100, signal);
  }
}

/** What all sites hold, and as which version. */
async function everything(keys: readonly string[]): Promise<unknown> {
  const versions = await Promise.all(
    keys.map(async (key) => {
      const { stdout } = await isobar(configFile, ['explain', 'photos', key, '--json']);
      return [key, stdout === '' ? 'unknown' : JSON.parse(stdout).newest];
    }),
  );
  const heads: unknown[] = [];
  for (const store of [minio(), azure(), folder]) {
    for await (const page of store.list({}, signal)) heads.push(page.map(({ key, token }) => [key, token]));
  }
  return { versions, heads };
}

const event = (key: string, eventName: string, eTag = 'forged') =>
  JSON.stringify({
    Records: [
      {
        eventName,
        eventTime: new Date().toISOString(),
        s3: {
          bucket: { name: bucketName() },
          object: { key: encodeURIComponent(key), eTag, sequencer: 'FF' },
        },
      },
    ],
  });

function bucketName(): string {
  const { sites } = system.config;
  return (sites['aws'] as unknown as { bucket: string }).bucket;
}

test('native writes, overwrites and deletions arrive by notification, without a scan', { skip }, async () => {
  for (const key of ['plain.txt', 'a b+c/é%.txt']) {
    await put(key, 'first');
    await arrives(key, 'first');
    await put(key, 'second, longer');
    await arrives(key, 'second, longer');
    await nativeRemove(minio(), key, signal);
    await arrives(key, undefined);
    await put(key, 'risen');
    await arrives(key, 'risen');
  }
  assert.ok(relay.bodies.length >= 8);
});

test('forged notices change nothing', { skip }, async () => {
  const keys = ['plain.txt', 'never-was.txt'];
  await quiet();
  const before = await everything(keys);
  for (const key of keys) {
    for (const name of ['ObjectCreated:Put', 'ObjectRemoved:Delete', 'ObjectCreated:Copy']) {
      assert.equal(await relay.post(event(key, name)), 200);
      assert.equal(await relay.post(event(key, name, '0'.repeat(32))), 200);
    }
  }
  assert.equal(
    (await fetch(daemon.ready.sources![0]!, { method: 'POST', body: event('x', 'y') })).status,
    403,
  );
  await quiet();
  assert.deepEqual(await everything(keys), before);
});

test('notices that come twice, late and in the wrong order change nothing', { skip }, async () => {
  const from = relay.bodies.length;
  for (const text of ['one', 'two', 'three']) await put('busy.txt', text);
  await put('gone.txt', 'soon gone');
  await arrives('gone.txt', 'soon gone');
  await nativeRemove(minio(), 'gone.txt', signal);
  await arrives('busy.txt', 'three');
  await arrives('gone.txt', undefined);
  await quiet();
  const keys = ['busy.txt', 'gone.txt', 'plain.txt'];
  const before = await everything(keys);
  const all = relay.bodies.slice(from);
  assert.ok(all.length >= 5);
  for (const body of [...all].reverse().concat(all, relay.bodies)) assert.equal(await relay.post(body), 200);
  await quiet();
  assert.deepEqual(await everything(keys), before);
});

test('the secret of the source stands in no log', { skip }, () => {
  assert.ok(!daemon.stderr.includes(secret));
  assert.ok(!JSON.stringify(daemon.ready).includes(secret));
});
