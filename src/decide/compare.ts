import type { KeyRecord } from '../model/record.ts';
import type { SiteId } from '../model/version.ts';
import type { ListEntry, Token } from '../ports/object-store.ts';

/** One key, as the ledger and the listings of all readable sites show it. */
export interface Row {
  readonly key: string;
  readonly record: KeyRecord | undefined;
  readonly entries: Readonly<Record<SiteId, ListEntry>>;
}

export interface Differences {
  /** Sites whose object is not the write in the ledger. */
  readonly unknown: readonly SiteId[];
  /** Sites that should hold the key and do not list it. A suspicion: only a complete listing makes it more. */
  readonly missing: readonly SiteId[];
}

const none: Differences = { unknown: [], missing: [] };

/** What a listing says that the ledger does not. No request is made for a key without differences. */
export function compare(
  row: Row,
  listed: readonly SiteId[],
  sameWrite: (site: SiteId, recorded: Token, seen: Token) => boolean,
): Differences {
  const unknown: SiteId[] = [];
  const missing: SiteId[] = [];
  for (const site of listed) {
    const entry = row.entries[site];
    const held = row.record?.replicas[site];
    if (entry) {
      if (held?.token === undefined || !sameWrite(site, held.token, entry.token)) unknown.push(site);
    } else if (held && !held.version.deleted) missing.push(site);
  }
  return unknown.length + missing.length === 0 ? none : { unknown, missing };
}
