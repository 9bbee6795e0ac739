import type { Token } from '../ports/object-store.ts';
import { keyHash, keyProblem, reservedPrefix } from './key.ts';
import type { KeyRecord } from './record.ts';
import { parseStamp } from './stamp.ts';
import { relate, type SiteId, type Vector, type Version } from './version.ts';

/** One write that a deletion was made on top of, by the token that names it at its site. */
export interface Buried {
  readonly token: Token;
  readonly version: Version;
}

/** What stands below `.isobar/tombstones/`: durable at the site before anything is removed there. */
export interface Tombstone {
  readonly key: string;
  readonly version: Version;
  /**
   * What each site was known to hold, as far as the deletion covers it: ties a native original, which carries no
   * version, to the deletion when the ledger is lost. Empty in tombstones of the first format.
   */
  readonly buried: Readonly<Record<SiteId, Buried>>;
}

export const tombstonePrefix = `${reservedPrefix}tombstones/`;

export function tombstoneKey(key: string): string {
  return `${tombstonePrefix}${keyHash(key)}`;
}

/** The deletion `version` of the key, and what `record` says that it buries. */
export function tombstoneOf(record: KeyRecord, version: Version): Tombstone {
  const buried: Record<SiteId, Buried> = {};
  for (const [site, { token, version: held }] of Object.entries(record.replicas)) {
    if (token !== undefined && relate(held, version) === 'dominated') buried[site] = { token, version: held };
  }
  return { key: record.key, version, buried };
}

/** One line of JSON. The first format, without `format` and `buried`, is still read. */
export function encodeTombstone(tombstone: Tombstone): Uint8Array {
  return Buffer.from(`${JSON.stringify({ format: 2, ...tombstone })}\n`);
}

/** Undefined for anything that Isobar did not write under `name`. */
export function decodeTombstone(name: string, bytes: Uint8Array): Tombstone | undefined {
  const stored = parse(bytes);
  const { format, key, version, buried } = stored;
  if (format !== undefined && format !== 2) return undefined;
  if (typeof key !== 'string' || keyProblem(key) || tombstoneKey(key) !== name) return undefined;
  if (!isVersion(version) || !version.deleted) return undefined;
  const known = Object.entries(isObject(buried) ? buried : {}).filter(([, one]) => isBuried(one));
  return { key, version, buried: Object.fromEntries(known) as Tombstone['buried'] };
}

function parse(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  try {
    const stored: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'));
    return isObject(stored) ? stored : {};
  } catch {
    return {};
  }
}

function isBuried(value: unknown): value is Buried {
  return isObject(value) && typeof value['token'] === 'string' && isVersion(value['version']);
}

function isVersion(value: unknown): value is Version {
  if (!isObject(value)) return false;
  const { stamp, dot, past, operation, deleted } = value;
  return (
    typeof stamp === 'string' &&
    parseStamp(stamp) !== undefined &&
    isObject(dot) &&
    typeof dot['site'] === 'string' &&
    isCount(dot['count']) &&
    isVector(past) &&
    typeof operation === 'string' &&
    typeof deleted === 'boolean'
  );
}

function isVector(value: unknown): value is Vector {
  return isObject(value) && Object.values(value).every(isCount);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
