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

/** A request as it goes over the wire. */
export interface WireRequest {
  readonly method: HttpRequest['method'];
  /** Request line and headers, Latin-1. */
  readonly head: string;
  readonly body: Uint8Array | undefined;
}

/** `invalid` for what would be another request than the one that is meant. */
export function wireRequest(request: HttpRequest, host: string): WireRequest {
  const body = typeof request.body === 'string' ? Buffer.from(request.body) : request.body;
  return { method: request.method, head: requestHead(request, host, body?.length), body };
}

function requestHead(request: HttpRequest, host: string, bodyBytes: number | undefined): string {
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
const field = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t\x20-\x7e\x80-\xff]*)$/;

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
    const value = withoutBlanks(match[2]!);
    const earlier = headers[name];
    headers[name] = earlier === undefined ? value : `${earlier}, ${value}`;
  }
  const framing = framingOf(status, method, headers);
  const connection = (headers['connection'] ?? '').toLowerCase();
  // HTTP/1.0 knows no chunks: whoever sends them is not trusted with another request.
  const mayGoOn = start[1] === '1' || (/\bkeep-alive\b/.test(connection) && framing.kind === 'sized');
  const keepsAlive = mayGoOn && !/\bclose\b/.test(connection) && framing.kind !== 'until-close';
  return { status, headers, framing, keepsAlive };
}

/** `trim` would take bytes of UTF-8 for blanks, and a pattern tries long runs of them again and again. */
function withoutBlanks(text: string): string {
  let from = 0;
  let to = text.length;
  while (from < to && isBlank(text[from]!)) from++;
  while (to > from && isBlank(text[to - 1]!)) to--;
  return text.slice(from, to);
}

function isBlank(character: string): boolean {
  return character === ' ' || character === '\t';
}

const nothing: Framing = { kind: 'sized', bytes: 0 };

function framingOf(
  status: number,
  method: HttpRequest['method'],
  headers: Readonly<Record<string, string>>,
): Framing {
  const encoding = headers['transfer-encoding'];
  const length = headers['content-length'];
  if (length !== undefined && !/^\d{1,15}$/.test(length)) throw new Error('the answer tells no valid length');
  if (method === 'HEAD' || status === 204 || status === 304 || status < 200) return nothing;
  if (encoding !== undefined) {
    if (length !== undefined) throw new Error('the answer tells its length in two ways');
    if (encoding.toLowerCase() !== 'chunked') throw new Error(`the answer is encoded as ${encoding}`);
    return { kind: 'chunked' };
  }
  if (length !== undefined) return { kind: 'sized', bytes: Number(length) };
  // A range has a length, and what breaks off must not look like one.
  if (status === 206) throw new Error('the answer tells no length');
  return { kind: 'until-close' };
}
