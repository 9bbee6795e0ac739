import assert from 'node:assert/strict';
import { createHash, randomBytes, randomInt } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { testCertificate, trustTestCertificate } from '../../../test/servers/certificate.ts';
import { type RawServer, startRawServer } from '../../../test/servers/raw-http.ts';
import { bytesOf, type HttpAnswer, HttpClient, piecesOf, textOf } from './send.ts';

const patient = new AbortController().signal;
const mebibyte = 1024 * 1024;
const content = randomBytes(64 * mebibyte);

type Framing = 'sized' | 'chunked' | 'until-close';

async function write(socket: Socket, bytes: Uint8Array | string): Promise<void> {
  if (!socket.write(bytes)) await once(socket, 'drain');
}

/** Sends `bytes` in random portions: chunks of the body, writes, or both. */
async function sendBody(socket: Socket, framing: Framing, bytes: Uint8Array, most: number): Promise<void> {
  const told = {
    sized: `Content-Length: ${bytes.length}\r\n`,
    chunked: 'Transfer-Encoding: chunked\r\n',
    'until-close': '',
  };
  socket.write(`HTTP/1.1 200 OK\r\n${told[framing]}\r\n`);
  for (let at = 0; at < bytes.length; ) {
    const portion = bytes.subarray(at, at + randomInt(1, most));
    at += portion.length;
    if (framing === 'chunked') socket.write(`${portion.length.toString(16)};n=${at}\r\n`);
    await write(socket, portion);
    if (framing === 'chunked') socket.write('\r\n');
  }
  if (framing === 'chunked') socket.write('0\r\n\r\n');
  if (framing === 'until-close') socket.end();
}

/** `/framing/from/to/most` of `content`. */
const contentServer = (tls?: typeof testCertificate): Promise<RawServer> =>
  startRawServer(
    async ({ next, socket }) => {
      for (let asked = await next(); asked; asked = await next()) {
        const [, framing, from, to, most] = asked.path.split('/');
        await sendBody(socket, framing as Framing, content.subarray(Number(from), Number(to)), Number(most));
      }
    },
    tls ? { tls, hostInOrigin: 'localhost' } : {},
  );

const readers: readonly ((answer: HttpAnswer, length: number) => Promise<Uint8Array>)[] = [
  (answer) => bytesOf(answer, patient),
  (answer, length) => bytesOf(answer, patient, new Uint8Array(length + 10)),
  async (answer) => Buffer.concat(await Array.fromAsync(piecesOf(answer, patient))),
  async (answer) => {
    const pieces: Uint8Array[] = [];
    for await (const piece of piecesOf(answer, patient)) {
      pieces.push(piece);
      await new Promise((resolve) => setImmediate(resolve));
    }
    return Buffer.concat(pieces);
  },
];

async function readAndCompare(
  client: HttpClient,
  origin: string,
  nth: number,
  length: number,
): Promise<void> {
  const from = randomInt(0, content.length - length + 1);
  const framing = (['sized', 'chunked', 'sized', 'until-close'] as const)[nth % 4]!;
  const most = length > 4 * mebibyte ? 300_000 : [10_000, 70_000, 200_000][nth % 3]!;
  const path = `/${framing}/${from}/${from + length}/${most}`;
  const answer = await client.send({ method: 'GET', origin, path, headers: {} }, patient);
  const read = readers[Math.floor(nth / 4) % readers.length]!;
  const bytes = await read(answer, length);
  assert.ok(content.subarray(from, from + length).equals(bytes), `${path}, reader ${read}`);
}

test('64 bodies at once, of any length and framing, are what was sent', async () => {
  await using server = await contentServer();
  const client = new HttpClient({ maxConnections: 24 });
  const lengths = Array.from({ length: 64 }, (_, nth) => (nth < 4 ? nth : randomInt(0, mebibyte)));
  for (const round of [0, 1])
    await Promise.all(
      lengths.map((length, nth) => readAndCompare(client, server.origin, nth + round, length)),
    );
  assert.ok(server.visits.length >= 24);
  await client.close();
});

test('bodies of 64 MiB are what was sent, whole and in pieces', async () => {
  await using server = await contentServer();
  const client = new HttpClient();
  for (const nth of [0, 4, 8, 12, 1, 9]) await readAndCompare(client, server.origin, nth, content.length);
  await client.close();
});

test('a sized body is read into the memory that is handed in, and no further', async () => {
  await using server = await contentServer();
  const client = new HttpClient();
  for (const length of [0, 1, 40_000, 300_000]) {
    const path = `/sized/0/${length}/100000`;
    const memory = Buffer.alloc(length + 200, 7);
    const answer = await client.send({ method: 'GET', origin: server.origin, path, headers: {} }, patient);
    const bytes = await bytesOf(answer, patient, memory.subarray(100));
    assert.ok(content.subarray(0, length).equals(bytes));
    if (length > 32 * 1024) assert.equal(bytes.buffer, memory.buffer);
    assert.ok(memory.subarray(0, 100).every((byte) => byte === 7));
    assert.ok(memory.subarray(100 + length).every((byte) => byte === 7));
  }
  await client.close();
});

test('memory that is too short for a body is left alone', async () => {
  await using server = await contentServer();
  const client = new HttpClient();
  const request = { method: 'GET', origin: server.origin, path: '/sized/0/90000/9000', headers: {} } as const;
  const memory = new Uint8Array(89_999);
  assert.ok(
    content.subarray(0, 90_000).equals(await bytesOf(await client.send(request, patient), patient, memory)),
  );
  assert.ok(memory.every((byte) => byte === 0));
  await client.close();
});

const digestOf = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

for (const [name, tls] of Object.entries({ plain: undefined, 'over TLS': testCertificate })) {
  test(`bodies that are read late have all that came meanwhile, ${name}`, async (t) => {
    if (tls) trustTestCertificate(t);
    await using server = await contentServer(tls);
    const client = new HttpClient();
    // Several records of TLS, which come out of one packet.
    for (const length of [20_000, 40_000, 300_000]) {
      for (const framing of ['sized', 'chunked']) {
        for (const read of readers) {
          const path = `/${framing}/0/${length}/${length + 1}`;
          const answer = await client.send(
            { method: 'GET', origin: server.origin, path, headers: {} },
            patient,
          );
          await new Promise((resolve) => setTimeout(resolve, 10));
          assert.ok(content.subarray(0, length).equals(await read(answer, length)));
        }
      }
    }
    assert.equal(server.visits.length, 1);
    await client.close();
  });

  test(`request bodies arrive as they are, ${name}`, async (t) => {
    if (tls) trustTestCertificate(t);
    await using server = await startRawServer(
      async ({ next, socket }) => {
        for (let asked = await next(); asked; asked = await next()) {
          const digest = digestOf(asked.body);
          socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${digest.length}\r\n\r\n${digest}`);
        }
      },
      tls ? { tls, hostInOrigin: 'localhost' } : {},
    );
    const client = new HttpClient({ maxConnections: 3 });
    const lengths = [0, 1, 32 * 1024, 32 * 1024 + 1, 70_000, 5 * mebibyte];
    const put = async (length: number) => {
      const body = content.subarray(9, 9 + length);
      const request = { method: 'PUT', origin: server.origin, path: '/', headers: {}, body } as const;
      assert.equal(await textOf(await client.send(request, patient), patient), digestOf(body));
    };
    await Promise.all([...lengths, ...lengths].map(put));
    assert.equal(server.visits.length, 3);
    await client.close();
  });
}

test('bodies over TLS are what was sent', async (t) => {
  trustTestCertificate(t);
  await using server = await contentServer(testCertificate);
  const client = new HttpClient({ maxConnections: 8 });
  const lengths = Array.from({ length: 32 }, (_, nth) => (nth < 4 ? nth : randomInt(0, mebibyte)));
  await Promise.all(lengths.map((length, nth) => readAndCompare(client, server.origin, nth, length)));
  for (const nth of [0, 8]) await readAndCompare(client, server.origin, nth, 16 * mebibyte);
  await client.close();
});
