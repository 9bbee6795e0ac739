import { StoreFailure } from '../../model/failure.ts';
import type { HttpRequest } from './send.ts';

/** How the end of a body is told (RFC 9112, 6.3). */
export type Framing =
  | { readonly kind: 'sized'; readonly bytes: number }
  | { readonly kind: 'chunked' }
  | { readonly kind: 'until-close' };

export interface AnswerHead {
  readonly status: number;
  /** Lower-case names; of several fields with one name the values, joined with commas. Latin-1. */
  readonly headers: Readonly<Record<string, string>>;
  readonly framing: Framing;
  /** Whether the connection may carry another request afterwards. */
  readonly keepsAlive: boolean;
}

/** The request line and headers, Latin-1. `invalid` for what would be another request than the one that is meant. */
export function requestHead(request: HttpRequest, host: string, bodyBytes: number | undefined): string {
  const { method, path, headers } = request;
  if (!/^[\x21-\x7e]+$/.test(path)) throw malformed('path', path);
  let text = `${method} ${path} HTTP/1.1\r\n`;
  let hasHost = false;
  let hasLength = false;
  for (const name in headers) {
    const value = headers[name]!;
    if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name)) throw malformed('header name', name);
    if (!/^[\t\x20-\x7e\x80-\xff]*$/.test(value)) throw malformed(`header ${name}`, value);
    const lower = name.toLowerCase();
    if (lower === 'host') hasHost = true;
    if (lower === 'content-length') {
      if (value !== String(bodyBytes ?? 0)) throw malformed(`header ${name}`, value);
      hasLength = true;
    }
    text += `${name}: ${value}\r\n`;
  }
  if (!hasHost) text += `host: ${host}\r\n`;
  const tellsLength = bodyBytes !== undefined || method === 'PUT' || method === 'POST' || method === 'PATCH';
  if (!hasLength && tellsLength) text += `content-length: ${bodyBytes ?? 0}\r\n`;
  return `${text}connection: keep-alive\r\n\r\n`;
}

function malformed(what: string, value: string): StoreFailure {
  return new StoreFailure('invalid', `the ${what} ${JSON.stringify(value)} cannot be sent in a request`);
}

const statusLine = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: [\t\x20-\x7e\x80-\xff]*)?$/;
const field = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*$/;

/**
 * `text` is everything up to the blank line. Throws an `Error` for whatever is not plain HTTP/1: a guess about
 * where a body ends would make a broken body look whole.
 */
export function parseHead(text: string, method: HttpRequest['method']): AnswerHead {
  const lines = text.split('\r\n');
  const start = statusLine.exec(lines[0]!);
  if (!start) throw new Error('the answer is not HTTP/1');
  const status = Number(start[2]);
  const headers: Record<string, string> = Object.create(null);
  for (let at = 1; at < lines.length; at++) {
    const match = field.exec(lines[at]!);
    if (!match) throw new Error('the answer has a malformed header');
    const name = match[1]!.toLowerCase();
    const earlier = headers[name];
    headers[name] = earlier === undefined ? match[2]! : `${earlier}, ${match[2]}`;
  }
  const framing = framingOf(status, method, headers);
  const connection = (headers['connection'] ?? '').toLowerCase();
  const wanted = start[1] === '1' ? !/\bclose\b/.test(connection) : /\bkeep-alive\b/.test(connection);
  return { status, headers, framing, keepsAlive: wanted && framing.kind !== 'until-close' };
}

const nothing: Framing = { kind: 'sized', bytes: 0 };

function framingOf(
  status: number,
  method: HttpRequest['method'],
  headers: Readonly<Record<string, string>>,
): Framing {
  if (method === 'HEAD' || status === 204 || status === 304 || status < 200) return nothing;
  const encoding = headers['transfer-encoding'];
  const length = headers['content-length'];
  if (encoding !== undefined) {
    if (length !== undefined) throw new Error('the answer tells its length in two ways');
    if (encoding.toLowerCase() !== 'chunked') throw new Error(`the answer is encoded as ${encoding}`);
    return { kind: 'chunked' };
  }
  if (length === undefined) return { kind: 'until-close' };
  const [first, ...more] = length.split(/, */);
  if (!/^\d{1,15}$/.test(first!) || more.some((other) => other !== first)) {
    throw new Error('the answer tells no valid length');
  }
  return { kind: 'sized', bytes: Number(first) };
}
