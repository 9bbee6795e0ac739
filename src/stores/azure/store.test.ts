import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { inspect } from 'node:util';
import { StoreFailure, type StoreFailureCode } from '../../model/failure.ts';
import { noMetadata } from '../../model/metadata.ts';
import type { ObjectStore } from '../../ports/object-store.ts';
import { HttpClient } from '../http/send.ts';
import type { Authorizer } from './authorize.ts';
import { type AzureStoreConfig, resolveTarget } from './config.ts';
import { Container } from './container.ts';
import { type AzureStoreOptions, createAzureStore } from './store.ts';

interface Reply {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

const accountKey = Buffer.from('THEACCOUNTKEY').toString('base64');
const signature = 'THESIGNATURE';
const signal = AbortSignal.timeout(60_000);
const here = {
  key: 'a',
  body: Buffer.from('hello'),
  metadata: noMetadata,
  condition: { kind: 'absent' },
} as const;

const azure = { 'x-ms-request-id': 'r-1' };
const blob = {
  ...azure,
  etag: '"0x1"',
  'last-modified': 'Thu, 01 Jan 2026 00:00:00 GMT',
  'content-type': 'text/plain',
};

/** A server that says what the test wants; `seen` are the requests it got. */
async function listening(
  t: TestContext,
  reply: (request: IncomingMessage) => Reply,
): Promise<{ endpoint: string; seen: string[] }> {
  const seen: string[] = [];
  const server: Server = createServer((request, response) => {
    request.resume();
    request.on('end', () => {
      seen.push(`${request.method} ${request.url}`);
      const { status, headers = {}, body = '' } = reply(request);
      response.writeHead(status, { 'content-length': Buffer.byteLength(body), ...headers });
      response.end(request.method === 'HEAD' ? '' : body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  return { endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}/acct`, seen };
}

async function storeOver(
  t: TestContext,
  reply: (request: IncomingMessage) => Reply,
  config: Partial<AzureStoreConfig> = { accountKey },
  options: AzureStoreOptions = {},
): Promise<{ store: ObjectStore; seen: string[] }> {
  const { endpoint, seen } = await listening(t, reply);
  const store = createAzureStore({ container: 'photos', endpoint, ...config }, options);
  t.after(() => store.close());
  return { store, seen };
}

function refusal(status: number, code: string, message = 'The reason.'): Reply {
  return {
    status,
    headers: { ...azure, 'x-ms-error-code': code },
    body: `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${message}\nRequestId:r-1</Message></Error>`,
  };
}

async function failureOf(work: Promise<unknown>): Promise<StoreFailure> {
  const error = await work.then(
    (answer) => assert.fail(`it resolved with ${inspect(answer)}`),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof StoreFailure, String(error));
  return error;
}

const write = (store: ObjectStore) => store.write(here, signal);
const head = (store: ObjectStore) => store.head('a', signal);
const list = async (store: ObjectStore) => {
  const keys: string[] = [];
  for await (const page of store.list({}, signal)) keys.push(...page.map((entry) => entry.key));
  return keys;
};

const translations: readonly (readonly [Reply, StoreFailureCode, RegExp])[] = [
  [refusal(403, 'AuthenticationFailed'), 'denied', /clock/],
  [refusal(403, 'AuthorizationPermissionMismatch'), 'denied', /Storage Blob Data Contributor/],
  [refusal(401, 'InvalidAuthenticationInfo'), 'denied', /expired/],
  [refusal(404, 'ContainerNotFound'), 'misplaced', /Create the container/],
  [refusal(429, 'TooManyRequests'), 'throttled', /fewer/],
  [refusal(503, 'ServerBusy'), 'throttled', /fewer/],
  [refusal(500, 'InternalError'), 'unavailable', /failed/],
  [refusal(400, 'InvalidMetadata'), 'invalid', /metadata/],
  [refusal(400, 'Md5Mismatch'), 'corrupt', /damaged/],
  [refusal(412, 'LeaseIdMissing'), 'unavailable', /lease/],
  [refusal(409, 'BlobImmutableDueToPolicy'), 'invalid', /immutab/],
  [refusal(400, 'SomethingNew'), 'invalid', /SomethingNew/],
  [{ status: 503, body: 'from a proxy' }, 'unavailable', /gateway/],
  [{ status: 404, body: '<html>not here</html>' }, 'misplaced', /endpoint/],
  [{ status: 302, headers: { location: '/login' } }, 'misplaced', /endpoint/],
  [{ status: 200, headers: { etag: '"1"' }, body: '<html>welcome</html>' }, 'misplaced', /endpoint/],
];

for (const [reply, code, advice] of translations) {
  const said = reply.headers?.['x-ms-error-code'] ?? 'no Azure';
  test(`${reply.status} with ${said} is ${code} for a write and a listing, and says what to do`, async (t) => {
    const { store } = await storeOver(t, () => reply);
    for (const verb of [write, list]) {
      const failure = await failureOf(verb(store));
      assert.equal(failure.code, code, failure.message);
      assert.match(failure.message, advice);
      assert.match(failure.message, /photos/);
    }
  });
}

test('a head is absent only when the service itself says so', async (t) => {
  let reply: Reply = refusal(404, 'BlobNotFound');
  const { store } = await storeOver(t, () => reply);
  assert.equal(await head(store), undefined);
  reply = { status: 404 };
  assert.equal((await failureOf(head(store))).code, 'misplaced');
  reply = refusal(404, 'ContainerNotFound');
  assert.equal((await failureOf(head(store))).code, 'misplaced');
});

test('lost races are conflicts', async (t) => {
  let reply: Reply = refusal(409, 'BlobAlreadyExists');
  const { store } = await storeOver(t, ({ method }) =>
    method === 'HEAD' ? { status: 200, headers: blob } : reply,
  );
  assert.deepEqual(await write(store), { kind: 'conflict' });
  for (reply of [refusal(412, 'ConditionNotMet'), refusal(404, 'BlobNotFound')]) {
    const condition = { kind: 'match', token: '0x1' } as const;
    assert.deepEqual(await store.write({ ...here, condition }, signal), { kind: 'conflict' });
    assert.deepEqual(await store.remove('a', '0x1', signal), { kind: 'conflict' });
  }
});

test('a lease is no lost race', async (t) => {
  const { store } = await storeOver(t, () => refusal(412, 'LeaseIdMissing'));
  assert.equal((await failureOf(store.remove('a', '0x1', signal))).code, 'unavailable');
  const condition = { kind: 'match', token: '0x1' } as const;
  assert.equal((await failureOf(store.write({ ...here, condition }, signal))).code, 'unavailable');
});

test('a credential that was refused is not used again', async (t) => {
  const server = await listening(t, () => refusal(401, 'InvalidAuthenticationInfo'));
  const http = new HttpClient();
  t.after(() => http.close());
  let forgotten = 0;
  const authorizer: Authorizer = {
    authorize: async (request) => request,
    forget: () => {
      forgotten += 1;
    },
  };
  const target = resolveTarget({ container: 'photos', endpoint: server.endpoint, accountKey });
  const container = new Container(target, http, authorizer, { nowMs: Date.now, tags: true });
  await container.send({ method: 'HEAD', what: 'trying' }, signal);
  assert.equal(forgotten, 1);
});

test('a token that would match anything is never sent', async (t) => {
  const { store, seen } = await storeOver(t, () => ({ status: 201, headers: blob }));
  for (const token of ['*', '', 'a"b', 'a\r\nb']) {
    assert.deepEqual(await store.remove('a', token, signal), { kind: 'conflict' });
    assert.equal((await failureOf(store.read('a', { token }, signal))).code, 'changed');
  }
  assert.deepEqual(seen, []);
});

test('a digest that differs, or none, is corrupt', async (t) => {
  let md5 = 'XUFAKrxLKna5cZ2REBfFkg==';
  const { store } = await storeOver(t, () => ({ status: 201, headers: { ...blob, 'content-md5': md5 } }));
  assert.equal((await write(store)).kind, 'written');
  md5 = 'AAAAAAAAAAAAAAAAAAAAAA==';
  assert.equal((await failureOf(write(store))).code, 'corrupt');
  md5 = '';
  assert.equal((await failureOf(write(store))).code, 'corrupt');
});

test('a verb that the store cannot promise is refused by name, and nothing is sent', async (t) => {
  const none = { create: 'none', replace: 'none', complete: 'none', remove: 'none' } as const;
  const capabilities = { ...none, tags: true, tokenIsContentDigest: false };
  const { store, seen } = await storeOver(t, () => ({ status: 201 }), { accountKey }, { capabilities });
  const failure = await failureOf(write(store));
  assert.equal(failure.code, 'unsupported');
  assert.match(failure.message, /If-None-Match.*create/);
  assert.equal((await failureOf(store.remove('a', '0x1', signal))).code, 'unsupported');
  assert.deepEqual(seen, []);
});

test('neither key nor signature is in a failure, its causes included', async (t) => {
  const quoting = refusal(403, 'AuthenticationFailed', `Bad\nsig=${signature} ${accountKey}`);
  for (const config of [{ accountKey }, { sas: `?sv=1&sp=r&sig=${signature}` }]) {
    const { store } = await storeOver(t, () => quoting, config);
    const gone = createAzureStore({ container: 'photos', endpoint: 'http://127.0.0.1:9/acct', ...config });
    t.after(() => gone.close());
    for (const [verb, at] of [
      [write, store],
      [head, store],
      [list, store],
      [write, gone],
      [list, gone],
    ] as const) {
      const shown = inspect(await failureOf(verb(at)), { depth: 20, showHidden: true, getters: true });
      for (const secret of [signature, accountKey, 'THEACCOUNTKEY']) {
        assert.ok(!shown.includes(secret), `a failure shows ${secret}: ${shown}`);
      }
    }
  }
});

test('a SAS goes with every request, after the query', async (t) => {
  const { store, seen } = await storeOver(t, () => refusal(404, 'BlobNotFound'), {
    sas: `sv=1&sig=${signature}`,
  });
  await head(store);
  await failureOf(list(store));
  assert.match(seen[0] ?? '', /^HEAD \/acct\/photos\/a\?sv=1&sig=/);
  assert.match(seen[1] ?? '', /^GET \/acct\/photos\?restype=container&.*&sv=1&sig=/);
});

const entry = (key: string) =>
  `<Blob><Name>${key}</Name><Properties><Last-Modified>Thu, 01 Jan 2026 00:00:00 GMT</Last-Modified>` +
  `<Etag>0x1</Etag><Content-Length>1</Content-Length></Properties><Metadata/></Blob>`;

const page = (keys: readonly string[], marker = ''): Reply => ({
  status: 200,
  headers: azure,
  body: `<EnumerationResults><Blobs>${keys.map(entry).join('')}</Blobs><NextMarker>${marker}</NextMarker></EnumerationResults>`,
});

const badListings: Readonly<Record<string, (marker: string | null) => Reply>> = {
  'that repeats a page token': (marker) => page(marker === null ? ['a'] : [], 'm'),
  'that goes round in circles': (marker) => page([marker === 'm' ? 'b' : 'a'], marker === 'm' ? 'n' : 'm'),
  'out of order': () => page(['b', 'a']),
  'out of order as with a hierarchical namespace': () => page(['a/b', 'a-b']),
  'with a key twice': () => page(['a', 'a']),
  'cut off': () => ({ ...page(['a']), body: page(['a']).body?.slice(0, -9) ?? '' }),
  'of an empty answer': () => ({ status: 200, headers: azure }),
  'that fails on its second page': (marker) =>
    marker === null ? page(['a'], 'm') : refusal(500, 'InternalError'),
};

for (const [name, reply] of Object.entries(badListings)) {
  test(`a listing ${name} fails and never ends as if complete`, async (t) => {
    const { store } = await storeOver(t, (request) =>
      reply(new URL(request.url ?? '', 'http://x').searchParams.get('marker')),
    );
    const failure = await failureOf(list(store));
    assert.equal(
      failure.code,
      name.includes('second page') ? 'unavailable' : 'broken-listing',
      failure.message,
    );
  });
}

test('what is hidden is jumped over by one request', async (t) => {
  const { store, seen } = await storeOver(t, (request) => {
    const query = new URL(request.url ?? '', 'http://x').searchParams;
    if (query.get('startFrom') === '.isobar0') return page(['.zz', 'a']);
    return page(['.a', '.isobar/x', '.isobar/y'], 'many more below .isobar/');
  });
  assert.deepEqual(await list(store), ['.a', '.zz', 'a']);
  assert.equal(seen.length, 2);
});

test('without leave to read tags the listing goes on without them', async (t) => {
  const { store, seen } = await storeOver(t, (request) =>
    request.url?.includes('tags') ? refusal(403, 'AuthorizationPermissionMismatch') : page(['a']),
  );
  assert.deepEqual(await list(store), ['a']);
  assert.deepEqual(await list(store), ['a']);
  assert.equal(seen.filter((line) => line.includes('tags')).length, 1);
});

test('an aborted signal stops a request and is thrown as it is', async (t) => {
  const { store } = await storeOver(t, () => refusal(404, 'BlobNotFound'));
  const reason = new Error('enough');
  await assert.rejects(store.head('a', AbortSignal.abort(reason)), reason);
});
