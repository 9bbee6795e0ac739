import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { testCertificate, trustTestCertificate } from '../../../test/servers/certificate.ts';
import { type RawServer, startRawServer } from '../../../test/servers/raw-http.ts';
import { StoreFailure } from '../../model/failure.ts';
import { bytesOf, HttpClient, type HttpRequest, textOf } from './send.ts';

const patient = new AbortController().signal;
const get = ({ origin }: { readonly origin: string }, path = '/'): HttpRequest => ({
  method: 'GET',
  origin,
  path,
  headers: {},
});
const text = async (client: HttpClient, request: HttpRequest) =>
  textOf(await client.send(request, patient), patient);
const unavailable = (why: RegExp) => (error: unknown) => {
  assert.ok(error instanceof StoreFailure, String(error));
  assert.equal(error.code, 'unavailable');
  assert.match(error.message, why);
  return true;
};

const versions = ['TLSv1.2', 'TLSv1.3'] as const;
type Version = (typeof versions)[number];

/** Answers with the path; tells which requests came. */
function echoing(asked: string[], version?: Version, hostInOrigin = 'localhost'): Promise<RawServer> {
  return startRawServer(
    async ({ next, socket }) => {
      for (let request = await next(); request; request = await next()) {
        asked.push(request.path);
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${request.path.length}\r\n\r\n${request.path}`);
      }
    },
    {
      hostInOrigin,
      tls: { ...testCertificate, ...(version ? { minVersion: version, maxVersion: version } : {}) },
    },
  );
}

for (const version of versions) {
  test(`${version}: requests after each other share one connection`, async (t) => {
    trustTestCertificate(t);
    await using server = await echoing([], version);
    const client = new HttpClient();
    for (const path of ['/a', '/b', '/c']) assert.equal(await text(client, get(server, path)), path);
    assert.equal(server.visits.length, 1);
    await client.close();
    await server.visits[0]!.closed;
  });

  test(`${version}: the next connection resumes the session`, async (t) => {
    trustTestCertificate(t);
    await using server = await startRawServer(
      async ({ next, socket }) => {
        const isReused = String((socket as TLSSocket).isSessionReused());
        await next();
        socket.write(
          `HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ${isReused.length}\r\n\r\n${isReused}`,
        );
      },
      { hostInOrigin: 'localhost', tls: { ...testCertificate, minVersion: version, maxVersion: version } },
    );
    const client = new HttpClient();
    for (const isReused of ['false', 'true', 'true']) assert.equal(await text(client, get(server)), isReused);
    assert.equal(server.visits.length, 3);
  });

  test(`${version}: who is not trusted gets no request`, async () => {
    const asked: string[] = [];
    await using server = await echoing(asked, version);
    const client = new HttpClient();
    for (const _ of ['at first', 'again'])
      await assert.rejects(client.send(get(server), patient), unavailable(/self-signed certificate/));
    for (const { closed } of server.visits) await closed;
    assert.deepEqual(asked, []);
  });

  test(`${version}: who has another name gets no request, not even with a session`, async (t) => {
    trustTestCertificate(t);
    const asked: string[] = [];
    await using server = await echoing(asked, version, '127.0.0.1');
    const client = new HttpClient();
    for (const _ of ['at first', 'again'])
      await assert.rejects(client.send(get(server), patient), unavailable(/does not match certificate/));
    for (const { closed } of server.visits) await closed;
    assert.deepEqual(asked, []);
  });

  test(`${version}: a connection that ends without a word does not end a body`, async (t) => {
    trustTestCertificate(t);
    for (const framing of [
      'Content-Length: 5\r\n\r\nhe',
      'Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n',
    ]) {
      await using server = await startRawServer(
        async ({ next, socket }) => {
          await next();
          socket.write(`HTTP/1.1 200 OK\r\n${framing}`, () => socket.destroy());
        },
        { tls: { ...testCertificate, maxVersion: version }, hostInOrigin: 'localhost' },
      );
      const read = async () => bytesOf(await new HttpClient().send(get(server), patient), patient);
      await assert.rejects(read, unavailable(/broke off/));
    }
  });
}

test('what a server sends unasked over TLS is nobody’s answer', async (t) => {
  trustTestCertificate(t);
  await using server = await echoing([]);
  const client = new HttpClient();
  assert.equal(await text(client, get(server, '/a')), '/a');
  server.visits[0]!.socket.write('HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged');
  await server.visits[0]!.closed;
  assert.equal(await text(client, get(server, '/b')), '/b');
  await client.close();
});

test('a session is forgotten when a connection with it does not come about', async (t) => {
  trustTestCertificate(t);
  const reused: boolean[] = [];
  const secure = createTlsServer(testCertificate, (socket) => {
    reused.push(socket.isSessionReused());
    socket.on('error', () => {});
    socket.on('data', () =>
      socket.end('HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi'),
    );
  });
  const arrived: Socket[] = [];
  const server = createServer((socket) => {
    if (arrived.push(socket) === 2) socket.resetAndDestroy();
    else secure.emit('connection', socket);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const origin = `https://localhost:${(server.address() as { port: number }).port}`;
  const client = new HttpClient();
  assert.equal(await text(client, get({ origin })), 'hi');
  await assert.rejects(client.send(get({ origin }), patient), unavailable(/./));
  assert.equal(await text(client, get({ origin })), 'hi');
  assert.deepEqual(reused, [false, false]);
});

test('a server that speaks no TLS is no store', async () => {
  await using server = await startRawServer(({ socket }) => void socket.write('HTTP/1.1 400 Bad\r\n\r\n'));
  const origin = server.origin.replace('http:', 'https:');
  await assert.rejects(new HttpClient().send(get({ origin }), patient), unavailable(/failed/));
  await server.visits[0]!.closed;
});

for (const tls of [undefined, testCertificate]) {
  test(`an IPv6 address in brackets${tls ? ', with TLS' : ''}`, async (t) => {
    if (tls) trustTestCertificate(t);
    const serve = async ({ next, socket }: Parameters<Parameters<typeof startRawServer>[0]>[0]) => {
      const { head } = (await next())!;
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${head.length}\r\n\r\n${head}`);
    };
    const started = await startRawServer(serve, { host: '::1', ...(tls ? { tls } : {}) }).catch(String);
    if (typeof started === 'string') return t.skip(`no IPv6 here: ${started}`);
    await using server = started;
    const client = new HttpClient();
    assert.ok((await text(client, get(server))).includes(`\r\nhost: [::1]:${server.port}\r\n`));
    await client.close();
  });
}
