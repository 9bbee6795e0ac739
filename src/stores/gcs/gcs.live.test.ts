import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, describe, test } from 'node:test';
import { available, availableServers, startServer } from '../../../test/servers/start.ts';
import { noMetadata } from '../../model/metadata.ts';
import type { Capabilities } from '../../ports/object-store.ts';
import { objectStoreConformance } from '../../testing/object-store-conformance.ts';
import { type HttpAnswer, HttpClient, type HttpRequest } from '../http/send.ts';
import { createGcsStore, gcsNameProblem } from './gcs-store.ts';

/**
 * The servers that these tests know, and what they lack that Google's own service has: there the driver must
 * refuse by name. A server of the user's own (ISOBAR_TEST_GCS) is taken for complete.
 */
const products: Readonly<Record<string, { readonly lacks: Partial<Capabilities>; readonly why: string }>> = {
  'gcs-memory': { lacks: {}, why: '' },
  'fake-gcs-server': {
    lacks: { complete: 'none', remove: 'none' },
    why: 'v1.56.1 reads ifGenerationMatch on uploads alone: compose and DELETE ignore it',
  },
};

/** Below a prefix everything must be as without one, so one product is run there as well. */
async function conformance(product: string, lacks: Partial<Capabilities>, prefix = ''): Promise<void> {
  const server = await startServer(product as 'gcs');
  const options = { capabilities: lacks };
  const place = prefix === '' ? '' : ` below ${prefix}`;
  const open = async () => {
    const config = { ...server.siteConfig(await server.newBucket()), prefix };
    const store = createGcsStore(config, options);
    return {
      store,
      close: async () => {
        await store.close();
        await server.stop();
      },
      anotherOn: async () => createGcsStore(config, options),
      onAbsentBucket: async () => createGcsStore({ ...config, bucket: `${config.bucket}-absent` }, options),
      refusedKeys: (key: string) => gcsNameProblem(prefix + key) !== undefined,
    };
  };
  const name = `gcs on ${server.product} ${server.version}${place}`;
  describe(name, () => objectStoreConformance(name, open));
}

/** Goes down after so many compose requests. */
class CrashingHttp extends HttpClient {
  #left: number;

  constructor(composes: number) {
    super();
    this.#left = composes;
  }

  override async send(request: HttpRequest, signal: AbortSignal): Promise<HttpAnswer> {
    if (request.path.includes('/compose') && this.#left-- <= 0) throw new Error('crash');
    return super.send(request, signal);
  }
}

/** What only this driver does: parts are objects, composed in levels, and leave something behind at a crash. */
async function composition(): Promise<void> {
  const server = await startServer('gcs');
  // A user's own bucket is the same for every test.
  const prefix = `composition-${randomBytes(4).toString('hex')}/`;
  const config = { ...server.siteConfig(await server.newBucket()), prefix };
  const store = createGcsStore(config);
  const signal = new AbortController().signal;
  const temporaries = async () => {
    const keys: string[] = [];
    for await (const page of store.list({ prefix: '.isobar/uploads/' }, signal)) {
      keys.push(...page.map((entry) => entry.key));
    }
    return keys;
  };
  const send = async (key: string, body: Uint8Array, partSizeBytes: number) => {
    const upload = await store.startUpload(
      { key, size: body.length, partSizeBytes, metadata: noMetadata },
      signal,
    );
    const receipts = await Promise.all(
      Array.from({ length: Math.ceil(body.length / partSizeBytes) }, (_, index) => {
        const bytes = body.subarray(index * partSizeBytes, (index + 1) * partSizeBytes);
        return store.writePart(upload, { index, bytes }, signal);
      }),
    );
    return { upload, receipts };
  };
  const commit = { condition: { kind: 'absent' }, metadata: noMetadata } as const;
  after(async () => {
    await store.close();
    await server.stop();
  });

  test('1,100 parts go through two levels of composing, and nothing is left behind', async () => {
    const body = randomBytes(1_100 * 100 - 1);
    const { upload, receipts } = await send('many', body, 100);
    // The first try's intermediates stand, and the second one goes on from them.
    const crashing = createGcsStore(config, { http: new CrashingHttp(20) });
    await assert.rejects(crashing.completeUpload(upload, receipts, commit, signal), /crash/);
    await crashing.close();
    assert.ok((await temporaries()).length > 1_100);
    const answer = await store.completeUpload(upload, receipts, commit, signal);
    assert.equal(answer.kind, 'written');
    const read = await store.read('many', {}, signal);
    assert.ok(Buffer.from(await read!.bytes()).equals(body));
    assert.deepEqual(await temporaries(), []);
  });

  test('a part that arrived damaged is replaced when it is sent again', async () => {
    const upload = await store.startUpload(
      { key: 'd', size: 4, partSizeBytes: 4, metadata: noMetadata },
      signal,
    );
    await store.writePart(upload, { index: 0, bytes: Buffer.from('dama') }, signal);
    const receipt = await store.writePart(upload, { index: 0, bytes: Buffer.from('good') }, signal);
    assert.equal((await store.completeUpload(upload, [receipt], commit, signal)).kind, 'written');
    assert.equal(Buffer.from(await (await store.read('d', {}, signal))!.bytes()).toString(), 'good');
  });

  test('parts whose beginning is gone are listed and can be aborted', async () => {
    const { upload } = await send('orphan', Buffer.from('abcd'), 2);
    const marker = `.isobar/uploads/${upload.id}/start`;
    const head = await store.head(marker, signal);
    assert.equal((await store.remove(marker, head!.token, signal)).kind, 'removed');
    const listed = [];
    for await (const page of store.listUploads(signal)) listed.push(...page.map((entry) => entry.upload));
    assert.deepEqual(listed, [{ id: upload.id, key: '' }]);
    await store.abortUpload(listed[0]!, signal);
    assert.deepEqual(await temporaries(), []);
  });
}

/** The one server of others that keeps conditions on compose and DELETE; it ignores ranges and bends odd keys. */
async function conditionsOnGcsemulator(): Promise<void> {
  const server = await startServer('gcsemulator');
  const open = async () => {
    const config = server.siteConfig(await server.newBucket());
    const store = createGcsStore(config);
    const close = async () => {
      await store.close();
      await server.stop();
    };
    return { store, close, anotherOn: async () => createGcsStore(config) };
  };
  const name = `gcs on ${server.product} ${server.version}`;
  describe(name, () => objectStoreConformance(name, open, ['conditions', 'uploads']));
}

const installed = availableServers().filter((name) => Object.hasOwn(products, name));
if (process.env.ISOBAR_TEST_GCS) await conformance('gcs', {});
else for (const name of installed) await conformance(name, products[name]!.lacks);
if ((await available()).includes('gcs')) {
  await conformance('gcs', {}, 'team a/ü/');
  describe('gcs: uploads as composed objects', composition);
}

if (availableServers().includes('gcsemulator')) await conditionsOnGcsemulator();

for (const [name, { why }] of Object.entries(products)) {
  const skip = installed.some((product) => product === name) ? false : 'not installed: npm run servers';
  if (skip) describe(`gcs on ${name}`, () => void test('conformance', { skip }, () => undefined));
  else if (why)
    test(`gcs on ${name}: ${why}`, { skip: 'what the server lacks; the refusal is tested' }, () => undefined);
}
