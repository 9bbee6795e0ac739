import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import {
  type Attributes,
  type Bucket,
  type Conditions,
  Content,
  check,
  notFound,
  Refusal,
  type StoredObject,
} from './objects.ts';

/** Google keeps what came of an unfinished upload in multiples of this. */
const quantum = 256 * 1024;

/** The JSON that comes before the bytes. */
export interface UploadResource extends Attributes {
  readonly name?: string;
  readonly md5Hash?: string;
  readonly crc32c?: string;
}

export interface Session {
  readonly id: string;
  readonly bucket: Bucket;
  readonly name: string;
  readonly resource: UploadResource;
  readonly conditions: Conditions;
  readonly content: Content;
  finished?: StoredObject;
}

/** Answer 308: what is there so far. */
export interface Unfinished {
  readonly persisted: number;
}

export function finish(
  bucket: Bucket,
  name: string,
  content: Content,
  resource: UploadResource,
  conditions: Conditions,
): StoredObject {
  const { md5Hash, crc32c, name: _, ...attributes } = resource;
  if (md5Hash !== undefined && md5Hash !== content.md5Hash)
    throw new Refusal(400, 'invalid', 'Provided MD5 hash does not match');
  if (crc32c !== undefined && crc32c !== content.crc32c)
    throw new Refusal(400, 'invalid', 'Provided CRC32C does not match');
  return bucket.put(name, content, pick(attributes), conditions);
}

/** Only what a client may set. */
export function pick(given: Attributes): Attributes {
  const {
    contentType,
    contentEncoding,
    contentDisposition,
    contentLanguage,
    cacheControl,
    storageClass,
    metadata,
  } = given;
  return {
    contentType,
    contentEncoding,
    contentDisposition,
    contentLanguage,
    cacheControl,
    storageClass,
    metadata,
  };
}

/** `multipart/related`: the resource, then the bytes. */
export function splitMultipart(
  body: Buffer,
  contentType: string,
): { resource: UploadResource; content: Content } {
  const boundary = /boundary=(?:"([^"]+)"|([^;]+))/i.exec(contentType);
  const mark = `--${boundary?.[1] ?? boundary?.[2] ?? ''}`;
  if (mark === '--') throw new Refusal(400, 'invalid', 'no boundary');
  const first = body.indexOf(mark);
  const second = body.indexOf(`\r\n${mark}`, first + mark.length);
  const end = body.lastIndexOf(`\r\n${mark}--`);
  if (first < 0 || second < 0 || end <= second)
    throw new Refusal(400, 'invalid', 'not multipart/related of two parts');
  const head = section(body.subarray(first + mark.length + 2, second));
  const tail = section(body.subarray(second + mark.length + 4, end));
  const resource = JSON.parse(head.bytes.toString('utf8')) as UploadResource;
  const content = new Content();
  content.add(tail.bytes);
  return { resource: { ...resource, contentType: resource.contentType ?? tail.type }, content };
}

function section(part: Buffer): { type: string | undefined; bytes: Buffer } {
  // A part may have no header at all; then the blank line comes first.
  if (part.subarray(0, 2).toString('latin1') === '\r\n') return { type: undefined, bytes: part.subarray(2) };
  const blank = part.indexOf('\r\n\r\n');
  const headers = part.subarray(0, blank).toString('latin1');
  return { type: /^content-type:\s*(.+)$/im.exec(headers)?.[1]?.trim(), bytes: part.subarray(blank + 4) };
}

/** Resumable uploads. */
export class Sessions {
  readonly #sessions = new Map<string, Session>();
  readonly #cancelled = new Set<string>();

  start(bucket: Bucket, name: string, resource: UploadResource, conditions: Conditions): Session {
    check(bucket.find(name), conditions);
    const session: Session = { id: randomUUID(), bucket, name, resource, conditions, content: new Content() };
    this.#sessions.set(session.id, session);
    return session;
  }

  cancel(id: string): void {
    this.#get(id);
    this.#sessions.delete(id);
    this.#cancelled.add(id);
  }

  /** Takes bytes, answers a status query, or ends the upload. */
  async put(id: string, request: IncomingMessage): Promise<StoredObject | Unfinished> {
    const session = this.#get(id);
    const range = parseRange(request.headers['content-range']);
    const bytes = await received(request);
    if (session.finished !== undefined) return session.finished;
    const { content } = session;
    if (range.from !== undefined) {
      // Bytes that are here already are passed over; a gap cannot be filled.
      if (range.from > content.size) return { persisted: content.size };
      const fresh = bytes.data.subarray(content.size - range.from);
      const end = range.from + bytes.data.length;
      const isLast = bytes.complete && (range.isAll === true || range.total === end);
      content.add(
        isLast ? fresh : fresh.subarray(0, wholeQuanta(content.size + fresh.length) - content.size),
      );
    }
    const isWhole = range.isAll === true ? bytes.complete : range.total === content.size;
    if (!isWhole) return { persisted: content.size };
    session.finished = finish(session.bucket, session.name, content, session.resource, session.conditions);
    return session.finished;
  }

  #get(id: string): Session {
    const session = this.#sessions.get(id);
    if (session !== undefined) return session;
    throw this.#cancelled.has(id) ? new Refusal(410, 'uploadCancelled') : notFound('upload session');
  }
}

function wholeQuanta(size: number): number {
  return size - (size % quantum);
}

/** What came, also when the connection broke in the middle. */
async function received(request: IncomingMessage): Promise<{ data: Buffer; complete: boolean }> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of request) chunks.push(chunk as Buffer);
  } catch {
    return { data: Buffer.concat(chunks), complete: false };
  }
  return { data: Buffer.concat(chunks), complete: true };
}

// `bytes 0-9/10`, `bytes 0-9/*`, `bytes */10`, `bytes */*`; without the header the request brings all that there is.
function parseRange(header: string | undefined): { from?: number; total?: number; isAll?: boolean } {
  if (header === undefined) return { from: 0, isAll: true };
  const parts = /^bytes (?:(\d+)-(?:\d+|\*)|\*)\/(?:(\d+)|\*)$/.exec(header);
  if (parts === null) throw new Refusal(400, 'invalid', `Content-Range: ${header}`);
  return {
    ...(parts[1] === undefined ? {} : { from: Number(parts[1]) }),
    ...(parts[2] === undefined ? {} : { total: Number(parts[2]) }),
  };
}
