import { createHmac } from 'node:crypto';
import type { HttpRequest } from '../http/send.ts';

/** The standard headers that Shared Key signs, in its order; the driver sends no others of that kind. */
const signedHeaders = [
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
] as const;

/**
 * Azure's Shared Key: the value of `authorization`. Header names must be lower case and `x-ms-date` set;
 * path and query are signed exactly as they are sent.
 */
export function sharedKeySignature(request: HttpRequest, account: string, key: Uint8Array): string {
  const signature = createHmac('sha256', key).update(stringToSign(request, account), 'utf8').digest('base64');
  return `SharedKey ${account}:${signature}`;
}

export function stringToSign(request: HttpRequest, account: string): string {
  const length = request.body === undefined ? 0 : Buffer.byteLength(request.body);
  const standard = signedHeaders.map((name) =>
    name === 'content-length' ? (length === 0 ? '' : String(length)) : (request.headers[name] ?? ''),
  );
  const vendor = Object.keys(request.headers)
    .filter((name) => name.startsWith('x-ms-'))
    .sort(compareHeaderNames)
    .map((name) => `${name}:${request.headers[name]?.trim() ?? ''}`);
  return [request.method, ...standard, ...vendor, canonicalResource(request.path, account)].join('\n');
}

/**
 * The service sorts as .NET's culture does, where `_` comes before digits and letters; by bytes it comes
 * after digits, and a signature over `a_` beside `a1` would be refused.
 */
export function compareHeaderNames(a: string, b: string): number {
  const x = a.replaceAll('_', '/');
  const y = b.replaceAll('_', '/');
  return x < y ? -1 : x > y ? 1 : 0;
}

function canonicalResource(pathAndQuery: string, account: string): string {
  const at = pathAndQuery.indexOf('?');
  const path = at < 0 ? pathAndQuery : pathAndQuery.slice(0, at);
  const lines = [`/${account}${path}`];
  if (at >= 0) {
    const pairs = pathAndQuery
      .slice(at + 1)
      .split('&')
      .map(decodePair);
    for (const [name, value] of pairs.sort(([a], [b]) => (a < b ? -1 : 1))) lines.push(`${name}:${value}`);
  }
  return lines.join('\n');
}

function decodePair(pair: string): readonly [string, string] {
  const at = pair.indexOf('=');
  const [name, value] = at < 0 ? [pair, ''] : [pair.slice(0, at), pair.slice(at + 1)];
  return [decodeURIComponent(name).toLowerCase(), decodeURIComponent(value)];
}
