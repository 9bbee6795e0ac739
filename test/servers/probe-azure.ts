import { createHash } from 'node:crypto';
import { type Check, expectEqual, expectStatus, type Finding, race, runChecks } from './probe.ts';
import { type AzureKeys, type Response, send, signAzure } from './request.ts';
import type { AzureSiteConfig, RunningServer } from './running.ts';

type Headers = Record<string, string>;
const createOnly: Headers = { 'if-none-match': '*' };
const wrongEtag = '"0x8D0000000000000"';
const ifMatch = (etag: string): Headers => ({ 'if-match': etag });
const blockId = (id: string | number): string => Buffer.from(String(id).padStart(8, '0')).toString('base64');

/** Requests against one container. */
class Container {
  readonly #base: string;
  readonly #keys: AzureKeys;
  constructor(site: AzureSiteConfig) {
    const value = (name: string) => new RegExp(`${name}=([^;]+)`).exec(site.connectionString)?.[1] ?? '';
    this.#keys = { account: value('AccountName'), accountKey: value('AccountKey') };
    this.#base = `${value('BlobEndpoint')}/${site.container}`;
  }

  async call(
    method: string,
    name: string,
    query = '',
    headers: Headers = {},
    body: string | Buffer = '',
  ): Promise<Response> {
    const path = name === '' ? '' : `/${name.split('/').map(encodeURIComponent).join('/')}`;
    const url = `${this.#base}${path}${query === '' ? '' : `?${query}`}`;
    return send(signAzure({ method, url, headers, body }, this.#keys));
  }

  put = (name: string, body: string | Buffer, headers: Headers = {}) =>
    this.call('PUT', name, '', { 'x-ms-blob-type': 'BlockBlob', ...headers }, body);
  get = (name: string, headers: Headers = {}) => this.call('GET', name, '', headers);
  head = (name: string, headers: Headers = {}) => this.call('HEAD', name, '', headers);
  delete = (name: string, headers: Headers = {}) => this.call('DELETE', name, '', headers);
  setMetadata = (name: string, headers: Headers) => this.call('PUT', name, 'comp=metadata', headers);
  list = (query = '') => this.call('GET', '', `restype=container&comp=list${query}`);
  block = (name: string, id: string, body: string | Buffer) =>
    this.call('PUT', name, `comp=block&blockid=${encodeURIComponent(id)}`, {}, body);
  copy = (from: string, to: string, headers: Headers = {}) =>
    this.call('PUT', to, '', {
      'x-ms-copy-source': `${this.#base}/${encodeURIComponent(from)}`,
      'x-ms-requires-sync': 'true',
      ...headers,
    });

  commit(name: string, ids: readonly string[], headers: Headers = {}): Promise<Response> {
    const list = ids.map((id) => `<Latest>${id}</Latest>`).join('');
    return this.call(
      'PUT',
      name,
      'comp=blocklist',
      headers,
      `<?xml version="1.0" encoding="utf-8"?><BlockList>${list}</BlockList>`,
    );
  }

  async etag(name: string): Promise<string> {
    return (await this.head(name)).headers.etag ?? '';
  }

  async text(name: string): Promise<string> {
    return (await this.get(name)).text;
  }

  url(name: string): string {
    return `${this.#base}/${encodeURIComponent(name)}`;
  }
}

type Writer = (name: string, body: string) => Promise<(headers: Headers) => Promise<Response>>;

export async function probeAzure(server: RunningServer<AzureSiteConfig>): Promise<Finding[]> {
  const open = async () => new Container(server.siteConfig(await server.newBucket()));
  const c = await open();
  const writers: readonly [string, Writer][] = [
    ['Put Blob', async (name, body) => (headers) => c.put(name, body, headers)],
    [
      'Put Block List',
      async (name, body) => {
        await c.block(name, blockId(body), body);
        return (headers) => c.commit(name, [blockId(body)], headers);
      },
    ],
    [
      'Copy Blob',
      async (name, body) => {
        await c.put(`source-${body}`, body);
        return (headers) => c.copy(`source-${body}`, name, headers);
      },
    ],
  ];
  return runChecks([
    ...writers.flatMap(([name, writer]) => conditionalWrites(c, name, writer)),
    ...conditionalChanges(c),
    ...reads(c),
    ...blocks(c),
    ...metadataAndTags(c),
    ...listing(c, await open()),
    ...keys(await open()),
  ]);
}

function conditionalWrites(c: Container, name: string, writer: Writer): Check[] {
  const at = (what: string) => `${name.replaceAll(' ', '-')}-${what}`;
  const attempt = async (blob: string, body: string, headers: Headers) =>
    (await (await writer(blob, body))(headers)).status;
  const ok = name === 'Copy Blob' ? 202 : 201;
  return [
    [
      `${name}: If-None-Match: * (absent ${ok}, present 409)`,
      async () => {
        const first = await attempt(at('inm'), '1', createOnly);
        return expectStatus([first, await attempt(at('inm'), '2', createOnly)], [ok, 409]);
      },
    ],
    [
      `${name}: If-Match (right ${ok}, wrong 412, absent 412)`,
      async () => {
        await c.put(at('im'), 'old');
        const right = await attempt(at('im'), '1', ifMatch(await c.etag(at('im'))));
        const wrong = await attempt(at('im'), '2', ifMatch(wrongEtag));
        return expectStatus(
          [right, wrong, await attempt(at('none'), '3', ifMatch(wrongEtag))],
          [ok, 412, 412],
        );
      },
    ],
    [
      `${name}: 16 racing creators, one wins, 20 rounds`,
      async () => {
        const prepare = async (round: number) => {
          const ready = await Promise.all(
            Array.from({ length: 16 }, (_, i) => writer(at(`race-${round}`), String(i))),
          );
          return async (i: number) => (await ready[i]?.(createOnly))?.status ?? 0;
        };
        return race(20, 16, prepare, (round) => c.text(at(`race-${round}`)));
      },
    ],
    [
      `${name}: 16 racing If-Match, one wins, 20 rounds`,
      async () => {
        const prepare = async (round: number) => {
          await c.put(at(`cas-${round}`), 'old');
          const etag = await c.etag(at(`cas-${round}`));
          const ready = await Promise.all(
            Array.from({ length: 16 }, (_, i) => writer(at(`cas-${round}`), String(i))),
          );
          return async (i: number) => (await ready[i]?.(ifMatch(etag)))?.status ?? 0;
        };
        return race(20, 16, prepare, (round) => c.text(at(`cas-${round}`)));
      },
    ],
  ];
}

function conditionalChanges(c: Container): Check[] {
  return [
    [
      'Delete: If-Match (wrong 412, right 202, absent 404 or 412)',
      async () => {
        await c.put('del', 'x');
        const wrong = await c.delete('del', ifMatch(wrongEtag));
        const right = await c.delete('del', ifMatch(await c.etag('del')));
        const absent = (await c.delete('del', ifMatch(wrongEtag))).status;
        return expectEqual(
          `${wrong.status} ${right.status} ${absent === 404 || absent === 412}`,
          '412 202 true',
        );
      },
    ],
    [
      'Delete: 15 racing puts and one delete, all If-Match, one wins, 20 rounds',
      async () => {
        const at = (round: number) => `del-race-${round}`;
        const prepare = async (round: number) => {
          await c.put(at(round), 'old');
          const etag = ifMatch(await c.etag(at(round)));
          return async (i: number) => {
            const answer =
              i === 7 ? await c.delete(at(round), etag) : await c.put(at(round), String(i), etag);
            return answer.status === 404 ? 412 : answer.status;
          };
        };
        const standing = async (round: number) => {
          const answer = await c.get(at(round));
          return answer.status === 404 ? '7' : answer.text;
        };
        return race(20, 16, prepare, standing);
      },
    ],
    [
      'Set Metadata: If-Match (wrong 412, right 200); new ETag',
      async () => {
        await c.put('meta-if', 'x');
        const before = await c.etag('meta-if');
        const wrong = await c.setMetadata('meta-if', { ...ifMatch(wrongEtag), 'x-ms-meta-a': '1' });
        const right = await c.setMetadata('meta-if', { ...ifMatch(before), 'x-ms-meta-a': '1' });
        return expectEqual(
          `${wrong.status} ${right.status} ${(await c.etag('meta-if')) !== before}`,
          '412 200 true',
        );
      },
    ],
    [
      'Copy Blob: x-ms-source-if-match (wrong 412, right 202)',
      async () => {
        await c.put('src', 'x');
        const attempt = async (etag: string) =>
          (await c.copy('src', 'src-to', { 'x-ms-source-if-match': etag })).status;
        return expectStatus([await attempt(wrongEtag), await attempt(await c.etag('src'))], [412, 202]);
      },
    ],
    [
      'equal bodies get new ETags',
      async () => {
        const etags: string[] = [];
        for (const body of ['x', 'y', 'x']) etags.push((await c.put('etags', body)).headers.etag ?? '');
        return expectEqual(String(new Set(etags).size), '3');
      },
    ],
  ];
}

function reads(c: Container): Check[] {
  return [
    [
      'Get: range 206, If-Match (wrong 412), If-None-Match (same 304)',
      async () => {
        await c.put('range', '0123456789');
        const range = await c.get('range', { 'x-ms-range': 'bytes=2-5' });
        const wrong = await c.get('range', ifMatch(wrongEtag));
        const same = await c.get('range', { 'if-none-match': await c.etag('range') });
        return expectEqual(
          `${range.text} ${range.status} ${wrong.status} ${same.status}`,
          '2345 206 412 304',
        );
      },
    ],
    [
      'Content-MD5: stored for Put Blob, checked (wrong 400)',
      async () => {
        const md5 = (text: string) => createHash('md5').update(text).digest('base64');
        await c.put('md5', 'x');
        const stored = (await c.head('md5')).headers['content-md5'];
        const wrong = await c.put('md5', 'x', { 'content-md5': md5('y') });
        return expectEqual(`${stored} ${wrong.status}`, `${md5('x')} 400`);
      },
    ],
    [
      'x-ms-content-crc64 (wrong 400)',
      async () =>
        expectStatus([(await c.put('crc64', 'x', { 'x-ms-content-crc64': 'AAAAAAAAAAA=' })).status], [400]),
    ],
  ];
}

function blocks(c: Container): Check[] {
  return [
    [
      'Put Block List may name committed blocks again; Get Block List',
      async () => {
        await c.block('again', blockId('a'), 'one');
        await c.commit('again', [blockId('a')]);
        await c.block('again', blockId('b'), 'two');
        const done = await c.commit('again', [blockId('b'), blockId('a'), blockId('a')]);
        const listed = (await c.call('GET', 'again', 'comp=blocklist&blocklisttype=all')).text;
        return expectEqual(
          `${done.status} ${await c.text('again')} ${[...listed.matchAll(/<Name>/g)].length}`,
          '201 twooneone 3',
        );
      },
    ],
    [
      'uncommitted blobs are listed with include=uncommittedblobs only',
      async () => {
        await c.block('uncommitted', blockId('a'), 'x');
        const plain = (await c.list('&prefix=uncommitted')).text.includes('<Name>uncommitted<');
        const all = (await c.list('&prefix=uncommitted&include=uncommittedblobs')).text.includes(
          '<Name>uncommitted<',
        );
        return expectEqual(`${plain} ${all}`, 'false true');
      },
    ],
    [
      'Put Blob drops the uncommitted blocks; Put Block List without them 400',
      async () => {
        await c.block('drop', blockId('a'), 'x');
        await c.put('drop', 'whole');
        return expectStatus([(await c.commit('drop', [blockId('a')])).status], [400]);
      },
    ],
    [
      'Put Blob From URL and Put Block From URL, of the same account',
      async () => {
        await c.put('from', '0123456789');
        const blob = await c.call('PUT', 'from-blob', '', {
          'x-ms-blob-type': 'BlockBlob',
          'x-ms-copy-source': c.url('from'),
        });
        const source: Headers = { 'x-ms-copy-source': c.url('from'), 'x-ms-source-range': 'bytes=2-5' };
        const block = await c.call(
          'PUT',
          'from-block',
          `comp=block&blockid=${encodeURIComponent(blockId('a'))}`,
          source,
        );
        return expectStatus([blob.status, block.status], [201, 201]);
      },
    ],
  ];
}

function metadataAndTags(c: Container): Check[] {
  const meta: Headers = {
    'x-ms-meta-isobar_v': 'one,two=3',
    'x-ms-blob-content-type': 'text/x-test',
    'x-ms-blob-cache-control': 'no-store',
  };
  const shown = async (name: string) => {
    const { headers } = await c.head(name);
    return [headers['x-ms-meta-isobar_v'], headers['content-type'], headers['cache-control']].join(' ');
  };
  const wanted = 'one,two=3 text/x-test no-store';
  return [
    [
      'metadata kept by Put Blob, Put Block List, Copy Blob',
      async () => {
        await c.put('m1', 'x', meta);
        await c.block('m2', blockId('a'), 'x');
        await c.commit('m2', [blockId('a')], meta);
        await c.copy('m1', 'm3');
        const seen = await Promise.all(['m1', 'm2', 'm3'].map(shown));
        return expectEqual(seen.join('; '), [wanted, wanted, wanted].join('; '));
      },
    ],
    [
      'metadata name with a hyphen refused (400)',
      async () => expectStatus([(await c.put('hyphen', 'x', { 'x-ms-meta-a-b': '1' })).status], [400]),
    ],
    [
      'tags at Put Blob and by Set Tags; the ETag stays; listed',
      async () => {
        await c.put('tags', 'x', { 'x-ms-tags': 'a=1&b=two' });
        const etag = await c.etag('tags');
        const first = tags((await c.call('GET', 'tags', 'comp=tags')).text);
        const body =
          '<?xml version="1.0" encoding="utf-8"?><Tags><TagSet><Tag><Key>c</Key><Value>3</Value></Tag></TagSet></Tags>';
        const set = await c.call(
          'PUT',
          'tags',
          'comp=tags',
          { 'content-type': 'application/xml; charset=UTF-8' },
          body,
        );
        const listed = tags((await c.list('&prefix=tags&include=tags')).text);
        return expectEqual(
          [first, set.status, listed, (await c.etag('tags')) === etag].join(' '),
          'a=1&b=two 204 c=3 true',
        );
      },
    ],
    [
      'x-ms-if-tags (wrong 412)',
      async () => {
        await c.put('if-tags', 'x', { 'x-ms-tags': 'a=1' });
        return expectStatus([(await c.put('if-tags', 'y', { 'x-ms-if-tags': `"a" = '2'` })).status], [412]);
      },
    ],
  ];
}

function listing(c: Container, own: Container): Check[] {
  const names = (xml: string) => [...xml.matchAll(/<Blob><Name>([^<]*)</g)].map((match) => match[1] ?? '');
  return [
    [
      'list with include=metadata: metadata, Etag, Content-MD5, size',
      async () => {
        await c.put('listed', 'x', { 'x-ms-meta-a': 'one' });
        const xml = (await c.list('&prefix=listed&include=metadata')).text;
        const there = [/<Metadata><a>one<\/a>/, /<Etag>/, /<Content-MD5>[^<]/, /<Content-Length>1</].map(
          (p) => p.test(xml),
        );
        return expectEqual(there.join(' '), 'true true true true');
      },
    ],
    [
      'list in UTF-8 order, also beyond the BMP',
      async () => {
        const wanted = ['Z', 'a', 'a!', 'a/b', 'a0', 'é', '\uFF5E', '\u{1F600}'];
        for (const name of [...wanted].reverse()) await own.put(name, 'x');
        wanted.sort((x, y) => Buffer.compare(Buffer.from(x), Buffer.from(y)));
        return expectEqual(names((await own.list()).text).join(' '), wanted.join(' '));
      },
    ],
    [
      'list: pages, delimiter',
      async () => {
        for (const name of ['p/a', 'p/b/1', 'p/b/2', 'p/c', 'p/d']) await c.put(name, 'x');
        const first = (await c.list('&prefix=p%2F&maxresults=2')).text;
        const marker = /<NextMarker>([^<]+)</.exec(first)?.[1] ?? '';
        const rest = (await c.list(`&prefix=p%2F&marker=${encodeURIComponent(marker)}`)).text;
        const folded = (await c.list('&prefix=p%2F&delimiter=%2F')).text;
        const prefixes = [...folded.matchAll(/<BlobPrefix><Name>([^<]*)/g)].map((match) => match[1]);
        const seen = [first, rest, folded].map((xml) => names(xml).join(',')).join(' ');
        return expectEqual(`${seen} ${prefixes.join()}`, 'p/a,p/b/1 p/b/2,p/c,p/d p/a,p/c,p/d p/b/');
      },
    ],
  ];
}

function keys(c: Container): Check[] {
  const kept = async (...names: string[]) => {
    const statuses: number[] = [];
    for (const name of names) statuses.push((await c.put(name, name)).status);
    const bodies = await Promise.all(names.map((name) => c.text(name)));
    const bad = names.findIndex((name, i) => statuses[i] !== 201 || bodies[i] !== name);
    return bad < 0 ? 'yes' : `no: ${JSON.stringify(names[bad]?.slice(0, 20))} ${statuses[bad]}`;
  };
  return [
    ['keys `a` and `a/b`, `a/`, `a//b`', async () => kept('k1', 'k1/b', 'k1/', 'k1//b')],
    ['key with blanks, quotes, `%`, `+`, `&`, `<`', async () => kept(`k3 '"%+&<>?#~*`)],
    ['key of 1,024 characters', async () => kept('k'.repeat(1024))],
  ];
}

function tags(xml: string): string {
  return [...xml.matchAll(/<Key>([^<]*)<\/Key>\s*<Value>([^<]*)/g)]
    .map((m) => `${m[1]}=${m[2]}`)
    .sort()
    .join('&');
}
