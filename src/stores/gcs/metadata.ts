import { StoreFailure } from '../../model/failure.ts';
import type { ObjectMetadata } from '../../model/metadata.ts';

/** Custom metadata of one object, names and values together: the service's limit. */
const maxCustomBytes = 8192;
/** The service has no tags, so the limit is ours; ten is what S3 and Azure have. */
export const maxTags = 10;

/** Tags as `name=value&…`, percent-encoded: one entry among the user's. */
const tagsEntry = 'isobar-tags';
/** The service makes up a content type where none is given; this entry says that there is none. */
const untypedEntry = 'isobar-untyped';
const madeUpContentType = 'application/octet-stream';

/** What the user's own entries may take. */
export const maxMetadataBytes = maxCustomBytes - `${untypedEntry}1`.length;

/** The part of an object resource of the JSON API that a user can set. */
export interface ResourceMetadata {
  readonly contentType?: string;
  readonly cacheControl?: string;
  readonly contentEncoding?: string;
  readonly contentDisposition?: string;
  readonly contentLanguage?: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

const optionalFields = ['cacheControl', 'contentEncoding', 'contentDisposition', 'contentLanguage'] as const;

/** Throws `invalid` for what one object cannot hold, so that nothing is sent in vain. */
export function resourceMetadataOf(
  metadata: ObjectMetadata,
): Required<Pick<ResourceMetadata, 'contentType'>> & ResourceMetadata {
  const plain: Record<string, string> = {};
  for (const field of optionalFields) {
    const value = metadata[field];
    if (value !== undefined) plain[field] = value;
  }
  const custom = customEntries(metadata);
  checkSize(custom);
  return { ...plain, contentType: metadata.contentType ?? madeUpContentType, metadata: custom };
}

function customEntries(metadata: ObjectMetadata): Record<string, string> {
  const custom: Record<string, string> = {};
  for (const [name, value] of Object.entries(metadata.user)) {
    const lower = name.toLowerCase();
    if (lower === tagsEntry || lower === untypedEntry) {
      throw new StoreFailure(
        'invalid',
        `the metadata name "${name}" is reserved for Isobar; rename the entry`,
      );
    }
    custom[lower] = value;
  }
  const tags = Object.entries(metadata.tags);
  if (tags.length > maxTags) {
    throw new StoreFailure(
      'invalid',
      `the object has ${tags.length} tags and at most ${maxTags} are kept; remove some`,
    );
  }
  if (tags.length > 0) custom[tagsEntry] = encodeTags(tags);
  if (metadata.contentType === undefined) custom[untypedEntry] = '1';
  return custom;
}

function checkSize(custom: Readonly<Record<string, string>>): void {
  let bytes = 0;
  for (const [name, value] of Object.entries(custom))
    bytes += Buffer.byteLength(name) + Buffer.byteLength(value);
  if (bytes <= maxCustomBytes) return;
  throw new StoreFailure(
    'invalid',
    `the user metadata and tags take ${bytes} bytes and GCS holds ${maxCustomBytes}; remove or shorten entries`,
  );
}

function encodeTags(tags: ReadonlyArray<readonly [string, string]>): string {
  return tags.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`).join('&');
}

function decodeTags(text: string): Record<string, string> {
  // URLSearchParams never throws: an entry that somebody else made is still read as far as it makes sense.
  return Object.fromEntries(new URLSearchParams(text.replaceAll('+', '%2B')));
}

export function metadataOf(resource: ResourceMetadata): ObjectMetadata {
  const user: Record<string, string> = {};
  let tags: Record<string, string> = {};
  let untyped = false;
  for (const [name, value] of Object.entries(resource.metadata ?? {})) {
    const lower = name.toLowerCase();
    if (lower === tagsEntry) tags = decodeTags(value);
    else if (lower === untypedEntry) untyped = true;
    else user[lower] = value;
  }
  const plain: Record<string, string> = {};
  for (const field of optionalFields) {
    const value = resource[field];
    if (value !== undefined && value !== '') plain[field] = value;
  }
  const contentType = resource.contentType;
  // A type that was set later, by somebody else, counts.
  const typed =
    contentType !== undefined && contentType !== '' && !(untyped && contentType === madeUpContentType);
  return { ...plain, ...(typed ? { contentType } : {}), user, tags };
}
