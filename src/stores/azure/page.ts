import type { ObjectMetadata } from '../../model/metadata.ts';
import type { ListEntry } from '../../ports/object-store.ts';
import { childOf, parseXml, type XmlElement } from '../http/xml.ts';
import { valueAt, type XmlRow, XmlRows } from '../http/xml-rows.ts';
import { md5FromBase64, tokenOf } from './head.ts';
import { metadataFromElements } from './metadata.ts';

export interface Page {
  /** In the server's order. */
  readonly entries: readonly ListEntry[];
  /** Empty on the last page. */
  readonly nextMarker: string;
}

/**
 * Throws an Error where the text is not a whole page. Without `withTags`, an entry that has index tags goes
 * without metadata, for that would not be all of it. `keyOf` takes the site's prefix from a name.
 */
export function parsePage(
  text: string,
  withTags: boolean,
  keyOf: (name: string) => string = (name) => name,
): Page {
  const blobs = new XmlRows('Blob', 2, (path) => wanted.test(path));
  const results = parseXml(text, blobs);
  const nextMarker = childOf(results, 'NextMarker');
  if (results?.name !== 'EnumerationResults' || !childOf(results, 'Blobs') || !nextMarker) {
    throw new Error('the page is no list of blobs, or ends early');
  }
  return { entries: blobs.rows.map((blob) => entryOf(blob, withTags, keyOf)), nextMarker: nextMarker.text };
}

const wanted =
  /^(?:Name|Metadata\/|Tags\/|Properties\/(?:TagCount|Etag|Last-Modified|Content-|Cache-Control))/;

function entryOf(blob: XmlRow, withTags: boolean, keyOf: (name: string) => string): ListEntry {
  const key = keyOf(nameOf(blob));
  const size = Number(valueAt(blob, 'Properties/Content-Length') ?? Number.NaN);
  const lastModifiedMs = Date.parse(valueAt(blob, 'Properties/Last-Modified') ?? '');
  const token = tokenOf(valueAt(blob, 'Properties/Etag') ?? '');
  if (!Number.isSafeInteger(size) || Number.isNaN(lastModifiedMs) || token === '') {
    throw new Error(`${JSON.stringify(key)} is listed without its size, time or ETag`);
  }
  const md5 = md5FromBase64(valueAt(blob, 'Properties/Content-MD5'));
  const digests = md5 === undefined ? {} : { md5 };
  if (!withTags && Number(valueAt(blob, 'Properties/TagCount') ?? 0) > 0)
    return { key, size, token, lastModifiedMs, digests };
  return {
    key,
    size,
    token,
    lastModifiedMs,
    digests,
    // Taken apart when somebody asks: of an object that has not changed nobody does.
    get metadata() {
      return metadataOf(blob);
    },
  };
}

function metadataOf(blob: XmlRow): ObjectMetadata {
  const metadata = metadataFromElements(below(blob, 'Properties/'), below(blob, 'Metadata/'));
  return { ...metadata, tags: { ...metadata.tags, ...tagsOf(blob) } };
}

function nameOf(blob: XmlRow): string {
  // A name with characters that XML cannot hold.
  const encoded = valueAt(blob, 'Name Encoded="true"');
  const name = encoded === undefined ? valueAt(blob, 'Name') : decodeURIComponent(encoded);
  if (name === undefined || name === '') throw new Error('a blob is listed without its name');
  return name;
}

function below({ paths, values }: XmlRow, parent: string): Map<string, string> {
  const leaves = new Map<string, string>();
  for (const [at, path] of paths.entries())
    if (path.startsWith(parent)) leaves.set(path.slice(parent.length), values[at]!);
  return leaves;
}

/** In a page, the value of a tag follows its key. */
function tagsOf({ paths, values }: XmlRow): Record<string, string> {
  const tags: [string, string][] = [];
  for (const [at, path] of paths.entries()) {
    if (path === 'Tags/TagSet/Tag/Key') tags.push([values[at]!, '']);
    else if (path === 'Tags/TagSet/Tag/Value' && tags.length > 0) tags.at(-1)![1] = values[at]!;
  }
  return Object.fromEntries(tags);
}

/** The answer of Get Blob Tags; throws an Error where it is not a whole one. */
export function parseTags(text: string): Record<string, string> {
  const root = parseXml(text);
  if (root?.name !== 'Tags') throw new Error('the answer is not a set of tags');
  return tagsIn(root);
}

/** `<TagSet><Tag><Key/><Value/></Tag></TagSet>` below `element`. */
function tagsIn(element: XmlElement): Record<string, string> {
  const tags = childOf(element, 'TagSet')?.children.filter(({ name }) => name === 'Tag') ?? [];
  return Object.fromEntries(
    tags.map((tag) => [childOf(tag, 'Key')?.text ?? '', childOf(tag, 'Value')?.text ?? '']),
  );
}
