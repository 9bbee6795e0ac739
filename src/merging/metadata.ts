import { entryName } from '../model/entry.ts';
import type { ObjectMetadata } from '../model/metadata.ts';
import { isArray, isObject, type Json } from './json.ts';

const plainFields = [
  'contentType',
  'cacheControl',
  'contentEncoding',
  'contentDisposition',
  'contentLanguage',
] as const;

/**
 * Metadata as a document, so that it merges by the same rule: user entries and tags one by one, the plain fields,
 * which describe the body together, as one value. Isobar's own entry is not part of it.
 */
export function metadataToJson(metadata: ObjectMetadata): Json {
  const plain = plainFields.flatMap((field) => {
    const value = metadata[field];
    return value === undefined ? [] : [[field, value]];
  });
  const { [entryName]: _, ...user } = metadata.user;
  return new Map<string, Json>([
    ['plain', plain],
    ['user', new Map(Object.entries(user))],
    ['tags', new Map(Object.entries(metadata.tags))],
  ]);
}

export function metadataFromJson(json: Json | undefined): ObjectMetadata {
  const parts: ReadonlyMap<string, Json> = isObject(json) ? json : new Map();
  const plain = parts.get('plain');
  return {
    ...(isArray(plain) ? Object.fromEntries(plain as readonly [string, string][]) : {}),
    user: entriesOf(parts.get('user')),
    tags: entriesOf(parts.get('tags')),
  };
}

function entriesOf(json: Json | undefined): Record<string, string> {
  const entries = isObject(json) ? ([...json] as [string, string][]) : [];
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}
