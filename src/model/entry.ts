import { hash } from 'node:crypto';
import type { Token } from '../ports/object-store.ts';
import { keyHash } from './key.ts';
import type { ObjectMetadata } from './metadata.ts';
import { parseStamp } from './stamp.ts';
import type { SiteId, Vector, Version } from './version.ts';

/** The user-metadata entry in which a version travels with its object. */
export const entryName = 'isobar';

export interface Entry {
  readonly version: Version;
  /** Of the body, in bytes. */
  readonly size: number;
  /** Absent where the store wants metadata before the body was read. */
  readonly digest?: string;
  readonly keyHash: string;
  /** Names one sending of the body to a store: a request that takes effect late is told from the one that was confirmed. */
  readonly sending?: string;
  /** The native write this is a copy of: ties the original back to its version when the ledger is lost. */
  readonly origin?: { readonly site: SiteId; readonly token: Token };
}

/**
 * No request is taken to have effect later than this after it was sent. A connection that falls silent is closed after
 * 15 s (`silenceTimeoutMs`); the rest is room for what a server still works on, and for clocks that differ.
 */
export const longestInFlightMs = 30 * 60_000;

/** `site.seconds.nonce`: where to, and when by the clock of who sent it. `nonce`: some unpredictable characters. */
export function sendingTo(site: SiteId, ms: number, nonce: string): string {
  return `${site}.${Math.floor(ms / 1_000).toString(36)}.${nonce}`;
}

/** Where it was sent to, and when, to the second: milliseconds since 1970. */
export function sendingOf(sending: string): { readonly site: SiteId; readonly ms: number } | undefined {
  const match = /^([a-z][a-z0-9-]*)\.([0-9a-z]+)\.[\w-]+$/.exec(sending);
  return match ? { site: match[1]!, ms: Number.parseInt(match[2]!, 36) * 1_000 } : undefined;
}

/**
 * ASCII without spaces: `2;stamp;dot;past;operation;size;digest;keyHash;origin;sending`, about 140 bytes for 3 sites.
 * Format 1 had no `sending`.
 * A dot is `site.count`, the past is dots joined by `_`, an origin is `site.base64url(token)`, absent is `-`.
 */
export function encodeEntry(entry: Entry): string {
  const { version } = entry;
  const past = Object.entries(version.past)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([site, count]) => `${site}.${count}`)
    .join('_');
  return [
    '2',
    version.stamp,
    `${version.dot.site}.${version.dot.count}`,
    past || '-',
    version.operation,
    String(entry.size),
    entry.digest ?? '-',
    entry.keyHash,
    entry.origin ? `${entry.origin.site}.${Buffer.from(entry.origin.token).toString('base64url')}` : '-',
    entry.sending ?? '-',
  ].join(';');
}

/** How many fields an entry of a format has. */
const lengths: Readonly<Record<string, number>> = { 1: 9, 2: 10 };

/** Undefined for anything that Isobar did not write. */
export function decodeEntry(text: string | undefined): Entry | undefined {
  const fields = text?.split(';') ?? [];
  if (fields.length !== lengths[fields[0]!]) return undefined;
  const [, stampText, dotText, pastText, operation, sizeText, digest, hash, originText, sending = '-'] =
    fields as string[];
  const stamp = parseStamp(stampText!);
  const dot = decodeDot(dotText!);
  const past = decodePast(pastText!);
  const size = Number(sizeText);
  if (!stamp || !dot || !past || !Number.isSafeInteger(size) || size < 0) return undefined;
  const origin = decodeOrigin(originText!);
  if (sending !== undefined && sending !== '-' && !sendingOf(sending)) return undefined;
  return {
    version: { stamp, dot, past, operation: operation!, deleted: false },
    size,
    keyHash: hash!,
    ...(digest === '-' ? {} : { digest: digest! }),
    ...(origin ? { origin } : {}),
    ...(sending === '-' ? {} : { sending }),
  };
}

function decodeDot(text: string): Version['dot'] | undefined {
  const match = /^([a-z][a-z0-9-]*)\.(\d+)$/.exec(text);
  return match ? { site: match[1]!, count: Number(match[2]) } : undefined;
}

function decodePast(text: string): Vector | undefined {
  if (text === '-') return {};
  const past: Record<SiteId, number> = {};
  for (const one of text.split('_')) {
    const dot = decodeDot(one);
    if (!dot) return undefined;
    past[dot.site] = dot.count;
  }
  return past;
}

function decodeOrigin(text: string): Entry['origin'] {
  const match = /^([a-z][a-z0-9-]*)\.([\w-]+)$/.exec(text);
  return match ? { site: match[1]!, token: Buffer.from(match[2]!, 'base64url').toString() } : undefined;
}

/** The entry on an object, when it is there and belongs to this very key. */
export function entryOn(key: string, metadata: ObjectMetadata): Entry | undefined {
  const entry = decodeEntry(metadata.user[entryName]);
  return entry?.keyHash === keyHash(key) ? entry : undefined;
}

export function withEntry(metadata: ObjectMetadata, entry: Entry): ObjectMetadata {
  return { ...metadata, user: { ...metadata.user, [entryName]: encodeEntry(entry) } };
}

/** The metadata as its user set it. */
export function withoutEntry(metadata: ObjectMetadata): ObjectMetadata {
  const { [entryName]: _, ...user } = metadata.user;
  return { ...metadata, user };
}

/** A short hash of what a user set beside the body; equal exactly when the metadata is. */
export function traitsOf(metadata: ObjectMetadata): string {
  const { user, tags, ...plain } = withoutEntry(metadata);
  const sorted = [plain, user, tags].map((part) =>
    Object.entries(part)
      .filter(([, value]) => value !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
  return hash('sha256', JSON.stringify(sorted), 'base64url').slice(0, 16);
}
