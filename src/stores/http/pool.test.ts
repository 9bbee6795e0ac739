import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { getEventListeners, once } from 'node:events';
import { test } from 'node:test';
import { type RawServer, startRawServer, type Visit } from '../../../test/servers/raw-http.ts';
import { StoreFailure } from '../../model/failure.ts';
import { bytesOf, HttpClient, type HttpRequest, textOf } from './send.ts';

const patient = new AbortController().signal;
const get = ({ origin }: { readonly origin: string }, changes: Partial<HttpRequest> = {}): HttpRequest => ({
  method: 'GET',
  origin,
  path: '/',
  headers: {},
  ...changes,
});
const ok = (body: string, headers = '') =>
  `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n${headers}\r\n${body}`;
const text = async (client: HttpClient, request: HttpRequest) =>
  textOf(await client.send(request, patient), patient);
const never = 2 ** 31 - 1;
const isUnavailable = (error: unknown) => error instanceof StoreFailure && error.code === 'unavailable';

/** Answers every request with its own path. */
const echoing = (headers = ''): Promise<RawServer> =>
  startRawServer(async ({ next, socket }) => {
    for (let asked = await next(); asked; asked = await next()) socket.write(ok(asked.path, headers));
  });

test('requests after each other share one connection', async () => {
  await using server = await echoing();
  const client = new HttpClient();
  for (const path of ['/a', '/b', '/c']) assert.equal(await text(client, get(server, { path })), path);
  assert.equal(server.visits.length, 1);
  await client.close();
});

test('there are never more connections than settled, and who asks first is served first', async () => {
  const served: string[] = [];
  const waiting: (() => void)[] = [];
  await using server = await startRawServer(async ({ next, socket }) => {
    for (let asked = await next(); asked; asked = await next()) {
      const { path } = asked;
      served.push(path);
      waiting.push(() => socket.write(ok(path)));
      if (waiting.length === 4) waiting.shift()!();
      if (served.length === 22) for (const answer of waiting.splice(0)) answer();
    }
  });
  const client = new HttpClient({ maxConnections: 4 });
  const paths = Array.from({ length: 22 }, (_, nth) => `/${nth}`);
  const abort = new AbortController();
  const answers = paths.map(async (path) =>
    textOf(await client.send(get(server, { path }), abort.signal), patient),
  );
  assert.deepEqual(await Promise.all(answers), paths);
  assert.equal(server.visits.length, 4);
  assert.deepEqual(served.slice(4), paths.slice(4));
  assert.equal(getEventListeners(abort.signal, 'abort').length, 0);
  await client.close();
});

test('aborted while it waits for a connection, a request rejects and loses only its own turn', async () => {
  const { promise: answered, resolve: answer } = Promise.withResolvers<void>();
  await using server = await startRawServer(async ({ next, socket }) => {
    for (let asked = await next(); asked; asked = await next()) {
      if (asked.path === '/first') await answered;
      socket.write(ok(asked.path));
    }
  });
  const client = new HttpClient({ maxConnections: 1 });
  const first = text(client, get(server, { path: '/first' }));
  const abort = new AbortController();
  const second = client.send(get(server, { path: '/second' }), abort.signal);
  const third = text(client, get(server, { path: '/third' }));
  const reason = new Error('enough');
  abort.abort(reason);
  await assert.rejects(second, (error) => error === reason);
  answer();
  assert.deepEqual(await Promise.all([first, third]), ['/first', '/third']);
  assert.equal(server.visits.length, 1);
  await client.close();
});

test('aborted in the moment it gets its turn, a request is not sent', async () => {
  const paths: string[] = [];
  const { promise: firstCame, resolve: cameFirst } = Promise.withResolvers<void>();
  await using server = await startRawServer(async ({ next, socket }) => {
    for (let asked = await next(); asked; asked = await next()) {
      paths.push(asked.path);
      if (asked.path === '/first') cameFirst();
      else socket.write(ok(asked.path));
    }
  });
  const client = new HttpClient({ maxConnections: 1 });
  const [one, two] = [new AbortController(), new AbortController()];
  const reason = new Error('enough');
  const first = assert.rejects(client.send(get(server, { path: '/first' }), one.signal));
  const second = assert.rejects(
    client.send(get(server, { path: '/second' }), two.signal),
    (e) => e === reason,
  );
  await firstCame;
  one.abort();
  two.abort(reason);
  await Promise.all([first, second]);
  assert.equal(await text(client, get(server, { path: '/third' })), '/third');
  assert.deepEqual(paths, ['/first', '/third']);
  await client.close();
});

test('a connection that breaks gives its place to who waits', async () => {
  await using server = await startRawServer(async ({ next, socket, nth }) => {
    const asked = await next();
    if (nth === 1) socket.resetAndDestroy();
    else socket.write(ok(asked!.path));
  });
  const client = new HttpClient({ maxConnections: 1 });
  const first = text(client, get(server, { path: '/first' }));
  const second = text(client, get(server, { path: '/second' }));
  await assert.rejects(first, isUnavailable);
  assert.equal(await second, '/second');
  await client.close();
});

test('a request that cannot be sent takes no connection', async () => {
  await using server = await echoing();
  const client = new HttpClient({ maxConnections: 1 });
  for (let round = 0; round < 3; round++) {
    const bad = client.send(get(server, { headers: { 'x-meta': 'a\r\nx-other: b' } }), patient);
    await assert.rejects(bad, (error) => error instanceof StoreFailure && error.code === 'invalid');
  }
  assert.equal(server.visits.length, 0);
  assert.equal(await text(client, get(server, { path: '/a' })), '/a');
  await client.close();
});

/** Whether a connection used once before dies at a request, after `said`, and how often. */
function staleServer(said: string, deaths: number, asked: string[]): Promise<RawServer> {
  let left = deaths;
  return startRawServer(async (visit: Visit) => {
    for (let used = 0; ; used++) {
      const request = await visit.next();
      if (!request) return;
      asked.push(request.method);
      if (used === 0 && left === deaths) visit.socket.write(ok('first'));
      else if (left-- > 0) return void visit.socket.end(said);
      else visit.socket.write(ok(''));
    }
  });
}

for (const method of ['GET', 'HEAD'] as const) {
  test(`${method} is asked once more when the server closed the connection it was sent on`, async () => {
    const asked: string[] = [];
    await using server = await staleServer('', 1, asked);
    const client = new HttpClient();
    await text(client, get(server));
    assert.equal((await client.send(get(server, { method }), patient)).status, 200);
    assert.deepEqual(asked, ['GET', method, method]);
    assert.equal(server.visits.length, 2);
    await client.close();
  });

  test(`${method} is asked no more than twice`, async () => {
    const asked: string[] = [];
    await using server = await staleServer('', 9, asked);
    const client = new HttpClient();
    await text(client, get(server));
    await assert.rejects(client.send(get(server, { method }), patient), isUnavailable);
    assert.deepEqual(asked, ['GET', method, method]);
  });

  test(`${method} whose answer had begun is not asked again`, async () => {
    const asked: string[] = [];
    await using server = await staleServer('HTTP/1.1 200', 1, asked);
    const client = new HttpClient();
    await text(client, get(server));
    await assert.rejects(client.send(get(server, { method }), patient), isUnavailable);
    assert.deepEqual(asked, ['GET', method]);
  });
}

for (const method of ['PUT', 'POST', 'DELETE', 'PATCH'] as const) {
  test(`${method} is never sent twice`, async () => {
    const asked: string[] = [];
    await using server = await staleServer('', 1, asked);
    const client = new HttpClient();
    await text(client, get(server));
    await assert.rejects(client.send(get(server, { method, body: 'x' }), patient), isUnavailable);
    assert.deepEqual(asked, ['GET', method]);
  });
}

test('a first request is not sent twice, whatever it is', async () => {
  await using server = await startRawServer(async ({ next, socket }) => {
    await next();
    socket.end();
  });
  await assert.rejects(new HttpClient().send(get(server), patient), isUnavailable);
  assert.equal(server.visits.length, 1);
});

test('what a server sends unasked is nobody’s answer', { timeout: 30_000 }, async () => {
  await using server = await echoing();
  const client = new HttpClient({ idleTimeoutMs: never });
  await text(client, get(server, { path: '/a' }));
  server.visits[0]!.socket.write(ok('forged'));
  await server.visits[0]!.closed;
  assert.equal(await text(client, get(server, { path: '/b' })), '/b');
  assert.equal(server.visits.length, 2);
  await client.close();
});

test('a connection that the server closes while it is idle is not used again', async () => {
  await using server = await echoing();
  const client = new HttpClient();
  await text(client, get(server));
  server.visits[0]!.socket.end();
  await server.visits[0]!.closed;
  assert.equal(await text(client, get(server, { method: 'PUT', path: '/b' })), '/b');
  assert.equal(server.visits.length, 2);
  await client.close();
});

test('an idle connection is closed after its time', async () => {
  await using server = await echoing();
  const client = new HttpClient({ idleTimeoutMs: 30 });
  await text(client, get(server));
  await server.visits[0]!.closed;
});

test('an idle connection is closed before the time that the server tells', { timeout: 30_000 }, async () => {
  await using server = await echoing('Keep-Alive: max=9, timeout=2\r\n');
  const client = new HttpClient({ idleTimeoutMs: never });
  assert.equal(await text(client, get(server, { path: '/a' })), '/a');
  await server.visits[0]!.closed;
});

test('within the time that the server tells a connection is used again', async () => {
  await using server = await echoing('Keep-Alive: timeout=600\r\n');
  const client = new HttpClient({ idleTimeoutMs: never });
  for (const path of ['/a', '/b']) assert.equal(await text(client, get(server, { path })), path);
  assert.equal(server.visits.length, 1);
  await client.close();
});

for (const seconds of [0, 1]) {
  test(`a connection that the server keeps for ${seconds} s is not used again`, async () => {
    await using server = await echoing(`Keep-Alive: timeout=${seconds}\r\n`);
    const client = new HttpClient({ idleTimeoutMs: never });
    for (const path of ['/a', '/b']) assert.equal(await text(client, get(server, { path })), path);
    assert.equal(server.visits.length, 2);
    for (const { closed } of server.visits) await closed;
  });
}

test('closing ends what is under way, what waits, and what comes later', async () => {
  const { promise: bothAsked, resolve: asked } = Promise.withResolvers<void>();
  const headOnly = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe';
  await using server = await startRawServer(async ({ next, socket, nth }) => {
    const request = await next();
    if (request?.path === '/body') socket.write(headOnly);
    if (nth === 2) asked();
  });
  const client = new HttpClient({ maxConnections: 2 });
  const reading = bytesOf(await client.send(get(server, { path: '/body' }), patient), patient);
  const sending = client.send(get(server), patient);
  const waiting = client.send(get(server), patient);
  await bothAsked;
  const ends = [reading, sending, waiting].map((end) => assert.rejects(end, isUnavailable));
  await client.close();
  await Promise.all(ends);
  await assert.rejects(client.send(get(server), patient), isUnavailable);
  await assert.rejects(client.send(get({ origin: 'http://127.0.0.1:9' }), patient), /client is closed/);
  for (const { closed } of server.visits) await closed;
  assert.equal(server.visits.length, 2);
});

test('many requests of one signal warn of nothing', async () => {
  await using server = await echoing();
  const client = new HttpClient();
  const warnings: Error[] = [];
  const warned = (warning: Error) => warnings.push(warning);
  process.on('warning', warned);
  await Promise.all(Array.from({ length: 100 }, () => text(client, get(server))));
  await new Promise((resolve) => setImmediate(resolve));
  process.off('warning', warned);
  assert.deepEqual(warnings, []);
  await client.close();
});

const clientModule = JSON.stringify(new URL('./send.ts', import.meta.url).href);

/** A process with a client that never closes its connections, nor waits for their idle time. */
async function runChild(origin: string, body: string): Promise<{ code: unknown; out: string }> {
  const script = `
    const { HttpClient, textOf } = await import(${clientModule});
    const signal = new AbortController().signal;
    const client = new HttpClient({ idleTimeoutMs: ${never}, silenceTimeoutMs: ${never} });
    const text = async (path) =>
      textOf(await client.send({ method: 'GET', origin: '${origin}', path, headers: {} }, signal), signal);
    ${body}`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (piece: string) => {
    out += piece;
  });
  const [code] = await once(child, 'close');
  return { code, out };
}

test('a process ends although it has idle connections', { timeout: 30_000 }, async () => {
  await using server = await echoing();
  const { code, out } = await runChild(server.origin, "console.log(await text('/a'), await text('/b'))");
  assert.deepEqual({ code, out }, { code: 0, out: '/a /b\n' });
  assert.equal(server.visits.length, 1);
});

test('a process does not end while a request is under way on a connection used before', async () => {
  await using server = await startRawServer(async ({ next, socket }) => {
    for (let asked = await next(); asked; asked = await next()) {
      const { path } = asked;
      setTimeout(() => socket.write(ok(path)), 200);
    }
  });
  const { code, out } = await runChild(server.origin, "console.log(await text('/a'), await text('/b'))");
  assert.deepEqual({ code, out }, { code: 0, out: '/a /b\n' });
  assert.equal(server.visits.length, 1);
});
