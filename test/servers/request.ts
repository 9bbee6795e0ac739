import { createHash, createHmac } from 'node:crypto';
import { Agent, request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { request as httpsRequest } from 'node:https';

// Plain signed requests, apart from any SDK and from the drivers under test: what is sent is what is written here.

export interface Request {
  readonly method: string;
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
}

export interface Response {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly text: string;
}

const agent = new Agent({ keepAlive: true, maxSockets: 64 });

export async function send(request: Request): Promise<Response> {
  const { scheme, host, path, query } = splitUrl(request.url);
  const secure = scheme === 'https:';
  return new Promise((resolve, reject) => {
    const [hostname, port] = host.split(':');
    const options = {
      hostname,
      port,
      path: `${path}${query}`,
      method: request.method,
      headers: request.headers,
    };
    const outgoing = (secure ? httpsRequest : httpRequest)(
      { ...options, ...(secure ? {} : { agent }) },
      (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
        incoming.on('error', reject);
        incoming.on('end', () => {
          const body = Buffer.concat(chunks);
          resolve({
            status: incoming.statusCode ?? 0,
            headers: incoming.headers,
            body,
            text: body.toString('utf8'),
          });
        });
      },
    );
    outgoing.setTimeout(20_000, () => outgoing.destroy(new Error(`no answer to ${request.method} in 20 s`)));
    outgoing.on('error', reject);
    outgoing.end(request.body);
  });
}

export interface S3Keys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly region: string;
  /** `s3` when absent. */
  readonly service?: string;
}

/** AWS Signature Version 4. A caller may set `x-amz-content-sha256` itself, for a streamed body. */
export function signS3(request: Request, keys: S3Keys): Request {
  const url = splitUrl(request.url);
  const time = new Date().toISOString().replace(/[-:]|\.\d{3}/g, '');
  const scope = `${time.slice(0, 8)}/${keys.region}/${keys.service ?? 's3'}/aws4_request`;
  const headers: Record<string, string> = { host: url.host, 'x-amz-date': time };
  for (const [name, value] of Object.entries(request.headers ?? {})) headers[name.toLowerCase()] = value;
  const payload = headers['x-amz-content-sha256'] ?? sha256(request.body ?? '');
  headers['x-amz-content-sha256'] = payload;
  headers['content-length'] ??= String(Buffer.byteLength(request.body ?? ''));

  const names = Object.keys(headers)
    .filter((name) => name !== 'content-length')
    .sort();
  const query = [...new URLSearchParams(url.query)]
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .sort();
  const canonical = [
    request.method,
    url.path,
    query.join('&'),
    ...names.map((name) => `${name}:${headers[name]?.trim()}`),
    '',
    names.join(';'),
    payload,
  ].join('\n');
  const text = `AWS4-HMAC-SHA256\n${time}\n${scope}\n${sha256(canonical)}`;
  let key: string | Buffer = `AWS4${keys.secretAccessKey}`;
  for (const part of scope.split('/')) key = hmac(key, part);
  headers.authorization =
    `AWS4-HMAC-SHA256 Credential=${keys.accessKeyId}/${scope}, SignedHeaders=${names.join(';')}, ` +
    `Signature=${hmac(key, text).toString('hex')}`;
  return {
    ...request,
    url: `${url.scheme}//${url.host}${url.path}${query.length > 0 ? `?${query.join('&')}` : ''}`,
    headers,
  };
}

export interface AzureKeys {
  readonly account: string;
  readonly accountKey: string;
}

/** Azure's Shared Key. */
export function signAzure(request: Request, keys: AzureKeys): Request {
  const url = new URL(request.url);
  const headers: Record<string, string> = {
    'x-ms-date': new Date().toUTCString(),
    'x-ms-version': '2025-11-05',
  };
  for (const [name, value] of Object.entries(request.headers ?? {})) headers[name.toLowerCase()] = value;
  const length = Buffer.byteLength(request.body ?? '');
  headers['content-length'] = String(length);

  const standard = [
    'content-encoding',
    'content-language',
    'content-length',
    'content-md5',
    'content-type',
    'date',
    'if-modified-since',
    'if-match',
    'if-none-match',
    'if-unmodified-since',
    'range',
  ].map((name) => (name === 'content-length' && length === 0 ? '' : (headers[name] ?? '')));
  const vendor = Object.keys(headers)
    .filter((name) => name.startsWith('x-ms-'))
    .sort();
  const resource = [`/${keys.account}${url.pathname}`];
  for (const name of [...new Set(url.searchParams.keys())].sort()) {
    resource.push(`${name.toLowerCase()}:${url.searchParams.getAll(name).sort().join(',')}`);
  }
  const text = [
    request.method,
    ...standard,
    ...vendor.map((name) => `${name}:${headers[name]}`),
    ...resource,
  ].join('\n');
  const signature = hmac(Buffer.from(keys.accountKey, 'base64'), text).toString('base64');
  headers.authorization = `SharedKey ${keys.account}:${signature}`;
  return { ...request, headers };
}

/** As it is written: `URL` would take `/./` and `/../` out of an object's key, even percent-encoded. */
function splitUrl(url: string): { scheme: string; host: string; path: string; query: string } {
  const parts = /^(https?:)\/\/([^/?]+)([^?]*)(\?.*)?$/.exec(url);
  if (parts === null) throw new Error(`not a URL: ${url}`);
  return { scheme: parts[1] ?? '', host: parts[2] ?? '', path: parts[3] || '/', query: parts[4] ?? '' };
}

/** Percent-encodes as AWS wants it: everything but unreserved characters. */
export function encode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

export function sha256(data: string | Buffer): string {
  return createHash('sha256').update(data).digest('hex');
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
