import { sha256Hex } from '../model/digest.ts';
import { StoreFailure } from '../model/failure.ts';
import { keyHash, reservedPrefix } from '../model/key.ts';
import type { ObjectMetadata } from '../model/metadata.ts';
import type { SiteId } from '../model/version.ts';
import { type Ballot, encodeTag, parseTag, type Tag } from './tag.ts';

/** What a write puts under a key. */
export type Value = Removal | Content;

export interface Removal {
  readonly deleted: true;
}

export interface Content {
  readonly deleted: false;
  readonly size: number;
  /** Of the body; see model/digest.ts. */
  readonly digest: string;
  readonly metadata: ObjectMetadata;
  /** The body itself where it is small. */
  readonly inline?: Uint8Array;
  /** Where it is not: the operation that staged it, and at which sites at least. */
  readonly staged?: { readonly operation: string; readonly sites: readonly SiteId[] };
}

export interface Versioned {
  readonly tag: Tag;
  readonly value: Value;
}

/** A read-modify-write that this site has accepted, and that may have been chosen. */
export interface Accepted extends Versioned {
  readonly ballot: Ballot;
}

/**
 * What one site keeps of one key. Its content never comes back: tag, then ballots, only grow, and name operations.
 * That is why a token which is a digest of the content is good enough.
 */
export interface Head extends Versioned {
  readonly key: string;
  /** No ballot below it is accepted here on top of `tag`. */
  readonly promised?: Ballot;
  readonly accepted?: Accepted;
  /** What stood here before, and what was accepted on top of it. */
  readonly closed?: { readonly tag: Tag; readonly accepted?: { readonly tag: Tag; readonly ballot: Ballot } };
  /** A removal that every site has, about to be collected: nothing is built on it any more. */
  readonly retired?: true;
}

export const removal: Removal = { deleted: true };

export function headName(key: string): string {
  return `${reservedPrefix}heads/${keyHash(key)}`;
}

export function stagedPrefix(key: string): string {
  return `${reservedPrefix}staged/${keyHash(key)}/`;
}

export function stagedName(key: string, operation: string): string {
  return `${stagedPrefix(key)}${operation}`;
}

const format = 1;

export function encodeHead(head: Head): Uint8Array {
  const { tag, value, accepted, closed, ...rest } = head;
  const document = {
    format,
    ...rest,
    tag: encodeTag(tag),
    value: writtenValue(value),
    ...(accepted && {
      accepted: { ...accepted, tag: encodeTag(accepted.tag), value: writtenValue(accepted.value) },
    }),
    ...(closed && {
      closed: {
        tag: encodeTag(closed.tag),
        ...(closed.accepted && { accepted: { ...closed.accepted, tag: encodeTag(closed.accepted.tag) } }),
      },
    }),
  };
  return Buffer.from(`${JSON.stringify(document)}\n`);
}

/** `invalid` for anything that is not a head of this very key in a format that is known here. */
export function decodeHead(key: string, bytes: Uint8Array): Head {
  let head: Head | undefined;
  try {
    const document = JSON.parse(Buffer.from(bytes).toString('utf8'));
    if (document.format === format && document.key === key) head = headOf(document);
  } catch (cause) {
    throw unreadable(key, cause);
  }
  if (!head) throw unreadable(key);
  for (const value of [head.value, head.accepted?.value]) {
    if (value && !value.deleted && value.inline && sha256Hex(value.inline) !== value.digest) {
      throw new StoreFailure('corrupt', `the head of "${key}" holds a body that differs from its digest`);
    }
  }
  return head;
}

function unreadable(key: string, cause?: unknown): StoreFailure {
  const text = `${headName(key)} is no head of "${key}" that this version of Isobar can read`;
  return new StoreFailure('invalid', `${text}; nobody but Isobar may write there`, { cause });
}

// biome-ignore lint/suspicious/noExplicitAny: JSON of a format that was checked; what is wrong in it throws
type Document = any;

function headOf(document: Document): Head {
  const { format: _, tag, value, accepted, closed, ...rest } = document;
  return {
    ...rest,
    tag: tagOf(tag),
    value: readValue(value),
    ...(accepted && {
      accepted: { ...accepted, tag: tagOf(accepted.tag), value: readValue(accepted.value) },
    }),
    ...(closed && {
      closed: {
        tag: tagOf(closed.tag),
        ...(closed.accepted && { accepted: { ...closed.accepted, tag: tagOf(closed.accepted.tag) } }),
      },
    }),
  };
}

function tagOf(text: string): Tag {
  const tag = parseTag(text);
  if (!tag) throw new Error(`"${text}" is no tag`);
  return tag;
}

function writtenValue(value: Value): object {
  if (value.deleted || !value.inline) return value;
  return { ...value, inline: Buffer.from(value.inline).toString('base64') };
}

function readValue(value: Document): Value {
  if (value.deleted === true) return removal;
  if (value.deleted !== false || typeof value.digest !== 'string' || !Number.isSafeInteger(value.size)) {
    throw new Error('the value is incomplete');
  }
  if (value.inline === undefined) return value;
  return { ...value, inline: new Uint8Array(Buffer.from(value.inline, 'base64')) };
}
