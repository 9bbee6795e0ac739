import { createHash } from 'node:crypto';
import { type Check, expectEqual, expectStatus, type Finding, race, runChecks } from './probe.ts';
import { type Response, send } from './request.ts';
import type { GcsSiteConfig, RunningServer } from './running.ts';

type Headers = Record<string, string>;
type Metadata = Record<string, string>;

interface ObjectResource {
  readonly name: string;
  readonly generation: string;
  readonly metageneration: string;
  readonly size: string;
  readonly md5Hash?: string;
  readonly crc32c?: string;
  readonly etag?: string;
  readonly contentType?: string;
  readonly cacheControl?: string;
  readonly metadata?: Metadata;
}

/** JSON API requests against one bucket. */
class Bucket {
  readonly #site: GcsSiteConfig;
  constructor(site: GcsSiteConfig) {
    this.#site = site;
  }

  async call(
    method: string,
    path: string,
    body: string | Buffer = '',
    headers: Headers = {},
  ): Promise<Response> {
    const type: Headers = body === '' ? {} : { 'content-type': 'application/json' };
    const length = String(Buffer.byteLength(body));
    return send({
      method,
      url: `${this.#site.endpoint}${path}`,
      body,
      headers: { 'content-length': length, ...type, ...headers },
    });
  }

  /** Of an object: `condition` is a query such as `ifGenerationMatch=0`. */
  object(method: string, name: string, condition = '', body = ''): Promise<Response> {
    return this.call(method, `${this.#path(name)}?${condition}`, body);
  }

  range = (name: string, range: string) => this.call('GET', `${this.#path(name)}?alt=media`, '', { range });

  media = (name: string, body: string | Buffer, condition = '') =>
    this.call(
      'POST',
      `${this.#upload()}?uploadType=media&name=${encodeURIComponent(name)}&${condition}`,
      body,
      {
        'content-type': 'text/plain',
      },
    );

  multipart(name: string, body: string, condition = '', resource: object = {}): Promise<Response> {
    const json = JSON.stringify({ name, ...resource });
    const text =
      `--cut\r\ncontent-type: application/json\r\n\r\n${json}\r\n` +
      `--cut\r\ncontent-type: application/octet-stream\r\n\r\n${body}\r\n--cut--\r\n`;
    const headers = { 'content-type': 'multipart/related; boundary=cut' };
    return this.call('POST', `${this.#upload()}?uploadType=multipart&${condition}`, text, headers);
  }

  async startResumable(name: string, condition = '', resource: object = {}): Promise<Response> {
    return this.call(
      'POST',
      `${this.#upload()}?uploadType=resumable&name=${encodeURIComponent(name)}&${condition}`,
      JSON.stringify(resource),
    );
  }

  /** A PUT to the session; `range` such as `bytes 0-9/10`. */
  async session(start: Response, range: string, body: string | Buffer = ''): Promise<Response> {
    const url = String(start.headers.location);
    return send({
      method: 'PUT',
      url,
      body,
      headers: { 'content-range': range, 'content-length': String(Buffer.byteLength(body)) },
    });
  }

  async resumable(name: string, body: string, condition = ''): Promise<Response> {
    const start = await this.startResumable(name, condition);
    if (start.status !== 200) return start;
    return this.session(start, `bytes 0-${body.length - 1}/${body.length}`, body);
  }

  compose = (name: string, from: readonly string[], condition = '') =>
    this.call(
      'POST',
      `${this.#path(name)}/compose?${condition}`,
      JSON.stringify({ sourceObjects: from.map((source) => ({ name: source })), destination: {} }),
    );

  transfer = (verb: 'rewriteTo' | 'copyTo', from: string, to: string, condition = '', body = '') =>
    this.call(
      'POST',
      `${this.#path(from)}/${verb}${this.#path(to).slice('/storage/v1'.length)}?${condition}`,
      body,
    );

  async resource(name: string): Promise<ObjectResource> {
    return JSON.parse((await this.object('GET', name)).text) as ObjectResource;
  }

  async text(name: string): Promise<string> {
    return (await this.object('GET', name, 'alt=media')).text;
  }

  async list(query = ''): Promise<{ items?: ObjectResource[]; prefixes?: string[]; nextPageToken?: string }> {
    return JSON.parse((await this.call('GET', `/storage/v1/b/${this.#site.bucket}/o?${query}`)).text);
  }

  #path(name: string): string {
    return `/storage/v1/b/${this.#site.bucket}/o/${encodeURIComponent(name)}`;
  }

  #upload(): string {
    return `/upload/storage/v1/b/${this.#site.bucket}/o`;
  }
}

type Writer = (name: string, body: string) => Promise<(condition: string) => Promise<Response>>;

export async function probeGcs(server: RunningServer<GcsSiteConfig>): Promise<Finding[]> {
  const open = async () => new Bucket(server.siteConfig(await server.newBucket()));
  const b = await open();
  const fromSource =
    (write: (source: string, name: string, condition: string) => Promise<Response>): Writer =>
    async (name, body) => {
      await b.media(`source-${body}`, body);
      return (condition) => write(`source-${body}`, name, condition);
    };
  const writers: readonly [string, Writer][] = [
    ['simple upload', async (name, body) => (condition) => b.media(name, body, condition)],
    ['multipart upload', async (name, body) => (condition) => b.multipart(name, body, condition)],
    ['resumable upload', async (name, body) => (condition) => b.resumable(name, body, condition)],
    ['compose', fromSource((source, name, condition) => b.compose(name, [source], condition))],
    ['rewrite', fromSource((source, name, condition) => b.transfer('rewriteTo', source, name, condition))],
    ['copy', fromSource((source, name, condition) => b.transfer('copyTo', source, name, condition))],
  ];
  return runChecks([
    ...writers.flatMap(([name, writer]) => conditionalWrites(b, name, writer)),
    ...conditionalChanges(b),
    ...reads(b),
    ...metadataAndListing(b, await open()),
    ...resumables(b),
    ...keys(await open()),
  ]);
}

function conditionalWrites(b: Bucket, name: string, writer: Writer): Check[] {
  const at = (what: string) => `${name.replaceAll(' ', '-')}-${what}`;
  const attempt = async (key: string, body: string, condition: string) =>
    (await (await writer(key, body))(condition)).status;
  return [
    [
      `${name}: ifGenerationMatch=0 (absent 200, present 412)`,
      async () => {
        const first = await attempt(at('zero'), 'a', 'ifGenerationMatch=0');
        return expectStatus([first, await attempt(at('zero'), 'b', 'ifGenerationMatch=0')], [200, 412]);
      },
    ],
    [
      `${name}: ifGenerationMatch (right 200, wrong 412, absent object 412)`,
      async () => {
        await b.media(at('gen'), 'old');
        const { generation } = await b.resource(at('gen'));
        const right = await attempt(at('gen'), 'a', `ifGenerationMatch=${generation}`);
        const wrong = await attempt(at('gen'), 'b', `ifGenerationMatch=${generation}`);
        return expectStatus(
          [right, wrong, await attempt(at('none'), 'c', 'ifGenerationMatch=7')],
          [200, 412, 412],
        );
      },
    ],
    [
      `${name}: ifMetagenerationMatch (wrong 412, right 200)`,
      async () => {
        await b.media(at('meta'), 'old');
        const wrong = await attempt(at('meta'), 'a', 'ifMetagenerationMatch=9');
        return expectStatus([wrong, await attempt(at('meta'), 'b', 'ifMetagenerationMatch=1')], [412, 200]);
      },
    ],
    [
      `${name}: 16 racing creators, one wins, 20 rounds`,
      async () => {
        const prepare = async (round: number) => {
          const ready = await Promise.all(
            Array.from({ length: 16 }, (_, i) => writer(at(`race-${round}`), String(i))),
          );
          return async (i: number) => (await ready[i]?.('ifGenerationMatch=0'))?.status ?? 0;
        };
        return race(20, 16, prepare, (round) => b.text(at(`race-${round}`)));
      },
    ],
    [
      `${name}: 16 racing ifGenerationMatch, one wins, 20 rounds`,
      async () => {
        const prepare = async (round: number) => {
          await b.media(at(`cas-${round}`), 'old');
          const { generation } = await b.resource(at(`cas-${round}`));
          const ready = await Promise.all(
            Array.from({ length: 16 }, (_, i) => writer(at(`cas-${round}`), String(i))),
          );
          return async (i: number) => (await ready[i]?.(`ifGenerationMatch=${generation}`))?.status ?? 0;
        };
        return race(20, 16, prepare, (round) => b.text(at(`cas-${round}`)));
      },
    ],
  ];
}

function conditionalChanges(b: Bucket): Check[] {
  return [
    [
      'delete: ifGenerationMatch, ifMetagenerationMatch (wrong 412, right 204)',
      async () => {
        await b.media('del', 'x');
        const { generation } = await b.resource('del');
        const wrong = [
          await b.object('DELETE', 'del', 'ifGenerationMatch=7'),
          await b.object('DELETE', 'del', 'ifMetagenerationMatch=7'),
        ];
        const right = await b.object(
          'DELETE',
          'del',
          `ifGenerationMatch=${generation}&ifMetagenerationMatch=1`,
        );
        return expectStatus(
          [...wrong, right].map((answer) => answer.status),
          [412, 412, 204],
        );
      },
    ],
    [
      'delete: 15 racing uploads and one delete, one wins, 20 rounds',
      async () => {
        const at = (round: number) => `del-race-${round}`;
        const prepare = async (round: number) => {
          await b.media(at(round), 'old');
          const condition = `ifGenerationMatch=${(await b.resource(at(round))).generation}`;
          return async (i: number) => {
            const answer =
              i === 7
                ? await b.object('DELETE', at(round), condition)
                : await b.media(at(round), String(i), condition);
            return answer.status === 404 ? 412 : answer.status;
          };
        };
        const standing = async (round: number) => {
          const answer = await b.object('GET', at(round), 'alt=media');
          return answer.status === 404 ? '7' : answer.text;
        };
        return race(20, 16, prepare, standing);
      },
    ],
    [
      'patch metadata: ifMetagenerationMatch, ifGenerationMatch (wrong 412, right 200); metageneration grows, generation stays',
      async () => {
        await b.media('patch', 'x');
        const before = await b.resource('patch');
        const body = JSON.stringify({ metadata: { a: '1' } });
        const wrong = [
          await b.object('PATCH', 'patch', 'ifMetagenerationMatch=7', body),
          await b.object('PATCH', 'patch', 'ifGenerationMatch=7', body),
        ];
        const right = await b.object(
          'PATCH',
          'patch',
          `ifMetagenerationMatch=1&ifGenerationMatch=${before.generation}`,
          body,
        );
        const after = await b.resource('patch');
        const seen = [
          ...wrong.map((w) => w.status),
          right.status,
          after.metageneration,
          after.generation === before.generation,
        ];
        return expectEqual(seen.join(' '), '412 412 200 2 true');
      },
    ],
    [
      'rewrite: ifSourceGenerationMatch (wrong 412, right 200)',
      async () => {
        await b.media('src', 'x');
        const { generation } = await b.resource('src');
        const attempt = async (wanted: string) =>
          (await b.transfer('rewriteTo', 'src', 'src-to', `ifSourceGenerationMatch=${wanted}`)).status;
        return expectStatus([await attempt('7'), await attempt(generation)], [412, 200]);
      },
    ],
    [
      'a rewrite onto itself with new metadata: new generation',
      async () => {
        await b.media('self', 'x');
        const before = await b.resource('self');
        await b.transfer('rewriteTo', 'self', 'self', '', JSON.stringify({ metadata: { a: '1' } }));
        const after = await b.resource('self');
        return expectEqual(`${after.generation !== before.generation} ${after.metadata?.a}`, 'true 1');
      },
    ],
    [
      'equal bodies get new generations, ever larger',
      async () => {
        const generations: bigint[] = [];
        for (const body of ['x', 'y', 'x']) {
          await b.media('gens', body);
          generations.push(BigInt((await b.resource('gens')).generation));
        }
        const [one = 0n, two = 0n, three = 0n] = generations;
        return expectEqual(String(one < two && two < three), 'true');
      },
    ],
  ];
}

function reads(b: Bucket): Check[] {
  return [
    [
      'read: range 206, ifGenerationMatch (wrong 412), ifGenerationNotMatch (same 304), old generation 404',
      async () => {
        await b.media('read', '0123456789');
        const { generation } = await b.resource('read');
        const media = (condition: string) => b.object('GET', 'read', `alt=media&${condition}`);
        const range = await b.range('read', 'bytes=2-5');
        const others = [
          await media('ifGenerationMatch=7'),
          await media(`ifGenerationNotMatch=${generation}`),
          await media('generation=7'),
        ];
        return expectEqual(
          [range.text, range.status, ...others.map((o) => o.status)].join(' '),
          '2345 206 412 304 404',
        );
      },
    ],
    [
      'md5Hash and crc32c of a simple upload',
      async () => {
        await b.media('123', '123456789');
        const { md5Hash, crc32c } = await b.resource('123');
        const md5 = createHash('md5').update('123456789').digest('base64');
        // CRC-32C of "123456789" is E3069283
        return expectEqual(
          `${md5Hash} ${crc32c}`,
          `${md5} ${Buffer.from('e3069283', 'hex').toString('base64')}`,
        );
      },
    ],
    [
      'md5Hash or crc32c given with a multipart upload (wrong 400)',
      async () => {
        const wrong = [
          await b.multipart('sum', 'x', '', { md5Hash: createHash('md5').update('y').digest('base64') }),
          await b.multipart('sum', 'x', '', { crc32c: 'AAAAAA==' }),
        ];
        return expectStatus(
          wrong.map((answer) => answer.status),
          [400, 400],
        );
      },
    ],
    [
      'crc32c given at the start of a resumable upload (wrong 400)',
      async () => {
        const start = await b.startResumable('sum-r', '', { crc32c: 'AAAAAA==' });
        return expectStatus([(await b.session(start, 'bytes 0-0/1', 'x')).status], [400]);
      },
    ],
    [
      'composed object: crc32c and componentCount, no md5Hash',
      async () => {
        await b.media('c1', '1234');
        await b.media('c2', '56789');
        await b.compose('c12', ['c1', 'c2']);
        const whole = await b.resource('c12');
        const wanted = Buffer.from('e3069283', 'hex').toString('base64');
        return expectEqual(
          `${await b.text('c12')} ${whole.crc32c} ${whole.md5Hash}`,
          `123456789 ${wanted} undefined`,
        );
      },
    ],
  ];
}

function metadataAndListing(b: Bucket, own: Bucket): Check[] {
  const resource = {
    metadata: { 'isobar-v': 'one,two=3', Upper: 'é' },
    contentType: 'text/x-test',
    cacheControl: 'no-store',
  };
  const shown = (o: ObjectResource | undefined) =>
    [o?.metadata?.['isobar-v'], o?.metadata?.Upper, o?.contentType, o?.cacheControl].join(' ');
  const wanted = 'one,two=3 é text/x-test no-store';
  return [
    [
      'metadata kept by multipart and resumable upload, compose and rewrite; listed',
      async () => {
        await own.multipart('m1', 'x', '', resource);
        await own.session(await own.startResumable('m2', '', resource), 'bytes 0-0/1', 'x');
        await own.transfer('rewriteTo', 'm1', 'm3');
        const items = (await own.list()).items ?? [];
        const wrong = ['m1', 'm2', 'm3'].flatMap((name) => {
          const text = shown(items.find((item) => item.name === name));
          return text === wanted ? [] : [`${name}: ${text}`];
        });
        return wrong.length === 0 ? 'yes' : `no: ${wrong.join('; ')}`;
      },
    ],
    [
      'list: generation, size, md5Hash; UTF-8 order, also beyond the BMP',
      async () => {
        const names = ['Z', 'a', 'a!', 'a/b', 'a0', 'é', '\uFF5E', '\u{1F600}'].map(
          (name) => `order/${name}`,
        );
        for (const name of [...names].reverse()) await b.media(name, 'x');
        const items = (await b.list('prefix=order%2F')).items ?? [];
        const full = items.every((item) => item.generation && item.size && item.md5Hash);
        const sorted = names.sort((x, y) => Buffer.compare(Buffer.from(x), Buffer.from(y)));
        return expectEqual(`${full} ${items.map((item) => item.name).join(' ')}`, `true ${sorted.join(' ')}`);
      },
    ],
    [
      'list: pages, startOffset, endOffset, delimiter',
      async () => {
        for (const name of ['p/a', 'p/b/1', 'p/b/2', 'p/c', 'p/d']) await b.media(name, 'x');
        const first = await b.list('prefix=p%2F&maxResults=2');
        const rest = await b.list(`prefix=p%2F&pageToken=${encodeURIComponent(first.nextPageToken ?? '')}`);
        const offsets = await b.list('prefix=p%2F&startOffset=p%2Fb%2F2&endOffset=p%2Fd');
        const folded = await b.list('prefix=p%2F&delimiter=%2F');
        const seen = [first, rest, offsets, folded].map((page) =>
          (page.items ?? []).map((item) => item.name).join(','),
        );
        return expectEqual(
          `${seen.join(' ')} ${folded.prefixes?.join()}`,
          'p/a,p/b/1 p/b/2,p/c,p/d p/b/2,p/c p/a,p/c,p/d p/b/',
        );
      },
    ],
    [
      'a change is in the next listing at once',
      async () => {
        const count = async () => (await b.list('prefix=fresh')).items?.length ?? 0;
        await b.media('fresh', 'x');
        const there = await count();
        await b.object('DELETE', 'fresh');
        return expectEqual(`${there} ${await count()}`, '1 0');
      },
    ],
  ];
}

function resumables(b: Bucket): Check[] {
  const chunk = Buffer.alloc(256 * 1024, 'r');
  return [
    [
      'resumable: chunks, status query, resumed after part of it',
      async () => {
        const start = await b.startResumable('chunks');
        const first = await b.session(start, `bytes 0-${chunk.length - 1}/*`, chunk);
        const status = await b.session(start, 'bytes */*');
        const last = await b.session(
          start,
          `bytes ${chunk.length}-${chunk.length + 2}/${chunk.length + 3}`,
          'end',
        );
        const seen = [
          first.status,
          status.status,
          status.headers.range,
          last.status,
          (await b.text('chunks')).length,
        ];
        return expectEqual(seen.join(' '), `308 308 bytes=0-${chunk.length - 1} 200 ${chunk.length + 3}`);
      },
    ],
    [
      'resumable: the condition is checked again when it ends',
      async () => {
        const start = await b.startResumable('late', 'ifGenerationMatch=0');
        await b.media('late', 'other');
        const end = await b.session(start, 'bytes 0-0/1', 'x');
        return expectEqual(`${end.status} ${await b.text('late')}`, '412 other');
      },
    ],
    [
      'resumable: cancelled by DELETE (499, then 404 or 410)',
      async () => {
        const start = await b.startResumable('cancel');
        const url = String(start.headers.location);
        const cancel = await send({ method: 'DELETE', url, headers: { 'content-length': '0' } });
        const after = await b.session(start, 'bytes 0-0/1', 'x');
        return expectEqual(`${cancel.status} ${[404, 410, 499].includes(after.status)}`, '499 true');
      },
    ],
  ];
}

function keys(b: Bucket): Check[] {
  const kept = async (...names: string[]) => {
    for (const name of names) await b.media(name, name);
    const listed = ((await b.list()).items ?? []).map((item) => item.name);
    const bodies = await Promise.all(names.map((name) => b.text(name)));
    const bad = names.filter((name, i) => !listed.includes(name) || bodies[i] !== name);
    return bad.length === 0 ? 'yes' : `no: ${JSON.stringify(bad[0]?.slice(0, 20))}`;
  };
  return [
    ['keys `a` and `a/b`, `a/`, `a//b`', async () => kept('k1', 'k1/b', 'k1/', 'k1//b')],
    ['keys with `/./` and `/../` inside', async () => kept('k2/./b', 'k2/../b')],
    ['key with blanks, quotes, `%`, `+`, `&`, `<`, `\\`', async () => kept(`k3 '"%+&<>\\?#~*`)],
    ['key of 1,024 bytes', async () => kept('k'.repeat(1024))],
  ];
}
