import type { KeyRecord, Replica } from '../model/record.ts';
import type { SiteId, Version } from '../model/version.ts';
import type { Json } from '../ports/ledger.ts';

/** Versions that several sites share are written once. */
export function encodeRecord(record: KeyRecord): Json {
  const versions: Version[] = [];
  const replicas: Record<SiteId, Json> = {};
  for (const [site, replica] of Object.entries(record.replicas)) {
    const { version, ...rest } = replica;
    let index = versions.findIndex((one) => JSON.stringify(one) === JSON.stringify(version));
    if (index < 0) index = versions.push(version) - 1;
    replicas[site] = { ...plain(rest), v: index };
  }
  const { floor, goneMs, claims } = record;
  return { versions: versions.map(plain), replicas, ...plain({ floor, goneMs, claims }) };
}

export function decodeRecord(key: string, value: Json): KeyRecord {
  const stored = value as unknown as {
    versions: Version[];
    replicas: Record<SiteId, Omit<Replica, 'version'> & { v: number }>;
  } & Pick<KeyRecord, 'floor' | 'goneMs' | 'claims'>;
  const replicas: Record<SiteId, Replica> = {};
  for (const [site, { v, ...rest }] of Object.entries(stored.replicas)) {
    replicas[site] = { ...rest, version: stored.versions[v]! };
  }
  const { floor, goneMs, claims } = stored;
  // Nearly every row: a pass reads them all.
  if (floor === undefined && goneMs === undefined && claims === undefined) return { key, replicas };
  return {
    key,
    replicas,
    ...(floor === undefined ? {} : { floor }),
    ...(goneMs === undefined ? {} : { goneMs }),
    ...(claims === undefined ? {} : { claims }),
  };
}

type Plain = { readonly [name: string]: Json };

/** As JSON keeps it: without fields that are undefined. */
export function plain(value: object): Plain {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as Plain;
}
