import { type Entry, entryOn } from '../model/entry.ts';
import { keyHash, reservedPrefix } from '../model/key.ts';
import { noMetadata, type ObjectMetadata } from '../model/metadata.ts';
import type { Replica } from '../model/record.ts';
import { decodeTombstone, encodeTombstone, tombstoneKey, tombstoneOf } from '../model/tombstone.ts';
import { compareVersions, type SiteId, type Version } from '../model/version.ts';
import { setAside } from './aside.ts';
import type { Loser } from './records.ts';
import type { Shell, Site } from './shell.ts';

// What Isobar keeps below `.isobar/` at every site, so that losing the ledger loses no data.

const jsonMetadata: ObjectMetadata = { ...noMetadata, contentType: 'application/json' };

export const loserPrefix = `${reservedPrefix}losers/`;

export function loserKey(key: string, version: Version): string {
  const { site, count } = version.dot;
  return `${loserPrefix}${keyHash(key)}/${site}.${count}.${version.operation}`;
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
  const body = encodeTombstone(tombstoneOf(await shell.records.read(key), version));
  const write = { key: name, body, metadata: jsonMetadata };
  let done = await site.store.write({ ...write, condition: { kind: 'absent' } }, signal);
  for (let round = 0; done.kind === 'conflict' && round < shell.settings.rounds; round++) {
    const read = await site.store.read(name, {}, signal);
    const earlier = read && decodeTombstone(name, await read.bytes());
    if (earlier && compareVersions(earlier.version, version) >= 0) return;
    const condition = read
      ? ({ kind: 'match', token: read.head.token } as const)
      : ({ kind: 'absent' } as const);
    done = await site.store.write({ ...write, condition }, signal);
  }
}

/** Why a body is kept that is known not to be what was written. */
export const damagedBody = 'its body was damaged';

/**
 * Copies what `site` holds aside before something else is written over it. Idempotent by the loser's version.
 * `because`: where the rule for the key is not reason enough.
 */
export async function keepLoser(
  shell: Shell,
  site: Site,
  key: string,
  loser: Replica,
  winner: Version,
  signal: AbortSignal,
  because?: string,
): Promise<void> {
  const keptAs = loserKey(key, loser.version);
  const why = because === undefined ? {} : { because };
  const damaged = because === damagedBody ? ({ damaged: true } as const) : {};
  const entry = keptEntry(key, loser);
  const aside = { key, held: loser, as: keptAs, entry, reserved: true, ...damaged } as const;
  const kept = await setAside(shell, site, aside, signal);
  const digest = kept.kind === 'aside' ? kept.digest : loser.digest;
  const note = { key, version: loser.version, size: loser.size, digest, lostTo: winner, ...why };
  const body = Buffer.from(`${JSON.stringify(note)}\n`);
  await site.store.write(
    { key: noteKey(keptAs), body, metadata: jsonMetadata, condition: { kind: 'absent' } },
    signal,
  );
  await shell.records.commit([
    shell.records.keep({
      key,
      site: site.id,
      keptAs,
      size: loser.size,
      stamp: loser.version.stamp,
      lostTo: winner.stamp,
      sinceMs: shell.world.nowMs(),
      ...why,
    }),
  ]);
  shell.events.lost?.({ site: site.id, key, keptAs });
}

/** What is known of a kept loser stands beside its body. */
export function noteKey(keptAs: string): string {
  return `${keptAs}.json`;
}

function keptEntry(key: string, loser: Replica): (metadata: ObjectMetadata, digest?: string) => Entry {
  return (metadata, digest) => {
    const carried = entryOn(key, metadata);
    return {
      version: loser.version,
      size: loser.size,
      keyHash: keyHash(key),
      ...(digest === undefined ? {} : { digest }),
      ...(carried?.origin ? { origin: carried.origin } : {}),
    };
  };
}

/** The row of a kept loser, from what stands beside its body. Undefined for anything that Isobar did not write. */
export function decodeLoser(
  site: SiteId,
  name: string,
  bytes: Uint8Array,
  sinceMs: number,
): Loser | undefined {
  try {
    const { key, version, size, lostTo, because } = JSON.parse(Buffer.from(bytes).toString('utf8')) as {
      readonly key?: string;
      readonly version?: Version;
      readonly size?: number;
      readonly lostTo?: Version;
      readonly because?: string;
    };
    if (typeof key !== 'string' || !version || !lostTo || typeof size !== 'number') return undefined;
    const keptAs = loserKey(key, version);
    if (noteKey(keptAs) !== name) return undefined;
    const why = because === undefined ? {} : { because };
    return { key, site, keptAs, size, stamp: version.stamp, lostTo: lostTo.stamp, sinceMs, ...why };
  } catch {
    return undefined;
  }
}
