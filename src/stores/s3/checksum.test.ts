import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, beforeEach, test } from 'node:test';
import { StoreFailure } from '../../model/failure.ts';
import { noMetadata } from '../../model/metadata.ts';
import type { ObjectStore } from '../../ports/object-store.ts';
import { crc32Of } from './digests.ts';
import { createS3Store } from './store.ts';

// What a server reports of a body, and what that is worth: a server that tells any lie.

const signal = new AbortController().signal;
const body = Buffer.from('123456789');
const crc32 = 'y/Q5Jg==';
const md5 = hash('md5', body);
const condition = { kind: 'absent' } as const;

interface Said {
  readonly headers: Record<string, string>;
  readonly text?: string;
}

let say: (method: string, url: string) => Said;
let seen: { url: string; headers: IncomingHttpHeaders; text: string }[] = [];
const server = createServer(async (request, response) => {
  const pieces: Buffer[] = [];
  for await (const piece of request) pieces.push(piece as Buffer);
  const { headers, method = '', url = '' } = request;
  seen.push({ url, headers, text: Buffer.concat(pieces).toString() });
  const said = say(method, url);
  response.writeHead(200, said.headers).end(said.text);
});
let store: ObjectStore;

before(() => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve)));
beforeEach(() => {
  seen = [];
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  store = createS3Store({ bucket: 'b', endpoint, accessKeyId: 'a', secretAccessKey: 's' });
});
after(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const put = () => store.write({ key: 'k', body, metadata: noMetadata, condition }, signal);
const answers = (headers: Record<string, string>) => {
  say = () => ({ headers });
};
const isCorrupt = (error: unknown) => error instanceof StoreFailure && error.code === 'corrupt';

test('CRC-32 is written as S3 writes it', () => {
  // The check value of CRC-32/ISO-HDLC, cbf43926, in base64.
  assert.equal(crc32Of(body), crc32);
  assert.equal(crc32Of(new Uint8Array()), 'AAAAAA==');
});

test('every body is sent with its CRC-32, and the CRC-32 that is reported must be that one', async () => {
  answers({ etag: `"${md5}"`, 'x-amz-checksum-crc32': crc32 });
  assert.equal((await put()).kind, 'written');
  assert.equal(seen[0]?.headers['x-amz-checksum-crc32'], crc32);
  assert.match(seen[0]?.headers['authorization'] ?? '', /x-amz-checksum-crc32/);
  answers({ etag: `"${md5}"`, 'x-amz-checksum-crc32': crc32Of(Buffer.from('else')) });
  await assert.rejects(put(), isCorrupt);
});

test('an ETag is held against the MD5 until the bucket has shown that it reports checksums', async () => {
  const wrong = { etag: `"${hash('md5', 'else')}"` };
  answers(wrong);
  await assert.rejects(put(), isCorrupt);
  answers({ ...wrong, 'x-amz-checksum-crc32': crc32 });
  await assert.rejects(put(), isCorrupt);
  answers({ etag: `"${md5}"`, 'x-amz-checksum-crc32': crc32 });
  await put();
  answers(wrong);
  await assert.rejects(put(), isCorrupt, 'an answer without a checksum is held against the MD5 again');
});

test('the parts of an upload have checksums where the server takes them, and all are told at its end', async () => {
  const etag = `${hash('md5', Buffer.from(md5, 'hex'))}-1`;
  say = (method, url) => {
    if (url.includes('uploads='))
      return { headers: { 'x-amz-checksum-algorithm': 'CRC32' }, text: '<R><UploadId>u</UploadId></R>' };
    if (method === 'POST') return { headers: {}, text: `<R><ETag>${etag}</ETag></R>` };
    return { headers: { etag: `"${md5}"`, 'x-amz-checksum-crc32': crc32 } };
  };
  const request = { key: 'k', size: body.length, partSizeBytes: body.length, metadata: noMetadata };
  const upload = JSON.parse(JSON.stringify(await store.startUpload(request, signal)));
  assert.equal(seen[0]?.headers['x-amz-checksum-algorithm'], 'CRC32');
  const receipt = await store.writePart(upload, { index: 0, bytes: body }, signal);
  assert.equal(seen[1]?.headers['x-amz-checksum-crc32'], crc32);
  const done = await store.completeUpload(upload, [receipt], { condition, metadata: noMetadata }, signal);
  assert.equal(done.kind, 'written');
  assert.match(seen[2]!.text, new RegExp(`</ETag><ChecksumCRC32>${crc32}</ChecksumCRC32></Part>`));
});

test('a server that takes no checksums with parts is sent none', async () => {
  say = (_, url) =>
    url.includes('uploads=')
      ? { headers: {}, text: '<R><UploadId>u</UploadId></R>' }
      : { headers: { etag: `"${md5}"` } };
  const request = { key: 'k', size: body.length, partSizeBytes: body.length, metadata: noMetadata };
  const upload = await store.startUpload(request, signal);
  assert.equal(await store.writePart(upload, { index: 0, bytes: body }, signal), `md5 ${md5}`);
  assert.equal(seen[1]?.headers['x-amz-checksum-crc32'], undefined);
});
