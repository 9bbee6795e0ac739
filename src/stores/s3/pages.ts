import { StoreFailure } from '../../model/failure.ts';
import { compareKeys, reservedPrefix } from '../../model/key.ts';
import type { ListEntry, ListRequest, UploadEntry } from '../../ports/object-store.ts';
import { textOf } from '../http/send.ts';
import { valueAt, type XmlRow, XmlRows } from '../http/xml-rows.ts';
import type { S3Bucket } from './bucket.ts';
import type { S3Request } from './client.ts';
import { looksLikeMd5 } from './digests.ts';
import { decodeListed } from './encoding.ts';
import { listablePrefix } from './keys.ts';
import { formatToken, unquoted } from './token.ts';
import { parseXml, type XmlAnswer, type XmlEntry } from './xml.ts';

const maxPage = 1000;
const wanted: readonly string[] = ['Key', 'Size', 'LastModified', 'ETag'];

/** After every reserved key: no key of Isobar's own is greater. */
const pastReserved = `${reservedPrefix}\u{10FFFF}`;

/** Pages of ListObjectsV2, checked: order, ends, repeated tokens. */
export async function* listPages(
  bucket: S3Bucket,
  request: ListRequest,
  signal: AbortSignal,
): AsyncGenerator<readonly ListEntry[]> {
  const { prefix = '', until } = request;
  const hidesReserved = !prefix.startsWith(reservedPrefix);
  const asked = listablePrefix(bucket.prefix + prefix, bucket.keyRules);
  const cursor = new Cursor(request.after);
  while (!cursor.ended) {
    const query = pageRequest(bucket, asked, request.pageSize, cursor);
    const contents = new XmlRows('Contents', 1, (path) => wanted.includes(path));
    const xml = await fetchPage(bucket, query, 'ListBucketResult', signal, contents);
    const page: ListEntry[] = [];
    const decode = decoderOf(xml);
    for (const row of contents.rows) {
      const entry = entryOf(row, decode, bucket, asked);
      cursor.pass(entry.key);
      const rest = until === undefined ? -1 : compareKeys(entry.key, until);
      cursor.ended = rest >= 0;
      if (rest > 0) break;
      if (hidesReserved && entry.key.startsWith(reservedPrefix)) continue;
      if (entry.key.startsWith(prefix)) page.push(entry);
    }
    if (!cursor.ended) cursor.turn(xml, contents.rows.length);
    // Isobar's own entries may be many, and nobody asked for them: go on behind them.
    if (hidesReserved && cursor.last?.startsWith(reservedPrefix)) cursor.jump(pastReserved);
    if (page.length > 0) yield page;
    signal.throwIfAborted();
  }
}

/** Where a listing stands; whatever would let it end early or go round throws. */
class Cursor {
  /** The greatest key so far, or what the listing began after. */
  last: string | undefined;
  token: string | undefined;
  after: string | undefined;
  ended = false;
  readonly #tokens = new Set<string>();

  constructor(after: string | undefined) {
    this.after = after;
    this.last = after;
  }

  pass(key: string): void {
    if (this.last !== undefined && compareKeys(key, this.last) <= 0) {
      throw broken(`${JSON.stringify(key)} came after ${JSON.stringify(this.last)}, which is out of order`);
    }
    this.last = key;
  }

  turn(xml: XmlAnswer, entries: number): void {
    const truncated = xml.text('IsTruncated');
    if (truncated !== 'true' && truncated !== 'false')
      throw broken('a page does not say whether it is the last');
    if (truncated === 'false') {
      this.ended = true;
      return;
    }
    const token = xml.text('NextContinuationToken');
    if (token === undefined || token === '') throw broken('a page says that more follow and not where');
    if (this.#tokens.has(token)) throw broken('the same continuation token came twice');
    if (entries === 0 && this.#tokens.size > maxEmptyPages)
      throw broken('page after page came without entries');
    this.#tokens.add(token);
    if (entries > 0 && this.#tokens.size > 1) this.#forgetAllBut(token);
    this.token = token;
  }

  jump(after: string): void {
    if (this.ended || (this.last !== undefined && compareKeys(after, this.last) <= 0)) return;
    this.after = after;
    this.last = after;
    this.token = undefined;
  }

  /** Keys that grow prove progress, so that a listing of any length needs to remember one token only. */
  #forgetAllBut(token: string): void {
    this.#tokens.clear();
    this.#tokens.add(token);
  }
}

/** An honest server may answer an empty page while it passes what was deleted. */
const maxEmptyPages = 1000;

function pageRequest(
  bucket: S3Bucket,
  prefix: string,
  pageSize: number | undefined,
  { after, token }: Cursor,
): S3Request {
  const query = {
    'list-type': '2',
    'encoding-type': 'url',
    'max-keys': String(Math.max(1, Math.min(pageSize ?? maxPage, maxPage))),
    prefix,
    'start-after': token === undefined && after !== undefined ? bucket.prefix + after : undefined,
    'continuation-token': token,
  };
  return { method: 'GET', query };
}

function entryOf(row: XmlRow, decode: (text: string) => string, bucket: S3Bucket, asked: string): ListEntry {
  const key = strippedKey(decode, valueAt(row, 'Key'), bucket.prefix, asked);
  const size = Number(valueAt(row, 'Size'));
  const lastModifiedMs = Date.parse(valueAt(row, 'LastModified') ?? '');
  const etag = unquoted(valueAt(row, 'ETag') ?? '');
  if (!Number.isSafeInteger(size) || Number.isNaN(lastModifiedMs) || etag === '') {
    throw broken(`the entry of ${JSON.stringify(key)} lacks its size, time or ETag`);
  }
  const second = Math.floor(lastModifiedMs / 1000);
  const digests = bucket.etagsAreMd5 && looksLikeMd5(etag) ? { md5: etag.toLowerCase() } : {};
  return { key, size, token: formatToken({ etag, from: second, to: second }), lastModifiedMs, digests };
}

/** Uploads begun below the site's prefix and not yet completed. */
export async function* uploadPages(
  bucket: S3Bucket,
  signal: AbortSignal,
): AsyncGenerator<readonly UploadEntry[]> {
  const seen = new Set<string>();
  let marker: { readonly key: string; readonly id: string } | undefined;
  for (;;) {
    const request = uploadsRequest(bucket, marker);
    const xml = await fetchPage(bucket, request, 'ListMultipartUploadsResult', signal);
    const decode = decoderOf(xml);
    const page = xml.entries('Upload').map((fields) => uploadOf(fields, decode, bucket));
    if (page.length > 0) yield page;
    if (xml.text('IsTruncated') !== 'true') return;
    marker = { key: decode(xml.text('NextKeyMarker') ?? ''), id: xml.text('NextUploadIdMarker') ?? '' };
    const name = JSON.stringify(marker);
    if (marker.key === '' || seen.has(name))
      throw broken('the uploads of a bucket do not go on behind a page');
    seen.add(name);
  }
}

function uploadsRequest(bucket: S3Bucket, marker: { key: string; id: string } | undefined): S3Request {
  const query = {
    uploads: '',
    'encoding-type': 'url',
    prefix: bucket.prefix === '' ? undefined : bucket.prefix,
    'key-marker': marker?.key,
    'upload-id-marker': marker === undefined || marker.id === '' ? undefined : marker.id,
  };
  return { method: 'GET', query };
}

function uploadOf(fields: XmlEntry, decode: (text: string) => string, bucket: S3Bucket): UploadEntry {
  const key = strippedKey(decode, fields['Key'], bucket.prefix, bucket.prefix);
  const id = fields['UploadId'];
  const startedMs = Date.parse(fields['Initiated'] ?? '');
  if (id === undefined || id === '' || Number.isNaN(startedMs)) {
    throw broken(`the upload of ${JSON.stringify(key)} lacks its id or time`);
  }
  return { upload: { id, key }, startedMs };
}

async function fetchPage(
  bucket: S3Bucket,
  request: S3Request,
  root: string,
  signal: AbortSignal,
  rows?: XmlRows,
): Promise<XmlAnswer> {
  const answer = await bucket.client.send(request, signal);
  if (answer.status !== 200) throw await bucket.client.failed(answer, request, signal);
  const text = await textOf(answer, signal);
  const xml = parseXml(text, rows);
  if (xml?.root === root) return xml;
  if (/^\s*<\?xml|^\s*<(?:List|Error)/.test(text)) throw broken('a page is cut off or is no listing');
  throw bucket.client.notS3(answer, request);
}

/** Servers that do not know `encoding-type` say so by leaving it out of the answer. */
function decoderOf(xml: XmlAnswer): (text: string) => string {
  return xml.text('EncodingType') === 'url' ? decodeListed : (text) => text;
}

function strippedKey(
  decode: (text: string) => string,
  listed: string | undefined,
  sitePrefix: string,
  asked: string,
): string {
  let key: string | undefined;
  try {
    key = listed === undefined ? undefined : decode(listed);
  } catch {
    throw broken(`the key ${JSON.stringify(listed)} is not percent-encoded as the page says`);
  }
  if (key === undefined || !key.startsWith(asked)) {
    throw broken(`${JSON.stringify(key ?? '')} does not begin with the prefix that was asked for`);
  }
  return key.slice(sitePrefix.length);
}

function broken(what: string): StoreFailure {
  return new StoreFailure('broken-listing', `the S3 server gave a listing that cannot be trusted: ${what}`);
}
