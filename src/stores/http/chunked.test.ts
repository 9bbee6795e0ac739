import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cut } from '../../../test/servers/raw-http.ts';
import { ChunkedBody } from './chunked.ts';

/** What comes out when the pieces go in one after the other. */
function decode(pieces: readonly Uint8Array[]): { text: string; used: number; isDone: boolean } {
  const body = new ChunkedBody();
  let text = '';
  let used = 0;
  for (const piece of pieces) {
    if (body.isDone) break;
    used += body.read(piece, (data) => {
      text += Buffer.from(data).toString('latin1');
    });
  }
  return { text, used, isDone: body.isDone };
}

function* cuts(bytes: Uint8Array): Generator<Uint8Array[]> {
  yield [bytes];
  yield cut(
    bytes,
    Array.from({ length: bytes.length - 1 }, (_, at) => at + 1),
  );
  for (let at = 1; at < bytes.length; at++) yield cut(bytes, [at]);
}

const whole: Readonly<Record<string, readonly [wire: string, body: string]>> = {
  'two chunks': ['5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n', 'hello world'],
  nothing: ['0\r\n\r\n', ''],
  extensions: ['5;a=b;c="d;e"\r\nhello\r\n0;last\r\n\r\n', 'hello'],
  'blanks after the size': ['5 \t\r\nhello\r\n0 \r\n\r\n', 'hello'],
  trailers: ['5\r\nhello\r\n0\r\nX-Sum: abc\r\nY:\r\n\r\n', 'hello'],
  'hexadecimal sizes': ['0A\r\n0123456789\r\nb\r\n0123456789a\r\n000\r\n\r\n', '01234567890123456789a'],
  'data like framing': ['9\r\n\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n', '\r\n0\r\n\r\n\r\n'],
};

for (const [what, [wire, text]] of Object.entries(whole)) {
  test(`chunks: ${what}, cut anywhere`, () => {
    const bytes = Buffer.from(wire, 'latin1');
    for (const pieces of cuts(bytes))
      assert.deepEqual(decode(pieces), { text, used: bytes.length, isDone: true });
  });

  test(`chunks: ${what}, is not done a byte before its end`, () => {
    const bytes = Buffer.from(wire, 'latin1');
    for (let length = 0; length < bytes.length; length++)
      assert.equal(decode([bytes.subarray(0, length)]).isDone, false, `after ${length} bytes`);
  });

  test(`chunks: ${what}, leaves what follows`, () => {
    const bytes = Buffer.from(wire, 'latin1');
    assert.equal(decode([Buffer.concat([bytes, Buffer.from('HTTP/1.1')])]).used, bytes.length);
  });
}

const broken: Readonly<Record<string, string>> = {
  'no size': '\r\nhello',
  'a size that is no number': 'g\r\n',
  'a negative size': '-5\r\nhello\r\n',
  'a signed size': '+5\r\nhello\r\n',
  'a size with a prefix': '0x5\r\nhello\r\n',
  'a blank before the size': ' 5\r\nhello\r\n',
  'two sizes': '5 5\r\nhello\r\n',
  'a size of 14 digits': '00000000000005\r\nhello\r\n',
  'bare LF after the size': '5\nhello\r\n',
  'CR in an extension': '5;a\rb\r\nhello\r\n',
  'no CRLF after the data': '5\r\nhello5\r\nhello\r\n0\r\n\r\n',
  'bare LF after the data': '5\r\nhello\n0\r\n\r\n',
  'CR CR LF after the data': '5\r\nhello\r\r\n0\r\n\r\n',
  'more data than the size': '5\r\nhello world\r\n0\r\n\r\n',
  'bare LF at the end': '5\r\nhello\r\n0\r\n\n',
  'an endless size': '0'.repeat(20_000),
  'an endless extension': `5;${'a'.repeat(20_000)}`,
  'endless trailers': `0\r\n${'X: y\r\n'.repeat(4_000)}`,
};

for (const [what, wire] of Object.entries(broken)) {
  test(`chunks: ${what}, is refused however it is cut`, () => {
    const bytes = Buffer.from(wire, 'latin1');
    const some = bytes.length > 1_000 ? [[bytes], cut(bytes, [1_000, 16_000])] : cuts(bytes);
    for (const pieces of some) assert.throws(() => decode(pieces), /^Error: the answer has /);
  });
}
