import { StoreFailure } from '../../model/failure.ts';
import type { ObjectMetadata } from '../../model/metadata.ts';
import type { StoreLimits } from '../../ports/object-store.ts';
import { metadataNamePrefix } from './config.ts';
import { encodeQuery } from './encoding.ts';
import { decodeText, encodeText } from './rfc2047.ts';

type Headers = Readonly<Record<string, string>>;
type Entries = Readonly<Record<string, string>>;

export interface MetadataRules {
  /** What a single entry may be long, name and value. */
  readonly maxMetadataBytes: number;
  /** What the server counts besides for every further entry: its `x-amz-meta-`, or nothing. */
  readonly bytesPerEntry: number;
  readonly maxTags: number;
  /** Names and values that the server takes as a tag; other tags are kept in a metadata entry. */
  readonly taggable: RegExp;
}

// Amazon takes letters, digits and spaces of any script and these signs; some compatible servers only ASCII.
const amazonTaggable = /^(?!aws:)[\p{L}\p{Z}\p{N}_.:/=+\-@]*$/u;
const asciiTaggable = /^(?!aws:)[A-Za-z0-9 _.:/=+\-@]*$/;
const nothing = /^(?!)/;

export function metadataRules(
  amazon: boolean,
  limits: Pick<StoreLimits, 'maxMetadataBytes' | 'maxTags'>,
  tags: boolean,
): MetadataRules {
  const { maxMetadataBytes, maxTags } = limits;
  const bytesPerEntry = amazon ? 0 : metadataNamePrefix.length;
  const taggable = amazon ? amazonTaggable : asciiTaggable;
  return { maxMetadataBytes, bytesPerEntry, maxTags, taggable: tags ? taggable : nothing };
}

/** Where tags go that the server does not take; the value is coded as `x-amz-tagging` is. */
const tagsEntry = 'isobar-tags';
/** What S3 itself calls an object that was given no type; sent by name, since others choose otherwise. */
const noContentType = 'binary/octet-stream';

const plainHeaders = [
  ['contentType', 'content-type'],
  ['cacheControl', 'cache-control'],
  ['contentEncoding', 'content-encoding'],
  ['contentDisposition', 'content-disposition'],
  ['contentLanguage', 'content-language'],
] as const;

// S3's limits for one tag, in characters.
const maxTagName = 128;
const maxTagValue = 256;

/** Headers of a PUT or of the start of an upload; `invalid` for what S3 can never hold. */
export function metadataHeaders(metadata: ObjectMetadata, rules: MetadataRules): Record<string, string> {
  const headers: Record<string, string> = { 'content-type': noContentType };
  for (const [field, header] of plainHeaders) {
    const value = metadata[field];
    if (value !== undefined && value !== '') headers[header] = encodeText(value);
  }
  addUserHeaders(headers, withTags(headers, metadata, rules), rules);
  return headers;
}

/** All but the tags that S3 keeps apart. */
export function metadataOf(headers: Headers): ObjectMetadata {
  const plain: { -readonly [F in (typeof plainHeaders)[number][0]]?: string } = {};
  for (const [field, header] of plainHeaders) {
    const value = field === 'contentEncoding' ? storedEncoding(headers[header]) : headers[header];
    if (value !== undefined && value !== '') plain[field] = decodeText(value);
  }
  if (plain.contentType === noContentType) delete plain.contentType;
  const entries: [string, string][] = [];
  let tags: ObjectMetadata['tags'] = {};
  for (const header in headers) {
    if (!header.startsWith(metadataNamePrefix)) continue;
    const name = header.slice(metadataNamePrefix.length);
    const value = decodeText(headers[header]!);
    if (name === tagsEntry) tags = Object.fromEntries(new URLSearchParams(value));
    else entries.push([name, value]);
  }
  return { ...plain, user: Object.fromEntries(entries), tags };
}

/** Adds the header for tags that the server takes; answers the user entries with the rest of the tags. */
function withTags(headers: Record<string, string>, metadata: ObjectMetadata, rules: MetadataRules): Entries {
  const { tags, user } = metadata;
  if (tagsEntry in user) throw invalid(`the metadata name "${tagsEntry}" is reserved for Isobar`);
  const all = Object.entries(tags);
  if (all.length === 0) return user;
  if (all.length > rules.maxTags) throw invalid(`there are ${all.length} tags; S3 takes ${rules.maxTags}`);
  for (const [name, value] of all) checkTag(name, value);
  const isNative = ([name, value]: [string, string]) =>
    rules.taggable.test(name) && rules.taggable.test(value);
  const native = encodeQuery(Object.fromEntries(all.filter(isNative)));
  const rest = encodeQuery(Object.fromEntries(all.filter((tag) => !isNative(tag))));
  if (native !== '') headers['x-amz-tagging'] = native;
  return rest === '' ? user : { ...user, [tagsEntry]: rest };
}

function checkTag(name: string, value: string): void {
  if (name.length > 0 && name.length <= maxTagName && value.length <= maxTagValue) return;
  const rule = `S3 takes names of 1 to ${maxTagName} characters and values of up to ${maxTagValue}`;
  throw invalid(`the tag ${JSON.stringify(name)} is too long or has no name; ${rule}`);
}

function addUserHeaders(headers: Record<string, string>, user: Entries, rules: MetadataRules): void {
  let bytes = -rules.bytesPerEntry;
  for (const [given, value] of Object.entries(user)) {
    const name = given.toLowerCase();
    if (!/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name)) {
      throw invalid(`the metadata name ${JSON.stringify(given)} cannot be part of an HTTP header`);
    }
    const header = metadataNamePrefix + name;
    if (header in headers) throw invalid(`the metadata name "${name}" is there twice, once in another case`);
    const text = encodeText(value);
    headers[header] = text;
    bytes += name.length + text.length + rules.bytesPerEntry;
  }
  if (bytes > rules.maxMetadataBytes) {
    const what = `the user metadata is ${bytes} bytes long as sent; S3 takes ${rules.maxMetadataBytes}`;
    throw invalid(`${what}. Write the object again with less of it`);
  }
}

/** `aws-chunked` is how a body travelled; some servers keep it as if it were about the object. */
function storedEncoding(header: string | undefined): string | undefined {
  if (header === undefined || !header.includes('aws-chunked')) return header;
  const kept = header.split(',').map((name) => name.trim());
  return kept.filter((name) => name !== 'aws-chunked').join(', ');
}

function invalid(what: string): StoreFailure {
  return new StoreFailure('invalid', what);
}
