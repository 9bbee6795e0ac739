import { leavesIn } from '../hashing/leaves.ts';
import { sha256Hex } from '../model/digest.ts';
import { type Entry, entryOn, withEntry, withoutEntry } from '../model/entry.ts';
import { keyHash, reservedPrefix } from '../model/key.ts';
import { noMetadata, type ObjectMetadata } from '../model/metadata.ts';
import type { Replica } from '../model/record.ts';
import { compareVersions, type Version } from '../model/version.ts';
import type { ObjectStore, WriteRequest } from '../ports/object-store.ts';
import { changed, readWhole } from './reading.ts';
import { Semaphore } from './semaphore.ts';
import { owned } from './shared-reads.ts';
import type { Shell, Site } from './shell.ts';
import { uploadInParts } from './upload.ts';

// What Isobar keeps below `.isobar/` at every site, so that losing the ledger loses no data.

const jsonMetadata: ObjectMetadata = { ...noMetadata, contentType: 'application/json' };

export function tombstoneKey(key: string): string {
  return `${reservedPrefix}tombstones/${keyHash(key)}`;
}

export function loserKey(key: string, version: Version): string {
  const { site, count } = version.dot;
  return `${reservedPrefix}losers/${keyHash(key)}/${site}.${count}.${version.operation}`;
}

/** Says durably, at the site itself, that the key was deleted. Never replaces a later tombstone by an earlier one. */
export async function writeTombstone(
  shell: Shell,
  site: Site,
  key: string,
  version: Version,
  signal: AbortSignal,
): Promise<void> {
  const name = tombstoneKey(key);
  const body = Buffer.from(`${JSON.stringify({ key, version })}\n`);
  const write = { key: name, body, metadata: jsonMetadata };
  let done = await site.store.write({ ...write, condition: { kind: 'absent' } }, signal);
  for (let round = 0; done.kind === 'conflict' && round < shell.settings.rounds; round++) {
    const read = await site.store.read(name, {}, signal);
    const earlier = read && tombstoneIn(await read.bytes());
    if (earlier && compareVersions(earlier, version) >= 0) return;
    const condition = read
      ? ({ kind: 'match', token: read.head.token } as const)
      : ({ kind: 'absent' } as const);
    done = await site.store.write({ ...write, condition }, signal);
  }
}

function tombstoneIn(bytes: Uint8Array): Version | undefined {
  try {
    return (JSON.parse(Buffer.from(bytes).toString('utf8')) as { version?: Version }).version;
  } catch {
    return undefined;
  }
}

/** Copies what `site` holds aside before something else is written over it. Idempotent by the loser's version. */
export async function keepLoser(
  shell: Shell,
  site: Site,
  key: string,
  loser: Replica,
  winner: Replica,
  signal: AbortSignal,
): Promise<void> {
  const keptAs = loserKey(key, loser.version);
  const digest = await copyAside(shell, site, key, keptAs, loser, signal);
  const note = { key, version: loser.version, size: loser.size, digest, lostTo: winner.version };
  const body = Buffer.from(`${JSON.stringify(note)}\n`);
  await site.store.write(
    { key: `${keptAs}.json`, body, metadata: jsonMetadata, condition: { kind: 'absent' } },
    signal,
  );
  await shell.records.commit([
    shell.records.keep({
      key,
      site: site.id,
      keptAs,
      size: loser.size,
      stamp: loser.version.stamp,
      lostTo: winner.version.stamp,
      sinceMs: shell.world.nowMs(),
    }),
  ]);
  shell.events.lost?.({ site: site.id, key, keptAs });
}

async function copyAside(
  shell: Shell,
  site: Site,
  key: string,
  keptAs: string,
  loser: Replica,
  signal: AbortSignal,
): Promise<string | undefined> {
  if (loser.size <= shell.settings.partSizeBytes) {
    const { head, bytes, digest } = await readWhole(site.store, key, loser.token!, signal);
    const metadata = keptMetadata(key, loser, head.metadata, digest);
    const write = { key: keptAs, body: bytes, metadata, sha256: digest };
    const written = await site.store.write({ ...write, condition: { kind: 'absent' } }, signal);
    if (written.kind === 'conflict') await mendKept(site, write, signal);
    return digest;
  }
  return copyAsideInParts(shell, site, key, keptAs, loser, signal);
}

/** Kept earlier, or by another worker; unless a store that damaged it said so too late, there is nothing to do. */
async function mendKept(
  site: Site,
  write: Omit<WriteRequest, 'condition'> & { readonly sha256: string },
  signal: AbortSignal,
): Promise<void> {
  const kept = await site.store.read(write.key, {}, signal);
  if (!kept || sha256Hex(await kept.bytes()) === write.sha256) return;
  await site.store.write({ ...write, condition: { kind: 'match', token: kept.head.token } }, signal);
}

async function copyAsideInParts(
  shell: Shell,
  site: Site,
  key: string,
  keptAs: string,
  loser: Replica,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { store } = site;
  const head = await store.head(key, signal);
  if (!head || !store.sameWrite(loser.token!, head.token)) throw changed(site, key);
  const kept = await store.head(keptAs, signal);
  if (kept) return loser.digest;
  const done = await uploadInParts(
    shell,
    {
      key: keptAs,
      size: loser.size,
      operation: loser.version.operation,
      condition: { kind: 'absent' },
      metadata: (digest) => keptMetadata(key, loser, head.metadata, digest),
      read: async (range) => owned(await readRange(store, site, key, loser.token!, range, signal)),
    },
    { site, partBytes: new Semaphore(2 * shell.settings.partSizeBytes) },
    signal,
  );
  return done.kind === 'uploaded' ? done.digest : loser.digest;
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

function keptMetadata(
  key: string,
  loser: Replica,
  metadata: ObjectMetadata,
  digest: string | undefined,
): ObjectMetadata {
  const carried = entryOn(key, metadata);
  const entry: Entry = {
    version: loser.version,
    size: loser.size,
    keyHash: keyHash(key),
    ...(digest === undefined ? {} : { digest }),
    ...(carried?.origin ? { origin: carried.origin } : {}),
  };
  return withEntry(withoutEntry(metadata), entry);
}
