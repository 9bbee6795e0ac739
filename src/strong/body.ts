import { sha256Hex } from '../model/digest.ts';
import { StoreFailure } from '../model/failure.ts';
import { keyHash } from '../model/key.ts';
import type { ObjectMetadata } from '../model/metadata.ts';
import type { ByteRange, ObjectStore } from '../ports/object-store.ts';
import type { Body } from '../replicate/attempt.ts';
import { type Content, stagedName, type Versioned } from './head.ts';
import type { StrongShell } from './shell.ts';
import { encodeTag, parseTag, type Tag } from './tag.ts';

/** The user-metadata entry of a projected object: its tag and the hash of its key. */
export const projectionEntry = 'isobar-tag';

export function withTag(key: string, metadata: ObjectMetadata, tag: Tag): ObjectMetadata {
  return { ...metadata, user: { ...metadata.user, [projectionEntry]: `${encodeTag(tag)};${keyHash(key)}` } };
}

export function withoutTag(metadata: ObjectMetadata): ObjectMetadata {
  const { [projectionEntry]: _, ...user } = metadata.user;
  return { ...metadata, user };
}

/** Undefined on what was not projected to this very key. */
export function tagOn(key: string, metadata: ObjectMetadata): Tag | undefined {
  const [text, hash] = metadata.user[projectionEntry]?.split(';') ?? [];
  return text !== undefined && hash === keyHash(key) ? parseTag(text) : undefined;
}

export function bodyOf(bytes: Uint8Array): Body {
  return { size: bytes.length, read: async ({ from, to }) => bytes.subarray(from, to) };
}

/** `changed` when it is gone from everywhere: a later write was projected, so look again. */
export function contentBody(
  shell: StrongShell,
  key: string,
  { tag, value }: Versioned & { readonly value: Content },
  signal: AbortSignal,
): Body {
  if (value.inline) return bodyOf(value.inline);
  return { size: value.size, read: (range) => readRange(shell, key, tag, value, range, signal) };
}

/** From the native key where it holds this very write, from the stage where it does not. */
async function readRange(
  shell: StrongShell,
  key: string,
  tag: Tag,
  value: Content,
  range: ByteRange,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const first = value.staged?.sites ?? [];
  const sites = [...shell.sites].sort(([a], [b]) => Number(first.includes(b)) - Number(first.includes(a)));
  let cause: unknown;
  for (const [, store] of sites) {
    try {
      const bytes =
        (await readStaged(store, key, value, range, signal)) ??
        (await readNative(store, key, tag, range, signal));
      if (!bytes) continue;
      const whole = range.from === 0 && range.to >= value.size;
      if (!whole || !isPlain(value.digest) || sha256Hex(bytes) === value.digest) return bytes;
      cause = new StoreFailure('corrupt', `the staged body of "${key}" differs from its digest`);
    } catch (failure) {
      signal.throwIfAborted();
      cause = failure;
    }
  }
  if (cause) throw cause;
  throw new StoreFailure('changed', `"${key}" was written again after it was looked at; read it again`);
}

/** Of a body of more than one leaf the digest is not that of its bytes alone. */
function isPlain(digest: string): boolean {
  return !digest.includes('-');
}

async function readStaged(
  store: ObjectStore,
  key: string,
  { staged }: Content,
  range: ByteRange,
  signal: AbortSignal,
): Promise<Uint8Array | undefined> {
  if (!staged) return undefined;
  const read = await store.read(stagedName(key, staged.operation), { range }, signal);
  return read?.bytes();
}

async function readNative(
  store: ObjectStore,
  key: string,
  tag: Tag,
  range: ByteRange,
  signal: AbortSignal,
): Promise<Uint8Array | undefined> {
  const head = await store.head(key, signal);
  const held = head && tagOn(key, head.metadata);
  if (!held || encodeTag(held) !== encodeTag(tag)) return undefined;
  const read = await store.read(key, { range, token: head.token }, signal);
  return read?.bytes();
}
