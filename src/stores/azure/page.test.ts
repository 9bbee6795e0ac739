import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parsePage, parseTags } from './page.ts';

const properties = (more = '') =>
  `<Properties><Creation-Time>Thu, 01 Jan 2026 00:00:00 GMT</Creation-Time>` +
  `<Last-Modified>Thu, 01 Jan 2026 00:00:01 GMT</Last-Modified><Etag>0x8D4</Etag>` +
  `<Content-Length>5</Content-Length><Content-Type>text/plain; a=&quot;b&quot;</Content-Type>` +
  `<Content-Encoding /><Content-MD5>XUFAKrxLKna5cZ2REBfFkg==</Content-MD5>${more}</Properties>`;

const pageOf = (blobs: string, marker = '<NextMarker/>') =>
  `\uFEFF<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="https://a/" ` +
  `ContainerName="c"><Prefix>p&amp;</Prefix><Blobs>${blobs}</Blobs>${marker}</EnumerationResults>`;

test('an entry with all that it can have', () => {
  const metadata =
    '<Metadata><isobar>v1 &lt;&#x1F600;&#65;</isobar><constructor>1</constructor><E/></Metadata>';
  const tags = '<Tags><TagSet><Tag><Key>a b</Key><Value>c</Value></Tag></TagSet></Tags>';
  const text = pageOf(
    `<Blob><Name> a&amp;b\n </Name>${properties()}${metadata}${tags}<OrMetadata /></Blob>`,
    '<NextMarker>2!8&amp;</NextMarker>',
  );
  const { entries, nextMarker } = parsePage(text, true);
  assert.equal(nextMarker, '2!8&');
  assert.deepEqual(entries, [
    {
      key: ' a&b\n ',
      size: 5,
      token: '0x8D4',
      lastModifiedMs: Date.UTC(2026, 0, 1, 0, 0, 1),
      digests: { md5: '5d41402abc4b2a76b9719d911017c592' },
      metadata: {
        contentType: 'text/plain; a="b"',
        user: { isobar: 'v1 <\u{1F600}A', constructor: '1', e: '' },
        tags: { 'a b': 'c' },
      },
    },
  ]);
});

test('a name that XML cannot hold comes percent-encoded', () => {
  const text = pageOf(`<Blob><Name Encoded="true">a%EF%BF%BF%25</Name>${properties()}<Metadata/></Blob>`);
  assert.equal(parsePage(text, true).entries[0]?.key, 'a\uFFFF%');
});

test('without leave to read tags, an entry that has some goes without metadata', () => {
  const blob = (more: string) =>
    `<Blob><Name>a</Name>${properties(more)}<Metadata><a>1</a></Metadata></Blob>`;
  assert.equal(parsePage(pageOf(blob('<TagCount>2</TagCount>')), false).entries[0]?.metadata, undefined);
  assert.deepEqual(parsePage(pageOf(blob('')), false).entries[0]?.metadata?.user, { a: '1' });
});

test('entries that are written alike, and those that are not', () => {
  const blob = (name: string, metadata: string) =>
    `<Blob><Name>${name}</Name>${properties()}${metadata}<OrMetadata /></Blob>`;
  const metadata = ['<Metadata><a>1</a></Metadata>', '<Metadata><a>2</a></Metadata>', '<Metadata />', ''];
  const text = pageOf(metadata.map((one, at) => blob(`k${at}`, one)).join(''));
  assert.deepEqual(
    parsePage(text, true, (name) => name.slice(1)).entries.map((entry) => [entry.key, entry.metadata?.user]),
    [
      ['0', { a: '1' }],
      ['1', { a: '2' }],
      ['2', {}],
      ['3', {}],
    ],
  );
});

test('an empty page is one, and a page that was cut off anywhere is none', () => {
  assert.deepEqual(parsePage(pageOf(''), true), { entries: [], nextMarker: '' });
  const blob = (name: string) => `<Blob><Name>${name}</Name>${properties()}<Metadata/></Blob>`;
  const text = pageOf(blob('a') + blob('b'));
  for (let length = 0; length < text.length; length++) {
    assert.throws(() => parsePage(text.slice(0, length), true), `cut off at ${length}`);
  }
  assert.throws(() => parsePage(text.replace('<NextMarker/>', ''), true));
  assert.throws(() => parsePage(text.replace(/<Blobs>.*<\/Blobs>/, ''), true));
  assert.throws(() => parsePage(text.replace('<Etag>0x8D4</Etag>', ''), true));
  assert.throws(() => parsePage('<html></html>', true));
});

test('the tags of a blob', () => {
  const text =
    '\uFEFF<?xml version="1.0" encoding="utf-8"?><Tags><TagSet><Tag><Key>a=b</Key><Value>c</Value></Tag>' +
    '<Tag><Key>e</Key><Value /></Tag></TagSet></Tags>';
  assert.deepEqual(parseTags(text), { 'a=b': 'c', e: '' });
  assert.throws(() => parseTags(text.slice(0, -3)));
});
