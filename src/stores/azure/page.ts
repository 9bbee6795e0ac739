import type { ListEntry } from '../../ports/object-store.ts';
import { childOf, leavesOf, parseXml, type XmlElement } from '../http/xml.ts';
import { md5FromBase64, tokenOf } from './head.ts';
import { metadataFromElements } from './metadata.ts';

export interface Page {
  /** In the server's order, keys with the site's prefix. */
  readonly entries: readonly ListEntry[];
  /** Empty on the last page. */
  readonly nextMarker: string;
}

/**
 * Throws an Error where the text is not a whole page. Without `withTags`, an entry that has index tags goes
 * without metadata, for that would not be all of it.
 */
export function parsePage(text: string, withTags: boolean): Page {
  const results = parseXml(text);
  const blobs = childOf(results, 'Blobs');
  const nextMarker = childOf(results, 'NextMarker');
  if (results?.name !== 'EnumerationResults' || !blobs || !nextMarker) {
    throw new Error('the page is no list of blobs, or ends early');
  }
  const listed = blobs.children.filter(({ name }) => name === 'Blob');
  return { entries: listed.map((blob) => entryOf(blob, withTags)), nextMarker: nextMarker.text };
}

function entryOf(blob: XmlElement, withTags: boolean): ListEntry {
  const key = nameOf(blob);
  const properties = leavesIn(blob, 'Properties');
  const size = Number(properties.get('Content-Length') ?? Number.NaN);
  const lastModifiedMs = Date.parse(properties.get('Last-Modified') ?? '');
  const token = tokenOf(properties.get('Etag') ?? '');
  if (!Number.isSafeInteger(size) || Number.isNaN(lastModifiedMs) || token === '') {
    throw new Error(`${JSON.stringify(key)} is listed without its size, time or ETag`);
  }
  const md5 = md5FromBase64(properties.get('Content-MD5'));
  const entry = { key, size, token, lastModifiedMs, digests: md5 === undefined ? {} : { md5 } };
  if (!withTags && Number(properties.get('TagCount') ?? 0) > 0) return entry;
  const metadata = metadataFromElements(properties, leavesIn(blob, 'Metadata'));
  const tags = childOf(blob, 'Tags');
  if (!tags) return { ...entry, metadata };
  return { ...entry, metadata: { ...metadata, tags: { ...metadata.tags, ...tagsIn(tags) } } };
}

function nameOf(blob: XmlElement): string {
  const name = childOf(blob, 'Name');
  if (!name || name.text === '') throw new Error('a blob is listed without its name');
  // A name with characters that XML cannot hold.
  return name.attributes['Encoded'] === 'true' ? decodeURIComponent(name.text) : name.text;
}

function leavesIn(blob: XmlElement, name: string): Map<string, string> {
  const element = childOf(blob, name);
  return new Map(element ? Object.entries(leavesOf(element)) : []);
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
