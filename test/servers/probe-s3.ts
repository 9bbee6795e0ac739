import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { type Check, expectEqual, expectStatus, type Finding, race, runChecks } from './probe.ts';
import { encode, type Response, send, signS3 } from './request.ts';
import type { RunningServer, S3SiteConfig } from './running.ts';

type Headers = Record<string, string>;
const createOnly: Headers = { 'if-none-match': '*' };
// Bodies that no server keeps inside its index.
const filler = 'x'.repeat(300_000);
const firstWord = (text: string): string => text.split(' ')[0] ?? '';
const wrongEtag = '"00000000000000000000000000000000"';
const ifMatch = (etag: string): Headers => ({ 'if-match': etag });

/** Requests against one bucket. */
class Bucket {
  readonly #site: S3SiteConfig;
  constructor(site: S3SiteConfig) {
    this.#site = site;
  }

  get name(): string {
    return this.#site.bucket;
  }

  async call(
    method: string,
    key: string,
    query = '',
    headers: Headers = {},
    body: string | Buffer = '',
  ): Promise<Response> {
    const path = key.split('/').map(encode).join('/');
    const url = `${this.#site.endpoint}/${this.#site.bucket}/${path}${query === '' ? '' : `?${query}`}`;
    return send(signS3({ method, url, headers, body }, this.#site));
  }

  put = (key: string, body: string | Buffer, headers: Headers = {}) =>
    this.call('PUT', key, '', headers, body);
  get = (key: string, headers: Headers = {}) => this.call('GET', key, '', headers);
  head = (key: string, headers: Headers = {}) => this.call('HEAD', key, '', headers);
  delete = (key: string, headers: Headers = {}) => this.call('DELETE', key, '', headers);
  list = (query: string) => this.call('GET', '', query);
  copy = (from: string, to: string, headers: Headers = {}) =>
    this.call('PUT', to, '', { 'x-amz-copy-source': `/${this.name}/${from}`, ...headers });

  async etag(key: string): Promise<string> {
    return (await this.head(key)).headers.etag ?? '';
  }

  async text(key: string): Promise<string> {
    return (await this.get(key)).text;
  }

  async startUpload(key: string, headers: Headers = {}): Promise<string> {
    return tag((await this.call('POST', key, 'uploads', headers)).text, 'UploadId');
  }

  async part(
    key: string,
    id: string,
    number: number,
    body: string | Buffer,
    headers: Headers = {},
  ): Promise<Response> {
    return this.call('PUT', key, `partNumber=${number}&uploadId=${encode(id)}`, headers, body);
  }

  async complete(
    key: string,
    id: string,
    etags: readonly string[],
    headers: Headers = {},
  ): Promise<Response> {
    const parts = etags.map(
      (etag, i) => `<Part><PartNumber>${i + 1}</PartNumber><ETag>${etag}</ETag></Part>`,
    );
    const body = `<CompleteMultipartUpload>${parts.join('')}</CompleteMultipartUpload>`;
    return this.call('POST', key, `uploadId=${encode(id)}`, headers, body);
  }

  /** An upload of one part, ready to complete. */
  async staged(key: string, body: string): Promise<(headers?: Headers) => Promise<Response>> {
    const id = await this.startUpload(key);
    const etag = (await this.part(key, id, 1, body)).headers.etag ?? '';
    return (headers = {}) => this.complete(key, id, [etag], headers);
  }
}

type Writer = (key: string, body: string) => Promise<(headers: Headers) => Promise<Response>>;

export async function probeS3(server: RunningServer<S3SiteConfig>): Promise<Finding[]> {
  const open = async () => new Bucket(server.siteConfig(await server.newBucket()));
  const b = await open();
  const writers: readonly [string, Writer][] = [
    ['PutObject', async (key, body) => (headers) => b.put(key, body, headers)],
    ['CompleteMultipartUpload', async (key, body) => b.staged(key, body)],
    [
      'CopyObject destination',
      async (key, body) => {
        const source = `source-${firstWord(body)}`;
        await b.put(source, body);
        return (headers) => b.copy(source, key, headers);
      },
    ],
  ];
  return runChecks([
    ...writers.flatMap(([name, writer]) => conditionalWrites(b, name, writer)),
    ...conditionalDeletes(b),
    ...reads(b),
    ...metadataAndTags(b),
    ...listing(b, await open()),
    ...multipart(b),
    ...checksums(b),
    ...keys(await open()),
    ...versions(await open()),
  ]);
}

function conditionalWrites(b: Bucket, name: string, writer: Writer): Check[] {
  const key = (what: string) => `${name.slice(0, 4)}-${what}`.toLowerCase();
  const attempt = async (at: string, body: string, headers: Headers) =>
    (await (await writer(at, body))(headers)).status;
  return [
    [
      `${name}: If-None-Match: * (absent 200, present 412)`,
      async () =>
        expectStatus(
          [await attempt(key('inm'), 'a', createOnly), await attempt(key('inm'), 'b', createOnly)],
          [200, 412],
        ),
    ],
    [
      `${name}: If-Match (right 200, wrong 412)`,
      async () => {
        await b.put(key('im'), 'old');
        const right = await attempt(key('im'), 'a', ifMatch(await b.etag(key('im'))));
        return expectStatus([right, await attempt(key('im'), 'b', ifMatch(wrongEtag))], [200, 412]);
      },
    ],
    [
      `${name}: If-Match on an absent key (404)`,
      async () => expectStatus([await attempt(key('none'), 'a', ifMatch(wrongEtag))], [404]),
    ],
    [
      `${name}: 16 racing creators, one wins, 20 rounds`,
      async () => {
        const at = (round: number) => key(`race-${round}`);
        const prepare = async (round: number) => {
          const ready = await Promise.all(
            Array.from({ length: 16 }, (_, i) => writer(at(round), `${i} ${filler}`)),
          );
          return async (i: number) => (await ready[i]?.(createOnly))?.status ?? 0;
        };
        return race(20, 16, prepare, async (round) => firstWord(await b.text(at(round))));
      },
    ],
    [
      `${name}: 16 racing If-Match, one wins, 20 rounds`,
      async () => {
        const at = (round: number) => key(`cas-${round}`);
        const prepare = async (round: number) => {
          await b.put(at(round), 'old');
          const etag = await b.etag(at(round));
          const ready = await Promise.all(
            Array.from({ length: 16 }, (_, i) => writer(at(round), `${i} ${filler}`)),
          );
          return async (i: number) => (await ready[i]?.(ifMatch(etag)))?.status ?? 0;
        };
        return race(20, 16, prepare, async (round) => firstWord(await b.text(at(round))));
      },
    ],
  ];
}

function conditionalDeletes(b: Bucket): Check[] {
  return [
    [
      'DeleteObject: If-Match (wrong 412, right 204)',
      async () => {
        await b.put('del', 'x');
        const wrong = await b.delete('del', ifMatch(wrongEtag));
        const right = await b.delete('del', ifMatch(await b.etag('del')));
        return expectStatus([wrong.status, right.status, (await b.head('del')).status], [412, 204, 404]);
      },
    ],
    [
      'DeleteObject: 15 racing puts and one delete, all If-Match, one wins, 20 rounds',
      async () => {
        const at = (round: number) => `del-race-${round}`;
        const prepare = async (round: number) => {
          await b.put(at(round), 'old');
          const etag = ifMatch(await b.etag(at(round)));
          // A put that comes after the delete finds no object: 404 is a loss too.
          return async (i: number) => {
            const answer =
              i === 7 ? await b.delete(at(round), etag) : await b.put(at(round), String(i), etag);
            return answer.status === 404 ? 412 : answer.status;
          };
        };
        const standing = async (round: number) => {
          const answer = await b.get(at(round));
          return answer.status === 404 ? '7' : answer.text;
        };
        return race(20, 16, prepare, standing);
      },
    ],
    [
      'DeleteObjects: ETag per key (wrong refused, right deleted)',
      async () => {
        await b.put('dels', 'x');
        const request = async (etag: string) => {
          const body = `<Delete><Object><Key>dels</Key><ETag>${etag}</ETag></Object></Delete>`;
          await b.call('POST', '', 'delete', { 'content-md5': md5(body) }, body);
          return (await b.head('dels')).status;
        };
        return expectStatus([await request(wrongEtag), await request(await b.etag('dels'))], [200, 404]);
      },
    ],
  ];
}

function reads(b: Bucket): Check[] {
  return [
    [
      'GET range; If-Match on GET (wrong 412); If-None-Match on HEAD (304)',
      async () => {
        await b.put('range', '0123456789');
        const range = await b.get('range', { range: 'bytes=2-5' });
        const wrong = await b.get('range', ifMatch(wrongEtag));
        const same = await b.head('range', { 'if-none-match': await b.etag('range') });
        if (range.text !== '2345') return `no: ${range.text}`;
        return expectStatus([range.status, wrong.status, same.status], [206, 412, 304]);
      },
    ],
    [
      'ETag of a plain PUT is its MD5',
      async () =>
        expectEqual((await b.put('md5', 'abc')).headers.etag ?? '', '"900150983cd24fb0d6963f7d28e17f72"'),
    ],
  ];
}

function metadataAndTags(b: Bucket): Check[] {
  const meta: Headers = {
    'x-amz-meta-isobar-v': 'one,two=3',
    'content-type': 'text/x-test',
    'cache-control': 'no-store',
  };
  const shown = async (key: string) => {
    const { headers } = await b.head(key);
    return [headers['x-amz-meta-isobar-v'], headers['content-type'], headers['cache-control']].join(' ');
  };
  const wanted = 'one,two=3 text/x-test no-store';
  return [
    [
      'metadata kept by PutObject',
      async () => {
        await b.put('meta', 'x', meta);
        return expectEqual(await shown('meta'), wanted);
      },
    ],
    [
      'metadata kept by multipart',
      async () => {
        const id = await b.startUpload('meta-mp', meta);
        await b.complete('meta-mp', id, [(await b.part('meta-mp', id, 1, 'x')).headers.etag ?? '']);
        return expectEqual(await shown('meta-mp'), wanted);
      },
    ],
    [
      'CopyObject with REPLACE onto itself changes the metadata',
      async () => {
        await b.put('meta-self', 'x');
        await b.copy('meta-self', 'meta-self', { 'x-amz-metadata-directive': 'REPLACE', ...meta });
        return expectEqual(await shown('meta-self'), wanted);
      },
    ],
    [
      'user metadata of 2 KB',
      async () => {
        await b.put('meta-2k', 'x', { 'x-amz-meta-a': 'y'.repeat(2000) });
        return expectEqual(String((await b.head('meta-2k')).headers['x-amz-meta-a']?.length), '2000');
      },
    ],
    [
      'tags at PUT, read, replaced; the ETag stays',
      async () => {
        await b.put('tags', 'x', { 'x-amz-tagging': 'a=1&b=two' });
        const first = (await b.call('GET', 'tags', 'tagging')).text;
        const etag = await b.etag('tags');
        const body = '<Tagging><TagSet><Tag><Key>c</Key><Value>3</Value></Tag></TagSet></Tagging>';
        const set = await b.call('PUT', 'tags', 'tagging', { 'content-md5': md5(body) }, body);
        const second = (await b.call('GET', 'tags', 'tagging')).text;
        const seen = [tags(first), set.status, tags(second), (await b.etag('tags')) === etag].join(' ');
        return expectEqual(seen, 'a=1&b=two 200 c=3 true');
      },
    ],
  ];
}

function listing(b: Bucket, own: Bucket): Check[] {
  return [
    [
      'ListObjectsV2 in UTF-8 order, also beyond the BMP',
      async () => {
        const names = ['Z', 'a', 'a!', 'a/b', 'a0', 'é', '\uFF5E', '\u{1F600}'];
        for (const name of [...names].reverse()) await own.put(`${name}-k`, 'x');
        const wanted = names
          .map((n) => `${n}-k`)
          .sort((x, y) => Buffer.compare(Buffer.from(x), Buffer.from(y)));
        return expectEqual(keysOf((await own.list('list-type=2')).text).join(' '), wanted.join(' '));
      },
    ],
    [
      'ListObjectsV2 pages, start-after, delimiter',
      async () => {
        for (const name of ['p/a', 'p/b/1', 'p/b/2', 'p/c', 'p/d']) await b.put(name, 'x');
        const first = (await b.list('list-type=2&prefix=p%2F&max-keys=2')).text;
        const token = encode(tag(first, 'NextContinuationToken'));
        const rest = (await b.list(`list-type=2&prefix=p%2F&continuation-token=${token}`)).text;
        const after = (await b.list('list-type=2&prefix=p%2F&start-after=p%2Fb%2F2')).text;
        const folded = (await b.list('list-type=2&prefix=p%2F&delimiter=%2F')).text;
        const prefixes = [...folded.matchAll(/<CommonPrefixes><Prefix>([^<]*)/g)].map((m) => m[1]);
        const seen = [first, rest, after, folded].map((text) => keysOf(text).join(',')).join(' ');
        return expectEqual(`${seen} ${prefixes.join()}`, 'p/a,p/b/1 p/b/2,p/c,p/d p/c,p/d p/a,p/c,p/d p/b/');
      },
    ],
    [
      'a change is in the next listing at once',
      async () => {
        await b.put('fresh', 'x');
        const there = keysOf((await b.list('list-type=2&prefix=fresh')).text).length;
        await b.delete('fresh');
        return expectEqual(
          `${there} ${keysOf((await b.list('list-type=2&prefix=fresh')).text).length}`,
          '1 0',
        );
      },
    ],
  ];
}

function multipart(b: Bucket): Check[] {
  const mib5 = Buffer.alloc(5 * 1024 * 1024, 'm');
  return [
    [
      'ListMultipartUploads, ListParts, Abort',
      async () => {
        const id = await b.startUpload('mp-list');
        await b.part('mp-list', id, 1, 'x');
        const uploads = (await b.list('uploads&prefix=mp-list')).text.includes(id);
        const parts = (await b.call('GET', 'mp-list', `uploadId=${encode(id)}`)).text.includes(
          '<PartNumber>1<',
        );
        const abort = await b.call('DELETE', 'mp-list', `uploadId=${encode(id)}`);
        const gone = !(await b.list('uploads&prefix=mp-list')).text.includes(id);
        return expectEqual([uploads, parts, abort.status, gone].join(' '), 'true true 204 true');
      },
    ],
    [
      'ListMultipartUploads by the empty prefix shows all uploads of the bucket',
      async () => {
        const ids = [await b.startUpload('mp-all/one'), await b.startUpload('mp-all/two')];
        const text = (await b.list('uploads')).text;
        return expectEqual(ids.map((id) => text.includes(id)).join(' '), 'true true');
      },
    ],
    [
      'two parts; ETag md5-2; a first part under 5 MiB refused',
      async () => {
        const upload = async (first: Buffer | string) => {
          const id = await b.startUpload('mp-two');
          const etags = [await b.part('mp-two', id, 1, first), await b.part('mp-two', id, 2, 'end')];
          return b.complete(
            'mp-two',
            id,
            etags.map((answer) => answer.headers.etag ?? ''),
          );
        };
        const done = await upload(mib5);
        const size = (await b.head('mp-two')).headers['content-length'];
        const small = await upload('small');
        return expectEqual(
          `${/-2("|&#34;|&quot;)?</.test(done.text)} ${size} ${small.status}`,
          'true 5242883 400',
        );
      },
    ],
    [
      'UploadPartCopy with range and x-amz-copy-source-if-match (wrong 412)',
      async () => {
        await b.put('upc', '0123456789');
        const id = await b.startUpload('upc-to');
        const source: Headers = {
          'x-amz-copy-source': `/${b.name}/upc`,
          'x-amz-copy-source-range': 'bytes=2-5',
        };
        const etag = await b.etag('upc');
        const wrong = await b.part('upc-to', id, 1, '', {
          ...source,
          'x-amz-copy-source-if-match': wrongEtag,
        });
        const right = await b.part('upc-to', id, 1, '', { ...source, 'x-amz-copy-source-if-match': etag });
        await b.complete('upc-to', id, [tag(right.text, 'ETag').replaceAll(/&(quot|#34);/g, '"')]);
        return expectEqual(`${wrong.status} ${right.status} ${await b.text('upc-to')}`, '412 200 2345');
      },
    ],
    [
      'CopyObject x-amz-copy-source-if-match (wrong 412)',
      async () => {
        await b.put('csm', 'x');
        const attempt = async (etag: string) =>
          (await b.copy('csm', 'csm-to', { 'x-amz-copy-source-if-match': etag })).status;
        return expectStatus([await attempt(wrongEtag), await attempt(await b.etag('csm'))], [412, 200]);
      },
    ],
  ];
}

function checksums(b: Bucket): Check[] {
  const crc = (text: string) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(crc32(text));
    return bytes.toString('base64');
  };
  const sha = (text: string) => createHash('sha256').update(text).digest('base64');
  return [
    [
      'Content-MD5 (wrong 400)',
      async () => expectStatus([(await b.put('cm', 'x', { 'content-md5': md5('y') })).status], [400]),
    ],
    [
      'x-amz-checksum-crc32 and -sha256 (right 200, wrong 400)',
      async () => {
        const crcs = [crc('x'), crc('y')].map((value) => b.put('ck', 'x', { 'x-amz-checksum-crc32': value }));
        const shas = [sha('x'), sha('y')].map((value) =>
          b.put('ck2', 'x', { 'x-amz-checksum-sha256': value }),
        );
        const answers = await Promise.all([...crcs, ...shas]);
        return expectStatus(
          answers.map((answer) => answer.status),
          [200, 400, 200, 400],
        );
      },
    ],
    [
      'x-amz-checksum-crc64nvme stored and given back (the SDKs of today send it)',
      async () => {
        // CRC-64/NVME of "123456789" is AE8B14860A799888
        const value = Buffer.from('ae8b14860a799888', 'hex').toString('base64');
        const put = await b.put('c64', '123456789', { 'x-amz-checksum-crc64nvme': value });
        const head = await b.head('c64', { 'x-amz-checksum-mode': 'ENABLED' });
        return expectEqual(`${put.status} ${head.headers['x-amz-checksum-crc64nvme']}`, `200 ${value}`);
      },
    ],
    [
      'streamed body with a checksum trailer (right 200, wrong 400)',
      async () => {
        const attempt = async (value: string) => {
          const headers: Headers = {
            'x-amz-content-sha256': 'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
            'content-encoding': 'aws-chunked',
            'x-amz-decoded-content-length': '5',
            'x-amz-trailer': 'x-amz-checksum-crc32',
          };
          return b.put('trailer', `5\r\nhello\r\n0\r\nx-amz-checksum-crc32:${value}\r\n\r\n`, headers);
        };
        const right = await attempt(crc('hello'));
        const body = await b.text('trailer');
        return expectEqual(
          `${right.status} ${body} ${(await attempt(crc('other'))).status}`,
          '200 hello 400',
        );
      },
    ],
  ];
}

function keys(b: Bucket): Check[] {
  const kept = async (...names: string[]) => {
    const statuses: number[] = [];
    for (const name of names) statuses.push((await b.put(name, name)).status);
    const bodies = await Promise.all(names.map((name) => b.text(name)));
    const xml = (await b.list('list-type=2&encoding-type=url')).text;
    const encoded = tag(xml, 'EncodingType') === 'url';
    const listed = keysOf(xml).map((key) =>
      encoded ? decodeURIComponent(key.replaceAll('+', '%20')) : unescapeXml(key),
    );
    const problems = names.flatMap((name, i) => {
      if (statuses[i] !== 200) return [`${JSON.stringify(name.slice(0, 20))} ${statuses[i]}`];
      if (bodies[i] !== name) return [`${JSON.stringify(name.slice(0, 20))} reads otherwise`];
      return listed.includes(name) ? [] : [`${JSON.stringify(name.slice(0, 20))} not listed`];
    });
    for (const name of names.reverse()) await b.delete(name);
    return problems.length === 0 ? 'yes' : `no: ${problems.join('; ')}`;
  };
  return [
    [
      'ListObjectsV2 encoding-type=url',
      async () =>
        expectEqual(tag((await b.list('list-type=2&encoding-type=url')).text, 'EncodingType'), 'url'),
    ],
    ['keys `a/b` and then `a`', async () => kept('k1/b', 'k1')],
    ['keys `a` and then `a/b`', async () => kept('k2', 'k2/b')],
    ['key with a body that ends in `/`', async () => kept('k3/')],
    ['key with `//` inside', async () => kept('k4//b')],
    ['key with `/./` inside', async () => kept('k5/./b')],
    ['key with `/../` inside', async () => kept('k5/../b')],
    ['key with blanks, quotes, `%`, `+`, `&`, `<`, `\\`', async () => kept(`k6 '"%+&<>\\?#~*`)],
    ['key of 1,024 bytes in short segments', async () => kept(`${'k7/'.repeat(341)}x`)],
    ['key of 1,024 bytes in one segment', async () => kept('k'.repeat(1024))],
    ['key with a control character', async () => kept('k8\u0001x')],
  ];
}

function versions(b: Bucket): Check[] {
  const enable = async () => {
    const body = '<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>';
    return (await b.call('PUT', '', 'versioning', { 'content-md5': md5(body) }, body)).status;
  };
  return [
    [
      'versioned bucket: old version read by id, both listed',
      async () => {
        const enabled = await enable();
        const first = (await b.put('v', 'one')).headers['x-amz-version-id'];
        await b.put('v', 'two');
        const old = (await b.call('GET', 'v', `versionId=${encode(String(first))}`)).text;
        const listed = [...(await b.list('versions&prefix=v')).text.matchAll(/<VersionId>/g)].length;
        return expectEqual(`${enabled} ${old} ${listed}`, '200 one 2');
      },
    ],
    [
      'versioned bucket: delete leaves a marker; If-None-Match: * over the marker 200, then 412',
      async () => {
        const marker = (await b.delete('v')).headers['x-amz-delete-marker'];
        const over = await b.put('v', 'three', createOnly);
        const again = await b.put('v', 'four', createOnly);
        return expectEqual(`${marker} ${over.status} ${again.status}`, 'true 200 412');
      },
    ],
    [
      'versioned bucket: If-Match on PUT and DELETE sees the current version',
      async () => {
        await b.put('vm', 'one');
        const first = await b.etag('vm');
        await b.put('vm', 'two');
        const stale = [await b.put('vm', 'x', ifMatch(first)), await b.delete('vm', ifMatch(first))];
        const right = await b.delete('vm', ifMatch(await b.etag('vm')));
        return expectStatus(
          [...stale, right].map((answer) => answer.status),
          [412, 412, 204],
        );
      },
    ],
    [
      'versioned bucket: 16 racing creators, one wins, 20 rounds',
      async () => {
        const prepare = async (round: number) => async (i: number) =>
          (await b.put(`vr-${round}`, String(i), createOnly)).status;
        return race(20, 16, prepare, (round) => b.text(`vr-${round}`));
      },
    ],
  ];
}

function tag(xml: string, name: string): string {
  return new RegExp(`<${name}>([^<]*)<`).exec(xml)?.[1] ?? '';
}

function keysOf(xml: string): string[] {
  return [...xml.matchAll(/<Key>([^<]*)</g)].map((match) => match[1] ?? '');
}

function unescapeXml(text: string): string {
  const named: Record<string, string> = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' };
  return text.replace(
    /&(?:#(\d+)|#x([\da-f]+)|(\w+));/gi,
    (all, decimal: string, hex: string, name: string) => {
      if (name !== undefined) return named[name] ?? all;
      return String.fromCodePoint(decimal === undefined ? Number.parseInt(hex, 16) : Number(decimal));
    },
  );
}

function tags(xml: string): string {
  return [...xml.matchAll(/<Key>([^<]*)<\/Key><Value>([^<]*)/g)]
    .map((m) => `${m[1]}=${m[2]}`)
    .sort()
    .join('&');
}

function md5(text: string): string {
  return createHash('md5').update(text).digest('base64');
}
