import { XMLParser } from 'fast-xml-parser';
import type { ListEntry } from '../../ports/object-store.ts';
import { md5FromBase64, tokenOf } from './head.ts';
import { metadataFromElements } from './metadata.ts';

export interface Page {
  /** In the server's order, keys with the site's prefix. */
  readonly entries: readonly ListEntry[];
  /** Empty on the last page. */
  readonly nextMarker: string;
}

// Properties, metadata and tags are flat: left to `leavesOf`, which is four times as fast and takes any name, where
// the parser refuses names such as `constructor`. Names keep their spaces, and entities are decoded here.
const parser = new XMLParser({
  ignoreAttributes: false,
  attributeNamePrefix: '@',
  parseTagValue: false,
  parseAttributeValue: false,
  trimValues: false,
  processEntities: false,
  isArray: (name) => name === 'Blob',
  stopNodes: ['Properties', 'Metadata', 'Tags'].map((name) => `EnumerationResults.Blobs.Blob.${name}`),
});

interface ParsedBlob {
  readonly Name?: string | { readonly '#text'?: string; readonly '@Encoded'?: string };
  readonly Properties?: string;
  readonly Metadata?: string;
  readonly Tags?: string;
}

interface ParsedResults {
  readonly Blobs?: string | { readonly Blob?: readonly ParsedBlob[] };
  readonly NextMarker?: string;
}

/**
 * Throws an Error where the text is not a whole page. Without `withTags`, an entry that has index tags goes
 * without metadata, for that would not be all of it.
 */
export function parsePage(text: string, withTags: boolean): Page {
  // The parser takes what was cut off for what was meant.
  if (!/<\/EnumerationResults>\s*$/.test(text)) throw new Error('the page ends early');
  const { EnumerationResults: results } = parser.parse(text) as { EnumerationResults?: ParsedResults };
  if (results?.Blobs === undefined || typeof results.NextMarker !== 'string') {
    throw new Error('the page has no list of blobs or no page token');
  }
  const blobs = typeof results.Blobs === 'string' ? [] : (results.Blobs.Blob ?? []);
  return {
    entries: blobs.map((blob) => entryOf(blob, withTags)),
    nextMarker: decodeEntities(results.NextMarker),
  };
}

function entryOf(blob: ParsedBlob, withTags: boolean): ListEntry {
  const key = nameOf(blob);
  const properties = leavesOf(blob.Properties ?? '');
  const size = Number(properties.get('Content-Length') ?? Number.NaN);
  const lastModifiedMs = Date.parse(properties.get('Last-Modified') ?? '');
  const token = tokenOf(properties.get('Etag') ?? '');
  if (!Number.isSafeInteger(size) || Number.isNaN(lastModifiedMs) || token === '') {
    throw new Error(`${JSON.stringify(key)} is listed without its size, time or ETag`);
  }
  const md5 = md5FromBase64(properties.get('Content-MD5'));
  const entry = { key, size, token, lastModifiedMs, digests: md5 === undefined ? {} : { md5 } };
  if (!withTags && Number(properties.get('TagCount') ?? 0) > 0) return entry;
  const metadata = metadataFromElements(properties, leavesOf(blob.Metadata ?? ''));
  if (blob.Tags === undefined) return { ...entry, metadata };
  return { ...entry, metadata: { ...metadata, tags: { ...metadata.tags, ...tagsIn(blob.Tags) } } };
}

function nameOf({ Name: name }: ParsedBlob): string {
  const text = typeof name === 'string' ? name : name?.['#text'];
  if (!text) throw new Error('a blob is listed without its name');
  // A name with characters that XML cannot hold.
  const encoded = typeof name === 'object' && name['@Encoded'] === 'true';
  return encoded ? decodeURIComponent(decodeEntities(text)) : decodeEntities(text);
}

/** `<a>1</a><b/>` as a map; values in one piece, attributes dropped. */
function leavesOf(text: string): Map<string, string> {
  const leaves = new Map<string, string>();
  for (const [, name = '', value = ''] of text.matchAll(/<([^\s<>/]+)[^<>]*?(?:\/>|>([^<]*)<\/\1>)/g)) {
    leaves.set(name, decodeEntities(value));
  }
  return leaves;
}

const entities: Record<string, string> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" };

function decodeEntities(text: string): string {
  if (!text.includes('&')) return text;
  return text.replace(/&(?:#x([0-9a-fA-F]+)|#([0-9]+)|(lt|gt|amp|quot|apos));/g, (_, hex, decimal, name) => {
    if (name !== undefined) return entities[name as string] ?? '';
    return String.fromCodePoint(hex === undefined ? Number.parseInt(decimal, 10) : Number.parseInt(hex, 16));
  });
}

/** The answer of Get Blob Tags; throws an Error where it is not a whole one. */
export function parseTags(text: string): Record<string, string> {
  if (!/<\/Tags>\s*$|<Tags\s*\/>\s*$/.test(text)) throw new Error('the answer is not a set of tags');
  return tagsIn(text);
}

function tagsIn(text: string): Record<string, string> {
  const tags: [string, string][] = [];
  for (const [, tag = ''] of text.matchAll(/<Tag>(.*?)<\/Tag>/gs)) {
    const leaves = leavesOf(tag);
    tags.push([leaves.get('Key') ?? '', leaves.get('Value') ?? '']);
  }
  return Object.fromEntries(tags);
}
