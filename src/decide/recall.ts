import { type KeyRecord, type Replica, withReplica } from '../model/record.ts';
import type { Buried, Tombstone } from '../model/tombstone.ts';
import { compareVersions, relate, type SiteId } from '../model/version.ts';
import { seenBy } from './attribute.ts';

/** What the record says of the site stands, unless the deletion covers it or came later. */
export function withTombstone(
  record: KeyRecord,
  site: SiteId,
  { version, buried }: Tombstone,
  writtenMs: number,
): KeyRecord | undefined {
  const held = record.replicas[site];
  if (held && !isOver(version, held)) return undefined;
  const seen = held ? { seen: seenBy(held) } : {};
  return withReplica(record, site, {
    version,
    size: 0,
    ...seen,
    noted: true,
    recalled: { writtenMs, buried: { ...buriedHere(site, held), ...buried } },
  });
}

function isOver(version: Tombstone['version'], held: Replica): boolean {
  const relation = relate(version, held.version);
  if (relation === 'same') return false;
  return relation === 'dominates' || (held.version.deleted && compareVersions(version, held.version) > 0);
}

function buriedHere(site: SiteId, held: Replica | undefined): Record<SiteId, Buried> {
  if (held?.token === undefined) return {};
  return { [site]: { token: held.token, version: held.version } };
}
