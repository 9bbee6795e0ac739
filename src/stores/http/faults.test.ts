import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { getEventListeners, once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { testCertificate, trustTestCertificate } from '../../../test/servers/certificate.ts';
import { type RawServer, startRawServer, type Visit } from '../../../test/servers/raw-http.ts';
import { StoreFailure } from '../../model/failure.ts';
import { bytesOf, HttpClient, type HttpRequest, piecesOf } from './send.ts';

const patient = new AbortController().signal;
const get = ({ origin }: { readonly origin: string }, changes: Partial<HttpRequest> = {}): HttpRequest => ({
  method: 'GET',
  origin,
  path: '/',
  headers: {},
  ...changes,
});

/** A server that says `wire` after each request, and then nothing more. */
const saying = (wire: string): Promise<RawServer> =>
  startRawServer(async ({ next, socket }) => {
    while (await next()) socket.write(wire);
  });

const unavailable = (why: RegExp) => (error: unknown) => {
  assert.ok(error instanceof StoreFailure, String(error));
  assert.equal(error.code, 'unavailable');
  assert.match(error.message, why);
  return true;
};

const silences: Readonly<Record<string, readonly [wire: string, why: RegExp]>> = {
  'before the head': ['', /no answer within the time limit/],
  'in the head': ['HTTP/1.1 200 OK\r\nContent-', /no answer within the time limit/],
  'after an interim answer': ['HTTP/1.1 100 Continue\r\n\r\n', /no answer within the time limit/],
  'before a sized body': ['HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n', /the answer stalled/],
  'in a sized body': ['HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe', /the answer stalled/],
  'in a chunk': ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe', /the answer stalled/],
  'before the last chunk': [
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n',
    /the answer stalled/,
  ],
  'before the last blank line': [
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n',
    /the answer stalled/,
  ],
  'in a body until the end': ['HTTP/1.1 200 OK\r\n\r\nhe', /the answer stalled/],
};

// Long enough that nobody here is taken for silent who is only slow; so all wait at once.
const silenceTimeoutMs = 1_000;

test('a server that falls silent is given up', { concurrency: true }, async (t) => {
  const given = (when: string, wire: string, why: RegExp, inPieces: boolean) =>
    t.test(`${when}${inPieces ? ', in pieces' : ''}`, async () => {
      await using server = await saying(wire);
      const client = new HttpClient({ silenceTimeoutMs });
      const read = async () => {
        const answer = await client.send(get(server), patient);
        return inPieces ? await Array.fromAsync(piecesOf(answer, patient)) : await bytesOf(answer, patient);
      };
      await assert.rejects(read, unavailable(why));
      await server.visits[0]!.closed;
    });
  const usedBefore = t.test('on a connection used before', async () => {
    await using server = await startRawServer(async ({ next, socket }) => {
      await next();
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi');
    });
    const client = new HttpClient({ silenceTimeoutMs, idleTimeoutMs: 1_000_000 });
    await bytesOf(await client.send(get(server), patient), patient);
    await assert.rejects(client.send(get(server), patient), unavailable(/no answer within the time limit/));
    assert.equal(server.visits.length, 1);
  });
  const handshake = t.test('in the handshake of TLS', async () => {
    await using server = await saying('');
    const origin = server.origin.replace('http:', 'https:');
    const client = new HttpClient({ connectTimeoutMs: silenceTimeoutMs, silenceTimeoutMs: 1_000_000 });
    await assert.rejects(
      client.send(get({ origin }), patient),
      unavailable(/no connection within the time limit/),
    );
    await server.visits[0]!.closed;
  });
  const all = Object.entries(silences).flatMap(([when, [wire, why]]) => [
    given(when, wire, why, false),
    given(when, wire, why, true),
  ]);
  await Promise.all([...all, usedBefore, handshake]);
});

test('the silence of a body that nobody reads is not held against the server', async () => {
  await using server = await saying(`HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n${'a'.repeat(90_000)}`);
  const client = new HttpClient({ silenceTimeoutMs: 500 });
  const answer = await client.send(get(server), patient);
  let length = 0;
  for await (const piece of piecesOf(answer, patient)) {
    if (length === 0) await sleep(1_100);
    length += piece.length;
  }
  assert.equal(length, 90_000);
  await client.close();
});

test('where nobody listens there is no answer', async () => {
  const server = await saying('');
  await server[Symbol.asyncDispose]();
  await assert.rejects(new HttpClient().send(get(server), patient), unavailable(/ECONNREFUSED/));
  await assert.rejects(
    new HttpClient().send(get({ origin: server.origin.replace('127.0.0.1', 'localhost') }), patient),
    unavailable(/ECONNREFUSED/),
  );
});

// Elsewhere a full queue may refuse instead of being silent.
test('a connection that never comes about is given up', { skip: process.platform !== 'linux' }, async (t) => {
  const neverAccepts = `require('net').createServer().listen({ host: '127.0.0.1', port: 0, backlog: 1 }, function () {
    require('fs').writeSync(1, String(this.address().port));
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  })`;
  const child = spawn(process.execPath, ['-e', neverAccepts], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  const port = Number((await once(child.stdout, 'data'))[0]);
  const fillers = Array.from({ length: 8 }, () => connect({ host: '127.0.0.1', port }).on('error', () => {}));
  await Promise.all(fillers.slice(0, 2).map((filler) => once(filler, 'connect')));
  await assert.rejects(
    new HttpClient({ connectTimeoutMs: 200 }).send(get({ origin: `http://127.0.0.1:${port}` }), patient),
    unavailable(/no connection within the time limit/),
  );
  for (const filler of fillers) filler.destroy();
});

test('an early answer is given, and its connection not used again while the request is not sent', async () => {
  const { promise: seen, resolve: wasSeen } = Promise.withResolvers<void>();
  await using server = await startRawServer(async ({ next, socket, nth }) => {
    if (nth === 1) {
      socket.pause();
      socket.write('HTTP/1.1 503 Slow Down\r\nContent-Length: 4\r\n\r\nslow');
      await seen;
      socket.resume();
    } else if (await next()) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
  });
  const client = new HttpClient();
  const body = new Uint8Array(64 * 1024 * 1024);
  const answer = await client.send(get(server, { method: 'PUT', body }), patient);
  assert.equal(answer.status, 503);
  assert.equal(Buffer.from(await bytesOf(answer, patient)).toString(), 'slow');
  const next = await client.send(get(server), patient);
  assert.equal(Buffer.from(await bytesOf(next, patient)).toString(), 'ok');
  assert.equal(server.visits.length, 2);
  wasSeen();
  await server.visits[0]!.closed;
  await client.close();
});

for (const [name, tls] of Object.entries({ plain: undefined, 'over TLS': testCertificate })) {
  test(`a server that reads slowly is not silent, ${name}`, async (t) => {
    if (tls) trustTestCertificate(t);
    const body = new Uint8Array(64 * 1024 * 1024);
    await using server = await startRawServer(
      async ({ socket }) => {
        socket.removeAllListeners('data').pause();
        let read = 0;
        let portion = 0;
        socket.on('data', ({ length }: Buffer) => {
          read += length;
          portion += length;
          if (portion >= 1_000_000) socket.pause();
        });
        while (read < body.length && !socket.destroyed) {
          await sleep(40);
          portion = 0;
          socket.resume();
        }
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
      },
      tls ? { tls, hostInOrigin: 'localhost' } : {},
    );
    // Reading takes more than two silences, and is never as long silent.
    const client = new HttpClient({ silenceTimeoutMs: 900 });
    const answer = await client.send(get(server, { method: 'PUT', body }), patient);
    assert.equal(answer.status, 200);
    await client.close();
  });
}

const sizedHello = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello';
const hugeSized = `HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n${'a'.repeat(1_000)}`;
const hugeChunked = `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n30d40\r\n${'a'.repeat(200_000)}\r\n`;

type Body = Awaited<ReturnType<HttpClient['send']>>['body'];
const waysToLeave: Readonly<Record<string, (body: Body) => Promise<void> | void>> = {
  dump: (body) => body.dump(),
  destroy: (body) => body.destroy(),
  'the end of an iteration': async (body) => {
    for await (const _ of body) break;
  },
  'an error in an iteration': async (body) => {
    await assert.rejects(async () => {
      for await (const _ of body) throw new Error('the disk is full');
    }, /disk is full/);
  },
};

for (const [how, leave] of Object.entries(waysToLeave)) {
  for (const [what, wire] of Object.entries({ sized: hugeSized, chunked: hugeChunked })) {
    test(`a long ${what} body left by ${how} is left with its connection`, async () => {
      await using server = await saying(wire);
      const client = new HttpClient({ maxConnections: 1 });
      const abort = new AbortController();
      for (const nth of [0, 1]) {
        const answer = await client.send(get(server), abort.signal);
        await leave(answer.body);
        await server.visits[nth]!.closed;
      }
      assert.equal(getEventListeners(abort.signal, 'abort').length, 0);
    });
  }
}

test('a short body that is thrown away leaves its connection', async () => {
  await using server = await saying(sizedHello);
  const client = new HttpClient();
  for (let round = 0; round < 5; round++) await (await client.send(get(server), patient)).body.dump();
  assert.equal(server.visits.length, 1);
  await client.close();
});

test('a body that breaks off while it is thrown away is nobody’s failure', async () => {
  await using server = await startRawServer(async ({ next, socket }) => {
    await next();
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe', () => socket.resetAndDestroy());
  });
  const answer = await new HttpClient().send(get(server, { method: 'PUT' }), patient);
  await answer.body.dump();
});

const moments: Readonly<Record<string, string>> = {
  'before the head': '',
  'in the head': 'HTTP/1.1 200 OK\r\nContent-',
  'before the body': 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n',
  'in the body': 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe',
  'in a chunked body': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe',
  'in a body until the end': 'HTTP/1.1 200 OK\r\n\r\nhe',
};

for (const [when, wire] of Object.entries(moments)) {
  for (const [what, reason] of Object.entries({
    error: new Error('enough'),
    value: 'enough',
    nothing: null,
  })) {
    test(`aborted ${when}, a request rejects with the reason, an ${what}, and is closed`, async () => {
      const abort = new AbortController();
      await using server = await startRawServer(async ({ next, socket }: Visit) => {
        await next();
        socket.write(wire);
        setImmediate(() => setImmediate(() => abort.abort(reason)));
      });
      const read = async () => bytesOf(await new HttpClient().send(get(server), abort.signal), abort.signal);
      await assert.rejects(read, (error) => error === reason);
      await server.visits[0]!.closed;
      assert.equal(getEventListeners(abort.signal, 'abort').length, 0);
    });
  }
}

test('aborted before it was sent, a request never leaves', async () => {
  await using server = await saying(sizedHello);
  const reason = new Error('enough');
  await assert.rejects(
    new HttpClient().send(get(server), AbortSignal.abort(reason)),
    (error) => error === reason,
  );
  assert.equal(server.visits.length, 0);
});

test('aborted while it connects, a request rejects with the reason', async () => {
  await using server = await saying('');
  const abort = new AbortController();
  const origin = server.origin.replace('http:', 'https:');
  const sent = new HttpClient().send(get({ origin }), abort.signal);
  const reason = new Error('enough');
  setImmediate(() => abort.abort(reason));
  await assert.rejects(sent, (error) => error === reason);
});

test('aborted while a large body is being sent, a request rejects with the reason', async () => {
  await using server = await startRawServer(({ socket }) => void socket.pause());
  const abort = new AbortController();
  const body = new Uint8Array(64 * 1024 * 1024);
  const sent = new HttpClient().send(get(server, { method: 'PUT', body }), abort.signal);
  const reason = new Error('enough');
  setTimeout(() => abort.abort(reason), 20);
  await assert.rejects(sent, (error) => error === reason);
});

test('aborted after the body is there, a request has its body', async () => {
  await using server = await saying(sizedHello);
  const abort = new AbortController();
  const client = new HttpClient();
  const answer = await client.send(get(server), abort.signal);
  assert.equal(Buffer.from(await bytesOf(answer, abort.signal)).toString(), 'hello');
  abort.abort();
  await (await client.send(get(server), patient)).body.dump();
  assert.equal(server.visits.length, 1);
  await client.close();
});
