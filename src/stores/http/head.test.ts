import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StoreFailure } from '../../model/failure.ts';
import { parseHead, wireRequest } from './head.ts';
import type { HttpRequest } from './send.ts';

const request = (changes: Partial<HttpRequest>): HttpRequest => ({
  method: 'GET',
  origin: 'http://store.test',
  path: '/',
  headers: {},
  ...changes,
});
const head = (...lines: string[]) => lines.join('\r\n');

test('a request is written as it was composed', () => {
  const { head, body } = wireRequest(
    request({ method: 'PUT', path: '/a%20b?c=d', headers: { 'X-Meta': 'caf\xe9' }, body: 'é' }),
    'store.test:81',
  );
  const lines = ['PUT /a%20b?c=d HTTP/1.1', 'X-Meta: caf\xe9', 'host: store.test:81', 'content-length: 2'];
  assert.equal(head, `${lines.join('\r\n')}\r\nconnection: keep-alive\r\n\r\n`);
  assert.deepEqual(body, Buffer.from('é'));
});

test('a signed host or length is not said twice', () => {
  const headers = { Host: 'signed.test', 'Content-Length': '2' };
  const { head } = wireRequest(request({ method: 'PUT', headers, body: 'ab' }), 'store.test');
  assert.equal(head.match(/host:/gi)?.length, 1);
  assert.equal(head.match(/content-length:/gi)?.length, 1);
});

test('the length is told wherever a body may stand', () => {
  for (const method of ['PUT', 'POST', 'PATCH'] as const)
    assert.match(wireRequest(request({ method }), 'h').head, /content-length: 0\r\n/);
  for (const method of ['GET', 'HEAD', 'DELETE'] as const)
    assert.doesNotMatch(wireRequest(request({ method }), 'h').head, /content-length/);
});

test('what would be another request than the one meant is refused', () => {
  const invalid = (changes: Partial<HttpRequest>) =>
    assert.throws(
      () => wireRequest(request(changes), 'h'),
      (error) => error instanceof StoreFailure && error.code === 'invalid',
      JSON.stringify(changes),
    );
  for (const bad of ['\r', '\n', '\r\nx: y', '\0', '\x7f', '€', '\u010a', '\u2028']) {
    invalid({ path: `/a${bad}b` });
    invalid({ headers: { [`x${bad}y`]: 'v' } });
    invalid({ headers: { x: `a${bad}b` } });
  }
  for (const path of ['', '/a b', '/a\tb', '/caf\xe9']) invalid({ path });
  for (const name of ['', 'a b', 'a:', 'a(b)', 'caf\xe9']) invalid({ headers: { [name]: 'v' } });
  invalid({ method: 'PUT', headers: { 'content-length': '3' }, body: 'ab' });
  invalid({ headers: { 'Content-Length': '3' } });
});

test('header names are lower-cased, values keep their bytes but for the blanks around them', () => {
  const nbsp = '\xa0';
  const { headers } = parseHead(
    head('HTTP/1.1 200 OK', 'ETag: \t "a b" \t', `X-Utf8: caf\xc3${nbsp}`, 'X-A: 1', 'x-a:2', 'X-Empty:'),
    'GET',
  );
  const expected = { etag: '"a b"', 'x-utf8': `caf\xc3${nbsp}`, 'x-a': '1, 2', 'x-empty': '' };
  assert.deepEqual({ ...headers }, expected);
});

test('a header may be called like what every object has', () => {
  const { headers } = parseHead(head('HTTP/1.1 200 OK', '__proto__: a', 'constructor: b'), 'GET');
  assert.deepEqual(Object.entries(headers), [
    ['__proto__', 'a'],
    ['constructor', 'b'],
  ]);
  assert.equal(parseHead('HTTP/1.1 200 OK', 'GET').headers['constructor'], undefined);
});

test('how the end of a body is told', () => {
  const framing = (method: HttpRequest['method'], ...lines: string[]) =>
    parseHead(head(...lines), method).framing;
  const nothing = { kind: 'sized', bytes: 0 };
  assert.deepEqual(framing('GET', 'HTTP/1.1 200 OK', 'Content-Length: 007'), { kind: 'sized', bytes: 7 });
  assert.deepEqual(framing('GET', 'HTTP/1.1 200', 'Transfer-Encoding: Chunked'), { kind: 'chunked' });
  assert.deepEqual(framing('GET', 'HTTP/1.1 200 OK'), { kind: 'until-close' });
  assert.deepEqual(framing('HEAD', 'HTTP/1.1 200 OK', 'Content-Length: 7'), nothing);
  assert.deepEqual(framing('HEAD', 'HTTP/1.1 200 OK', 'Transfer-Encoding: chunked'), nothing);
  for (const status of [100, 199, 204, 304])
    assert.deepEqual(framing('GET', `HTTP/1.1 ${status} x`, 'Content-Length: 7'), nothing);
});

test('when a connection may be used again', () => {
  const keepsAlive = (...lines: string[]) => parseHead(head(...lines), 'GET').keepsAlive;
  assert.equal(keepsAlive('HTTP/1.1 200 OK', 'Content-Length: 1'), true);
  assert.equal(keepsAlive('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked'), true);
  assert.equal(keepsAlive('HTTP/1.1 200 OK', 'Content-Length: 1', 'Connection: Close'), false);
  assert.equal(keepsAlive('HTTP/1.1 200 OK', 'Content-Length: 1', 'Connection: foo, close'), false);
  assert.equal(keepsAlive('HTTP/1.1 200 OK'), false);
  assert.equal(keepsAlive('HTTP/1.0 200 OK', 'Content-Length: 1'), false);
  assert.equal(keepsAlive('HTTP/1.0 200 OK', 'Content-Length: 1', 'Connection: Keep-Alive'), true);
  assert.equal(keepsAlive('HTTP/1.0 200 OK', 'Content-Length: 1', 'Connection: keep-alive, close'), false);
  const chunked10 = ['HTTP/1.0 200 OK', 'Transfer-Encoding: chunked', 'Connection: keep-alive'];
  assert.equal(keepsAlive(...chunked10), false);
});

const badHeads: Readonly<Record<string, string>> = {
  'not HTTP': 'SSH-2.0-OpenSSH_9.9',
  'nothing at all': '',
  'HTTP/2': 'HTTP/2 200 OK',
  'HTTP/1.2': 'HTTP/1.2 200 OK',
  'in lower case': 'http/1.1 200 OK',
  'a status of two digits': 'HTTP/1.1 20 OK',
  'a status of four digits': 'HTTP/1.1 2000 OK',
  'a status below 100': 'HTTP/1.1 099 OK',
  'two blanks before the status': 'HTTP/1.1  200 OK',
  'a blank line first': '\r\nHTTP/1.1 200 OK',
  'NUL in the reason': 'HTTP/1.1 200 O\0K',
  'bare LF between lines': 'HTTP/1.1 200 OK\nContent-Length: 5',
  'bare LF in a value': 'HTTP/1.1 200 OK\r\nX: a\nContent-Length: 5',
  'bare CR in a value': 'HTTP/1.1 200 OK\r\nX: a\rContent-Length: 5',
  'NUL in a value': 'HTTP/1.1 200 OK\r\nX: a\0b',
  'no colon': 'HTTP/1.1 200 OK\r\nX',
  'no name': 'HTTP/1.1 200 OK\r\n: a',
  'a blank before the colon': 'HTTP/1.1 200 OK\r\nContent-Length : 5',
  'a name that is no token': 'HTTP/1.1 200 OK\r\nX(Y): 5',
  'a folded line': 'HTTP/1.1 200 OK\r\nX: a\r\n b',
  'a folded line first': 'HTTP/1.1 200 OK\r\n X: a',
  'length and chunks': 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked',
  'an encoding': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip',
  'an encoding and chunks': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked',
  'chunks twice': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked',
  'no encoding': 'HTTP/1.1 200 OK\r\nTransfer-Encoding:',
  'one length twice': 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5',
  'two lengths': 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6',
  'two lengths in one': 'HTTP/1.1 200 OK\r\nContent-Length: 5, 6',
  'a range without a length': 'HTTP/1.1 206 OK\r\nContent-Range: bytes 0-4/5',
};

test('whatever is not plain HTTP/1 is refused', async (t) => {
  for (const [what, text] of Object.entries(badHeads))
    await t.test(what, () => assert.throws(() => parseHead(text, 'GET'), /^Error: the answer /));
  for (const length of ['-5', '+5', '0x5', '5.0', '5 5', '5;', '1e3', '', '9'.repeat(16), '5\xa0', 'five'])
    await t.test(`a length of "${length}"`, () => {
      const text = head('HTTP/1.1 200 OK', `Content-Length: ${length}`);
      for (const method of ['GET', 'HEAD'] as const)
        assert.throws(() => parseHead(text, method), /no valid length/);
    });
});

test('a head of blanks does not keep the parser busy', () => {
  // Cubic, this would take hours.
  const blanks = ' '.repeat(60_000);
  assert.throws(() => parseHead(`HTTP/1.1 200 OK\r\nX:${blanks}\0`, 'GET'), /malformed/);
  assert.equal(
    parseHead(`HTTP/1.1 200 OK\r\nX:${blanks}a${blanks}b${blanks}`, 'GET').headers['x']?.length,
    60_002,
  );
});
