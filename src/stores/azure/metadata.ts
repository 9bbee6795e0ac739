import { StoreFailure } from '../../model/failure.ts';
import type { ObjectMetadata } from '../../model/metadata.ts';
import { encodeText } from './names.ts';

/** Names and values of all metadata together, in bytes; index tags are limited apart from them. */
const maxAllMetadataBytes = 8 * 1024;
export const maxTags = 10;

/** The driver's own entries; hidden from what it reports. */
const tagsEntry = 'isobartags';
const fieldsEntry = 'isobarfields';

/** The mark of a blob that was written without a content type, for the service reports one for every blob. */
const untyped = 'untyped';

/** What is left for the user, as the mark takes its 20 bytes too. */
export const maxMetadataBytes = maxAllMetadataBytes - `${fieldsEntry}${untyped}=`.length;

/** What the service reports for a blob that was written without a type. */
const defaultType = 'application/octet-stream';

const fieldNames = [
  'contentType',
  'cacheControl',
  'contentEncoding',
  'contentDisposition',
  'contentLanguage',
] as const;
type FieldName = (typeof fieldNames)[number];

/** `x-ms-blob-…` where it is written, the plain header where it is read, and the element of a listing. */
const wireNames: Record<FieldName, { readonly header: string; readonly element: string }> = {
  contentType: { header: 'content-type', element: 'Content-Type' },
  cacheControl: { header: 'cache-control', element: 'Cache-Control' },
  contentEncoding: { header: 'content-encoding', element: 'Content-Encoding' },
  contentDisposition: { header: 'content-disposition', element: 'Content-Disposition' },
  contentLanguage: { header: 'content-language', element: 'Content-Language' },
};

/**
 * The headers that store `metadata` with a blob. Tags become index tags where all of them fit the service's
 * narrow alphabet (and `nativeTags`), otherwise one metadata entry of the driver's own; so do fields that an
 * HTTP header cannot carry, and the absence of a content type. Throws `invalid` when the store cannot hold it.
 */
export function metadataHeaders(metadata: ObjectMetadata, nativeTags: boolean): Record<string, string> {
  const headers: Record<string, string> = {};
  const entries = Object.entries(metadata.user).map(
    ([name, value]) => [escapeName(name), escapeValue(value)] as const,
  );
  checkSize(entries, maxMetadataBytes);
  const fields = new Map<string, string>();
  for (const name of fieldNames) {
    const value = metadata[name];
    if (value !== undefined && fitsHeader(value)) headers[`x-ms-blob-${wireNames[name].header}`] = value;
    else if (value !== undefined) fields.set(name, value);
    else if (name === 'contentType') fields.set(untyped, '');
  }
  if (fields.size > 0) entries.push([fieldsEntry, formOf(fields)]);
  const tags = new Map(Object.entries(metadata.tags));
  if (tags.size > maxTags) {
    throw invalid(`it has ${tags.size} tags, and ${maxTags} are the limit`);
  }
  if (tags.size > 0 && nativeTags && [...tags].every(fitsIndexTag)) headers['x-ms-tags'] = formOf(tags);
  else if (tags.size > 0) entries.push([tagsEntry, formOf(tags)]);
  checkSize(entries, maxAllMetadataBytes);
  for (const [name, value] of entries) {
    if (headers[`x-ms-meta-${name}`] !== undefined)
      throw invalid(`two metadata entries share the name "${name}"`);
    headers[`x-ms-meta-${name}`] = value;
  }
  return headers;
}

function checkSize(entries: readonly (readonly [string, string])[], limit: number): void {
  const bytes = entries.reduce((sum, [name, value]) => sum + name.length + value.length, 0);
  if (bytes <= limit) return;
  throw invalid(`its metadata takes ${bytes} bytes there (escaped where needed), and ${limit} are the limit`);
}

function invalid(why: string): StoreFailure {
  return new StoreFailure(
    'invalid',
    `Azure cannot hold the object: ${why}. Remove some of it at the source, then retry the parked change.`,
  );
}

/** Metadata from the headers of Get Blob and Get Blob Properties; index tags are asked for apart. */
export function metadataFromHeaders(headers: Readonly<Record<string, string>>): ObjectMetadata {
  const entries: [string, string][] = [];
  for (const [name, value] of Object.entries(headers)) {
    if (name.startsWith('x-ms-meta-')) entries.push([name.slice('x-ms-meta-'.length), value]);
  }
  return assemble(entries, (field) => headers[wireNames[field].header]);
}

/** Metadata from an entry of a listing. */
export function metadataFromElements(
  properties: ReadonlyMap<string, string>,
  metadata: ReadonlyMap<string, string>,
): ObjectMetadata {
  return assemble([...metadata], (field) => properties.get(wireNames[field].element));
}

function assemble(
  entries: readonly (readonly [string, string])[],
  fieldOf: (field: FieldName) => string | undefined,
): ObjectMetadata {
  const user: [string, string][] = [];
  let tags: Record<string, string> = {};
  let kept = new Map<string, string>();
  for (const [wireName, value] of entries) {
    // The service keeps the case of names and compares without it.
    const name = wireName.toLowerCase();
    if (name === tagsEntry) tags = Object.fromEntries(mapOf(value));
    else if (name === fieldsEntry) kept = mapOf(value);
    else user.push([unescapeName(name), unescapeValue(value)]);
  }
  const fields: { -readonly [name in FieldName]?: string } = {};
  for (const field of fieldNames) {
    const value = kept.get(field) ?? fieldOf(field);
    // Somebody may have set a type since: only the default stands for "none".
    const absent = field === 'contentType' && kept.has(untyped) && value === defaultType;
    if (value !== undefined && value !== '' && !absent) fields[field] = value;
  }
  return { ...fields, user: Object.fromEntries(user), tags };
}

/**
 * Metadata names must be C# identifiers: `-` becomes `_2d`, `.` becomes `_2e`, a digit at the start `_3N`.
 * An underscore stays, unless what follows it would read as one of these: then it is `_5f`.
 */
export function escapeName(anyCase: string): string {
  const name = anyCase.toLowerCase();
  if (!/^[a-z0-9_.-]+$/.test(name)) {
    throw invalid(`"${name}" is not a metadata name: letters, digits, "-", "_" and "." are`);
  }
  if (name === tagsEntry || name === fieldsEntry)
    throw invalid(`the metadata name "${name}" is reserved for Isobar`);
  const escaped = name.replace(/[-.]|_(?=2d|2e|5f)/g, (c) => `_${c.charCodeAt(0).toString(16)}`);
  if (/^_3[0-9]/.test(escaped)) return `_5f${escaped.slice(1)}`;
  return escaped.replace(/^[0-9]/, (digit) => `_3${digit}`);
}

export function unescapeName(name: string): string {
  return name.replace(/_(2d|2e|5f)|^_3([0-9])/g, (_, code: string | undefined, digit: string | undefined) =>
    code === undefined ? (digit ?? '') : String.fromCharCode(Number.parseInt(code, 16)),
  );
}

/** The extended notation of RFC 8187, for what a header cannot carry as it is. */
const extended = "UTF-8''";

/** Printable ASCII without a space at either end stays; all else, and the empty value, is percent-encoded. */
export function escapeValue(value: string): string {
  return fitsHeader(value) && !value.startsWith(extended)
    ? value
    : extended + encodeText(value.toWellFormed());
}

export function unescapeValue(value: string): string {
  if (!value.startsWith(extended)) return value;
  try {
    const plain = decodeURIComponent(value.slice(extended.length));
    // Only what `escapeValue` would have written; a native value that merely looks like it stays.
    return escapeValue(plain) === value ? plain : value;
  } catch {
    return value;
  }
}

function fitsHeader(value: string): boolean {
  return /^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(value);
}

/** Index tags: keys of 1 to 128, values of up to 256 of these characters. */
function fitsIndexTag([key, value]: readonly [string, string]): boolean {
  return /^[A-Za-z0-9 +\-./:=_]{1,128}$/.test(key) && /^[A-Za-z0-9 +\-./:=_]{0,256}$/.test(value);
}

function formOf(pairs: ReadonlyMap<string, string>): string {
  return [...pairs].map(([name, value]) => `${encodeText(name)}=${encodeText(value)}`).join('&');
}

function mapOf(form: string): Map<string, string> {
  const pairs = new Map<string, string>();
  for (const pair of form.split('&')) {
    const [name = '', value = ''] = pair.split('=');
    try {
      if (name !== '') pairs.set(decodeURIComponent(name), decodeURIComponent(value));
    } catch {
      // Not written by this driver: nothing that could be reported.
    }
  }
  return pairs;
}
