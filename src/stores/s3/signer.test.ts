import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { test } from 'node:test';
import { emptySha256, Signer } from './signer.ts';

// The keys, requests and signatures of the examples in Amazon S3's API reference
// ("Signature Calculations for the Authorization Header").
const keys = {
  accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
};
const nowMs = Date.UTC(2013, 4, 24);
const host = 'examplebucket.s3.amazonaws.com';
const welcome = hash('sha256', 'Welcome to Amazon S3.');

const published = [
  {
    name: 'GET Object',
    request: {
      method: 'GET',
      path: '/test.txt',
      query: '',
      headers: { host, range: 'bytes=0-9' },
      payloadSha256: emptySha256,
    },
    signed: 'host;range;x-amz-content-sha256;x-amz-date',
    signature: 'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41',
  },
  {
    name: 'PUT Object',
    request: {
      method: 'PUT',
      path: '/test%24file.text',
      query: '',
      headers: {
        host,
        date: 'Fri, 24 May 2013 00:00:00 GMT',
        'x-amz-storage-class': 'REDUCED_REDUNDANCY',
      },
      payloadSha256: welcome,
    },
    signed: 'date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class',
    signature: '98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd',
  },
  {
    name: 'GET Bucket Lifecycle',
    request: { method: 'GET', path: '/', query: 'lifecycle=', headers: { host }, payloadSha256: emptySha256 },
    signed: 'host;x-amz-content-sha256;x-amz-date',
    signature: 'fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543',
  },
  {
    name: 'List Objects',
    request: {
      method: 'GET',
      path: '/',
      query: 'max-keys=2&prefix=J',
      headers: { host },
      payloadSha256: emptySha256,
    },
    signed: 'host;x-amz-content-sha256;x-amz-date',
    signature: '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7',
  },
];

for (const { name, request, signed, signature } of published) {
  test(`signs the published example: ${name}`, () => {
    const headers = new Signer('us-east-1').sign(request, keys, nowMs);
    const scope = '20130524/us-east-1/s3/aws4_request';
    assert.equal(
      headers['authorization'],
      `AWS4-HMAC-SHA256 Credential=${keys.accessKeyId}/${scope}, SignedHeaders=${signed}, Signature=${signature}`,
    );
    assert.equal(headers['x-amz-date'], '20130524T000000Z');
  });
}

const plain = { method: 'GET', path: '/', query: '', headers: { host }, payloadSha256: emptySha256 };
const signatureOf = (headers: Record<string, string>) => headers['authorization']?.split('Signature=')[1];

test('the cached key gives way to a new day and to a new secret', () => {
  const signer = new Signer('us-east-1');
  const first = signatureOf(signer.sign(plain, keys, nowMs));
  const tomorrow = nowMs + 86_400_000;
  for (const [secretAccessKey, at] of [
    [keys.secretAccessKey, tomorrow],
    ['another', tomorrow],
  ] as const) {
    const other = { ...keys, secretAccessKey };
    const fresh = signatureOf(new Signer('us-east-1').sign(plain, other, at));
    assert.equal(signatureOf(signer.sign(plain, other, at)), fresh);
    assert.notEqual(fresh, first);
  }
  assert.equal(signatureOf(signer.sign(plain, keys, nowMs)), first);
});

test('a session token is sent and signed', () => {
  const headers = new Signer('us-east-1').sign(plain, { ...keys, sessionToken: 'token' }, nowMs);
  assert.equal(headers['x-amz-security-token'], 'token');
  assert.match(headers['authorization'] ?? '', /x-amz-security-token/);
});

test('conditions are signed; what proxies may rewrite is not', () => {
  const headers = { host, 'if-match': '"x"', 'cache-control': 'no-store' };
  const signed = new Signer('us-east-1').sign({ ...plain, headers }, keys, nowMs)['authorization'] ?? '';
  assert.match(signed, /if-match/);
  assert.doesNotMatch(signed, /cache-control/);
});

test('spaces in values count once', () => {
  const sign = (value: string) =>
    signatureOf(
      new Signer('us-east-1').sign({ ...plain, headers: { host, 'x-amz-meta-a': value } }, keys, nowMs),
    );
  assert.equal(sign('  a   b '), sign('a b'));
  assert.notEqual(sign('ab'), sign('a b'));
});
