import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testCertificate, trustTestCertificate } from '../../../test/servers/certificate.ts';
import {
  cut,
  type RawServer,
  startRawServer,
  type Visit,
  writeInPieces,
} from '../../../test/servers/raw-http.ts';
import { StoreFailure } from '../../model/failure.ts';
import { bytesOf, type HttpAnswer, HttpClient, type HttpRequest, piecesOf } from './send.ts';

interface Sample {
  readonly wire: string;
  readonly method?: HttpRequest['method'];
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string;
  /** Where the body is whole only when the server closes. */
  readonly untilClose?: true;
  readonly once?: true;
}

const samples: Readonly<Record<string, Sample>> = {
  sized: {
    wire: 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: "a"\r\n\r\nhello',
    status: 200,
    headers: { 'content-length': '5', etag: '"a"' },
    body: 'hello',
  },
  empty: { wire: 'HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n', status: 404, body: '' },
  'a range': { wire: 'HTTP/1.1 206 Part\r\nContent-Length: 2\r\n\r\nhi', status: 206, body: 'hi' },
  'no reason': { wire: 'HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi', status: 200, body: 'hi' },
  chunked: {
    wire: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nSum: 1\r\n\r\n',
    status: 200,
    body: 'hello',
  },
  'chunked and empty': {
    wire: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    status: 200,
    body: '',
  },
  'a body like an answer': {
    wire: 'HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\nHTTP/1.1 200 OK\r\n\r\n',
    status: 200,
    body: 'HTTP/1.1 200 OK\r\n\r\n',
  },
  'until the end': { wire: 'HTTP/1.1 200 OK\r\n\r\nhello', status: 200, body: 'hello', untilClose: true },
  'HTTP/1.0 until the end': {
    wire: 'HTTP/1.0 200 OK\r\n\r\nhello',
    status: 200,
    body: 'hello',
    untilClose: true,
  },
  'HTTP/1.0 with a length': {
    wire: 'HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi',
    status: 200,
    body: 'hi',
    once: true,
  },
  'HTTP/1.0 kept alive': {
    wire: 'HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi',
    status: 200,
    body: 'hi',
  },
  'the last of its connection': {
    wire: 'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi',
    status: 200,
    body: 'hi',
    once: true,
  },
  HEAD: {
    wire: 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n',
    method: 'HEAD',
    status: 200,
    headers: { 'content-length': '5' },
    body: '',
  },
  'HEAD of chunks': {
    wire: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
    method: 'HEAD',
    status: 200,
    body: '',
  },
  'no content': { wire: 'HTTP/1.1 204 No Content\r\n\r\n', method: 'DELETE', status: 204, body: '' },
  'not modified': { wire: 'HTTP/1.1 304 Same\r\nContent-Length: 5\r\n\r\n', status: 304, body: '' },
  'interim answers first': {
    wire: 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi',
    method: 'PUT',
    status: 200,
    headers: { 'content-length': '2' },
    body: 'hi',
  },
  'Latin-1': {
    wire: 'HTTP/1.1 200 caf\xe9\r\nX: \xe9\xa0\r\nContent-Length: 1\r\n\r\n\xff',
    status: 200,
    headers: { x: '\xe9\xa0', 'content-length': '1' },
    body: '\xff',
  },
};

const patient = new AbortController().signal;
const bytesOfWire = (sample: Sample) => Buffer.from(sample.wire, 'latin1');
const headBytes = (sample: Sample) => sample.wire.lastIndexOf('\r\n\r\nh') + 4;

const ask = (server: RawServer, { method = 'GET' }: Sample) =>
  ({ method, origin: server.origin, path: '/', headers: {} }) as const;

/** Answers each request with the next list of pieces, each read by itself, or of TLS several records at once. */
function answering(sample: Sample, plans: Iterator<Uint8Array[]>, inBursts: boolean) {
  return async (visit: Visit) => {
    while (await visit.next()) {
      const plan = plans.next();
      if (plan.done) throw new Error('asked more often than planned');
      if (inBursts) for (const piece of plan.value) visit.socket.write(piece);
      else await writeInPieces(visit.socket, plan.value);
      if (sample.untilClose) visit.socket.end();
    }
  };
}

const aTurn = () => new Promise((resolve) => setImmediate(resolve));
const overTls = { tls: testCertificate, hostInOrigin: 'localhost' };
const ways: Readonly<Record<string, { readonly inBursts: boolean; readonly tls: boolean }>> = {
  'in pieces': { inBursts: false, tls: false },
  'in pieces over TLS': { inBursts: false, tls: true },
  'in bursts over TLS': { inBursts: true, tls: true },
};

function everyCut(bytes: Uint8Array): Uint8Array[][] {
  const positions = Array.from({ length: bytes.length - 1 }, (_, at) => at + 1);
  return [[bytes], cut(bytes, positions), ...positions.map((at) => cut(bytes, [at]))];
}

const readers: readonly ((answer: HttpAnswer) => Promise<Uint8Array>)[] = [
  (answer) => bytesOf(answer, patient),
  (answer) => bytesOf(answer, patient, new Uint8Array(1_000)),
  async (answer) => Buffer.concat(await Array.fromAsync(piecesOf(answer, patient))),
];

for (const [what, sample] of Object.entries(samples)) {
  for (const [way, { inBursts, tls }] of Object.entries(ways)) {
    test(`an answer, ${what}, is the same however its bytes arrive, ${way}`, async (t) => {
      if (tls) trustTestCertificate(t);
      const plans = everyCut(bytesOfWire(sample));
      await using server = await startRawServer(
        answering(sample, plans.values(), inBursts),
        tls ? overTls : {},
      );
      const client = new HttpClient();
      for (const [round] of plans.entries()) {
        const answer = await client.send(ask(server, sample), patient);
        assert.equal(answer.status, sample.status);
        if (sample.headers) assert.deepEqual({ ...answer.headers }, sample.headers);
        if (round % 2 === 0) await aTurn();
        const body = await readers[round % 3]!(answer);
        assert.equal(Buffer.from(body).toString('latin1'), sample.body, `plan ${round}`);
      }
      assert.equal(server.visits.length, sample.untilClose || sample.once ? plans.length : 1);
      await client.close();
    });
  }

  for (const [end, isReset] of [
    ['ends', false],
    ['is reset', true],
  ] as const) {
    test(`an answer, ${what}, whose connection ${end} before it is whole, is not taken for whole`, async () => {
      const bytes = bytesOfWire(sample);
      let length = 0;
      await using server = await startRawServer(async (visit) => {
        await visit.next();
        await writeInPieces(visit.socket, length === 0 ? [] : [bytes.subarray(0, length)]);
        if (isReset) visit.socket.resetAndDestroy();
        else visit.socket.end();
      });
      const client = new HttpClient();
      // Where only the end of the connection tells, a reset one must tell otherwise even then.
      const checked = !sample.untilClose ? bytes.length : isReset ? bytes.length + 1 : headBytes(sample);
      for (; length < checked; length++) {
        const inPieces = length % 2 === 0;
        await assert.rejects(
          async () => {
            const answer = await client.send(ask(server, sample), patient);
            if (inPieces) await Array.fromAsync(piecesOf(answer, patient));
            else await bytesOf(answer, patient);
          },
          (error) => error instanceof StoreFailure && error.code === 'unavailable',
          `after ${length} bytes`,
        );
      }
      await client.close();
    });
  }
}

const refused: Readonly<Record<string, readonly [wire: string, why: RegExp]>> = {
  'no HTTP': ['220 mail.test ESMTP\r\n\r\n', /not HTTP/],
  'a folded header': ['HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n', /malformed header/],
  'a bare LF': ['HTTP/1.1 200 OK\r\nX: a\nContent-Length: 0\r\n\r\n', /malformed header/],
  'length and chunks': [
    'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    /two ways/,
  ],
  'two lengths': [
    'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello',
    /no valid length/,
  ],
  'another protocol': ['HTTP/1.1 101 Go\r\nUpgrade: websocket\r\n\r\n', /switched protocols/],
  'a bad chunk': [
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n',
    /longer than its/,
  ],
  'a bad later chunk': [
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\nx\r\n',
    /without a size/,
  ],
  'an endless head': [`HTTP/1.1 200 OK\r\nX: ${'a'.repeat(100_000)}`, /too long a head/],
  'a head of endless headers': [`HTTP/1.1 200 OK\r\n${'X: a\r\n'.repeat(17_000)}`, /too long a head/],
  'endless interim answers': ['HTTP/1.1 102 Wait\r\n\r\n'.repeat(5_000), /too long a head/],
  'more than fits into memory': ['HTTP/1.1 200 OK\r\nContent-Length: 999999999999999\r\n\r\n', /announces/],
};

for (const [what, [wire, why]] of Object.entries(refused)) {
  test(`an answer with ${what} is refused, and its connection closed`, async () => {
    await using server = await startRawServer(async (visit) => {
      await visit.next();
      await writeInPieces(visit.socket, [Buffer.from(wire, 'latin1')]);
    });
    const client = new HttpClient();
    const read = async () => bytesOf(await client.send(ask(server, samples['sized']!), patient), patient);
    await assert.rejects(read, (error) => {
      assert.ok(error instanceof StoreFailure);
      assert.equal(error.code, 'unavailable');
      assert.match(error.message, why);
      return true;
    });
    await server.visits[0]!.closed;
  });
}

const tooLong: Readonly<
  Record<string, readonly [method: HttpRequest['method'], wire: string, body: string]>
> = {
  'a sized one': ['GET', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi', 'hi'],
  'an empty one': ['GET', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', ''],
  'a chunked one': ['GET', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n', 'hi'],
  'one to HEAD': ['HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n', ''],
  'one without content': ['DELETE', 'HTTP/1.1 204 No\r\n\r\n', ''],
  'one not modified': ['GET', 'HTTP/1.1 304 Same\r\n\r\n', ''],
};

for (const [what, [method, wire, body]] of Object.entries(tooLong)) {
  test(`what follows an answer, ${what}, is nobody's answer`, async () => {
    const forged = 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged';
    await using server = await startRawServer(async (visit) => {
      await visit.next();
      visit.socket.write(wire + (visit.nth === 1 ? forged : ''));
    });
    const client = new HttpClient();
    for (const _ of ['with the forged one behind it', 'the next']) {
      const answer = await client.send({ ...ask(server, { wire, status: 0, body, method }) }, patient);
      assert.equal(Buffer.from(await bytesOf(answer, patient)).toString(), body);
    }
    await server.visits[0]!.closed;
    assert.equal(server.visits.length, 2);
    await client.close();
  });
}
