import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StoreFailure } from '../../model/failure.ts';
import { noMetadata, type ObjectMetadata } from '../../model/metadata.ts';
import { addressOf, limitsOf, s3Limits } from './config.ts';
import { decodeListed, encodeKey, encodeQuery } from './encoding.ts';
import { keyRefusal, listablePrefix } from './keys.ts';
import { metadataHeaders, metadataOf, metadataRules } from './metadata.ts';
import { decodeText, encodeText } from './rfc2047.ts';
import { parseXml } from './xml.ts';

test('keys keep every segment, and all but the plainest characters are escaped', () => {
  for (const [key, path] of [
    ['a/b-c_d.e~f', 'a/b-c_d.e~f'],
    ['../a//b/./c/', '../a//b/./c/'],
    ['/a', '/a'],
    ['a b+c%2F', 'a%20b%2Bc%252F'],
    ["!'()*", '%21%27%28%29%2A'],
    ['a\nb\u{1F600}é', 'a%0Ab%F0%9F%98%80%C3%A9'],
    ['a?b#c&d=e', 'a%3Fb%23c%26d%3De'],
  ] as const) {
    assert.equal(encodeKey(key), path);
    assert.equal(decodeURIComponent(path), key);
  }
  assert.throws(
    () => encodeKey('a\ud800'),
    (error) => error instanceof StoreFailure && error.code === 'invalid',
  );
});

test('a query is sorted, encoded, and leaves out what is undefined', () => {
  assert.equal(
    encodeQuery({ prefix: 'a/b c', 'list-type': '2', after: undefined, uploads: '' }),
    'list-type=2&prefix=a%2Fb%20c&uploads=',
  );
});

test('listed keys: plus is a space, %2B a plus', () => {
  assert.equal(decodeListed('a+b%2Bc%25/%F0%9F%98%80'), 'a b+c%/\u{1F600}');
  assert.throws(() => decodeListed('a%zz'));
});

test('addresses: virtual host at Amazon, path style elsewhere, both by name', () => {
  const bucket = 'photos';
  const address = (config: object) => Object.values(addressOf({ bucket, ...config })).join(' ');
  const aws = 'photos.s3.eu-central-1.amazonaws.com';
  assert.equal(address({ region: 'eu-central-1' }), `https://${aws} ${aws} `);
  assert.equal(
    address({ endpoint: 'http://localhost:9000/s3/' }),
    'http://localhost:9000 localhost:9000 /s3/photos',
  );
  assert.equal(
    address({ endpoint: 'https://x.org:443', pathStyle: false }),
    'https://photos.x.org photos.x.org ',
  );
  assert.match(address({ bucket: 'a.b' }), /amazonaws\.com \/a\.b$/);
  assert.match(address({ region: 'cn-north-1' }), /amazonaws\.com\.cn/);
  assert.throws(() => address({ endpoint: 'localhost:9000' }), /not an http or https address/);
});

test("the site's prefix takes its share of a key", () => {
  assert.equal(limitsOf({ bucket: 'b', prefix: 'ü/' }).maxKeyBytes, s3Limits.maxKeyBytes - 3);
});

test('header values are ASCII and come back as they were', () => {
  for (const value of [
    'plain, text=1',
    '',
    ' ',
    ' x',
    'x ',
    'a  b',
    'Grüße',
    'é',
    '日本\u{1F600}',
    '=?UTF-8?Q?x?=',
    'a =? b',
    '%41',
    'a_b=c?',
    'a\u00a0',
  ]) {
    const header = encodeText(value);
    assert.match(header, /^[!-~](?:[ -~]*[!-~])?$/, value);
    assert.equal(decodeText(header), value);
  }
  assert.equal(encodeText('plain, text=1'), 'plain, text=1');
  assert.equal(encodeText('Viele Grüße aus Hamburg'), '=?UTF-8?Q?Viele_Gr=C3=BC=C3=9Fe_aus_Hamburg?=');
  assert.match(encodeText('日本語の名前'), /^=\?UTF-8\?B\?/);
});

test('header values of others are understood', () => {
  assert.equal(decodeText('=?utf-8?b?w6Q=?= =?UTF-8?Q?=C3=B6_x?='), 'äö x');
  assert.equal(decodeText('a =?ISO-8859-1?Q?=E4?= b'), 'a ä b');
  assert.equal(decodeText(Buffer.from('größe').toString('latin1')), 'größe');
  assert.equal(decodeText('=?koi8-r?B?8A==?='), '=?koi8-r?B?8A==?=');
});

const amazon = metadataRules(true, s3Limits, true);
const other = metadataRules(false, limitsOf({ bucket: 'b', endpoint: 'http://x' }), true);
const untagged = metadataRules(false, s3Limits, false);
const roundTrip = (metadata: ObjectMetadata, rules = amazon) => {
  const headers = metadataHeaders(metadata, rules);
  const tags = Object.fromEntries(new URLSearchParams(headers['x-amz-tagging'] ?? ''));
  const read = metadataOf(headers);
  return { ...read, tags: { ...read.tags, ...tags } };
};
const failsAsInvalid = (metadata: ObjectMetadata, rules = amazon) =>
  assert.throws(
    () => metadataHeaders(metadata, rules),
    (error) => error instanceof StoreFailure && error.code === 'invalid',
  );

test('metadata round-trips, tags by what the server takes', () => {
  const all = {
    contentType: 'text/plain',
    cacheControl: 'no-cache',
    contentEncoding: 'gzip',
    contentDisposition: 'attachment; filename="größe.txt"',
    contentLanguage: 'de, en',
    user: { isobar: 'v1', empty: '', __proto: 'x' },
    tags: { a: '1', größe: 'x', 'b&c': 'd=e', 'aws:x': 'y', emoji: '\u{1F600}' },
  };
  for (const rules of [amazon, other, untagged]) assert.deepEqual(roundTrip(all, rules), all);
  assert.deepEqual(roundTrip(noMetadata), noMetadata);
  assert.equal(metadataHeaders(all, amazon)['x-amz-tagging'], 'a=1&gr%C3%B6%C3%9Fe=x');
  assert.equal(metadataHeaders(all, other)['x-amz-tagging'], 'a=1');
  assert.equal(metadataHeaders(all, untagged)['x-amz-tagging'], undefined);
  assert.equal(metadataOf({ 'content-encoding': 'aws-chunked,gzip' }).contentEncoding, 'gzip');
  assert.equal(metadataOf({ 'content-encoding': 'aws-chunked' }).contentEncoding, undefined);
});

test('metadata that S3 cannot hold is invalid', () => {
  const user = (entries: Record<string, string>) => ({ user: entries, tags: {} });
  const tags = (entries: Record<string, string>) => ({ user: {}, tags: entries });
  metadataHeaders(user({ a: 'x'.repeat(2047) }), amazon);
  failsAsInvalid(user({ a: 'x'.repeat(2048) }));
  failsAsInvalid(user({ a: 'ü'.repeat(1000) }));
  metadataHeaders(user({ a: 'x'.repeat(1018), b: 'x'.repeat(1006) }), other);
  failsAsInvalid(user({ a: 'x'.repeat(1018), b: 'x'.repeat(1008) }), other);
  failsAsInvalid(user({ 'a b': 'x' }));
  failsAsInvalid(user({ A: 'x', a: 'y' }));
  failsAsInvalid(user({ 'isobar-tags': 'x' }));
  failsAsInvalid(tags(Object.fromEntries(Array.from({ length: 11 }, (_, i) => [`t${i}`, '']))));
  failsAsInvalid(tags({ a: 'x'.repeat(257) }));
  failsAsInvalid(tags({ '': 'x' }));
});

test('keys that a server of files would bend are refused', () => {
  for (const key of ['/a', 'a//b', 'a/./b', '../a', 'a/..', 'k'.repeat(256), 'a//']) {
    assert.ok(keyRefusal(key, 'paths', true), key);
    assert.ok(keyRefusal(key, 'files', true), key);
    assert.equal(keyRefusal(key, 'any', true), undefined);
  }
  for (const key of ['a/', '.a/...', 'a\tb']) assert.equal(keyRefusal(key, 'files', false), undefined, key);
  assert.ok(keyRefusal('a/', 'files', true));
  assert.ok(keyRefusal('a\u0001', 'files', true));
  assert.equal(keyRefusal('a\u0001', 'paths', true), undefined);
  assert.equal(listablePrefix('a/..', 'paths'), 'a/');
  assert.equal(listablePrefix('.', 'paths'), '');
  assert.equal(listablePrefix('.', 'any'), '.');
  assert.equal(listablePrefix('a.', 'paths'), 'a.');
});

test('XML: values are text, entities are decoded once, spaces stay', () => {
  const xml = parseXml(
    '<?xml version="1.0"?>\n<ListBucketResult xmlns="urn:x"><Contents><Key> 1e5&amp;lt;&#10;&#x1F600;&quot;&#38;amp;a>b </Key><Owner><ID>x</ID></Owner><Size>007</Size></Contents><IsTruncated>false</IsTruncated></ListBucketResult>\n',
  );
  assert.equal(xml?.root, 'ListBucketResult');
  assert.equal(xml.text('IsTruncated'), 'false');
  const entries = xml.entries('Contents').map((entry) => ({ ...entry }));
  assert.deepEqual(entries, [{ Key: ' 1e5&lt;\n\u{1F600}"&amp;a>b ', ID: 'x', Size: '007' }]);
  assert.deepEqual(parseXml('<ListBucketResult></ListBucketResult>')?.entries('Contents'), []);
  const tagging = parseXml('<Tagging><TagSet><Tag><Key>a</Key><Value></Value></Tag></TagSet></Tagging>');
  assert.deepEqual({ ...tagging?.entries('Tag')[0] }, { Key: 'a', Value: '' });
  assert.deepEqual(parseXml('<Tagging><TagSet/></Tagging>')?.entries('Tag'), []);
});

test('what is cut off or no XML is no answer', () => {
  const whole =
    '<ListBucketResult><Contents><Key>a</Key></Contents><IsTruncated>false</IsTruncated></ListBucketResult>';
  assert.ok(parseXml(whole));
  for (let end = 0; end < whole.length; end++) {
    assert.equal(parseXml(whole.slice(0, end)), undefined, whole.slice(0, end));
  }
  for (const text of ['', 'hello', '{"a":1}', '<a></a><b></b>'])
    assert.equal(parseXml(text), undefined, text);
});
