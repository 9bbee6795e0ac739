import { leavesIn } from '../hashing/leaves.ts';
import { sha256Hex } from '../model/digest.ts';
import { type Entry, withEntry, withoutEntry } from '../model/entry.ts';
import type { ObjectMetadata } from '../model/metadata.ts';
import type { Replica } from '../model/record.ts';
import type { Conflict, ObjectStore, StoreDigests, Token, WriteRequest } from '../ports/object-store.ts';
import { changed, demandIntact, readWhole } from './reading.ts';
import { Semaphore } from './semaphore.ts';
import { owned } from './shared-reads.ts';
import type { Shell, Site } from './shell.ts';
import { uploadInParts } from './upload.ts';

/** What a site holds of one key, to be written under another key there, where nothing stands yet. */
export interface Aside {
  readonly key: string;
  readonly held: Replica;
  readonly as: string;
  /** Of the copy, from the metadata of the original. */
  readonly entry: (metadata: ObjectMetadata, digest: string | undefined) => Entry;
  /** Nobody else writes there: a copy that a store damaged, and said so too late, is written again. */
  readonly reserved?: true;
  /** Kept as it is found: it is known to be damaged. */
  readonly damaged?: true;
  /** As of a write. */
  readonly untilMs?: number;
}

export interface SetAside {
  readonly kind: 'aside';
  readonly token: Token;
  readonly digest: string;
  readonly digests: StoreDigests;
  /** As its user set it. */
  readonly metadata: ObjectMetadata;
}

/** Metadata and tags come along. `conflict`: something stands there. Throws `changed` when the key was written meanwhile. */
export function setAside(
  shell: Shell,
  site: Site,
  aside: Aside,
  signal: AbortSignal,
): Promise<SetAside | Conflict> {
  return aside.held.size <= shell.settings.partSizeBytes
    ? setAsideWhole(site, aside, signal)
    : setAsideInParts(shell, site, aside, signal);
}

async function setAsideWhole(site: Site, aside: Aside, signal: AbortSignal): Promise<SetAside | Conflict> {
  const whole = await readWhole(site.store, aside.key, aside.held.token!, signal);
  if (!aside.damaged) await demandIntact(whole, site.id, aside.held.digest);
  const { head, bytes, digest } = whole;
  const metadata = metadataOf(aside, head.metadata, digest);
  const write = { key: aside.as, body: bytes, metadata, sha256: digest, ...until(aside) };
  const written = await site.store.write({ ...write, condition: { kind: 'absent' } }, signal);
  if (written.kind === 'written')
    return { ...written, kind: 'aside', digest, metadata: withoutEntry(metadata) };
  if (aside.reserved) await mend(site, write, signal);
  return written;
}

async function mend(
  site: Site,
  write: Omit<WriteRequest, 'condition'> & { readonly sha256: string },
  signal: AbortSignal,
): Promise<void> {
  const there = await site.store.read(write.key, {}, signal);
  if (!there || sha256Hex(await there.bytes()) === write.sha256) return;
  await site.store.write({ ...write, condition: { kind: 'match', token: there.head.token } }, signal);
}

async function setAsideInParts(
  shell: Shell,
  site: Site,
  aside: Aside,
  signal: AbortSignal,
): Promise<SetAside | Conflict> {
  const { store } = site;
  const { key, held, as } = aside;
  const head = await store.head(key, signal);
  if (!head || !store.sameWrite(held.token!, head.token)) throw changed(site, key);
  if (await store.head(as, signal)) return { kind: 'conflict' };
  const done = await uploadInParts(
    shell,
    {
      key: as,
      size: held.size,
      operation: held.version.operation,
      condition: { kind: 'absent' },
      ...until(aside),
      metadata: (digest) => metadataOf(aside, head.metadata, digest),
      read: async (range) => owned(await readRange(store, site, key, held.token!, range, signal)),
    },
    { site, partBytes: new Semaphore(2 * shell.settings.partSizeBytes) },
    signal,
  );
  if (done.kind === 'conflict') return done;
  return { ...done, kind: 'aside', metadata: withoutEntry(head.metadata) };
}

async function readRange(
  store: ObjectStore,
  site: Site,
  key: string,
  token: string,
  range: { from: number; to: number },
  signal: AbortSignal,
): Promise<{ bytes: Uint8Array; leaves: string[] }> {
  const read = await store.read(key, { token, range }, signal);
  if (!read) throw changed(site, key);
  const bytes = await read.bytes();
  return { bytes, leaves: await leavesIn(bytes) };
}

function until({ untilMs }: Aside): { untilMs?: number } {
  return untilMs === undefined ? {} : { untilMs };
}

function metadataOf({ entry }: Aside, metadata: ObjectMetadata, digest: string | undefined): ObjectMetadata {
  return withEntry(withoutEntry(metadata), entry(metadata, digest));
}
