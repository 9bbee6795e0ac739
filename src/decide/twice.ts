import { type KeyRecord, type Replica, withReplica } from '../model/record.ts';
import { covers, join, type SiteId, type Version } from '../model/version.ts';
import { nextCount, seenBy } from './attribute.ts';

// One write that two sites took, because the first did not answer, keeps a dot at each. Only a site's own conditional
// writes make a chain of its dots: a dot of one that stood at another only would be counted past by writes that never
// saw it. Instead a taker has seen the other dots, so that what is written on top of it covers every copy of the write.

/** `site` has seen the dots under which other sites were asked for the same write, unless they are another's by now. */
export function seeingToo(
  record: KeyRecord,
  site: SiteId,
  replica: Replica,
  asked: readonly Version[],
): Replica {
  const dots = asked.filter((one) => !isAnothers(record, site, one)).map(({ dot }) => dot);
  if (dots.length === 0) return replica;
  const seen = join(replica.seen ?? {}, ...dots.map((dot) => ({ [dot.site]: dot.count })));
  return { ...replica, seen };
}

/** A dot that others know as another write's stays that one's: ours is the next at `site`. */
export function withOwnDot(record: KeyRecord, site: SiteId, replica: Replica): Replica {
  if (!isAnothers(record, site, replica.version)) return replica;
  const dot = { site, count: nextCount(withReplica(record, site, replica), site) };
  return { ...replica, version: { ...replica.version, dot } };
}

function isAnothers(record: KeyRecord, site: SiteId, { dot, operation }: Version): boolean {
  const others = Object.keys(record.replicas).filter((other) => other !== site);
  const knowing = others.map((other) => record.replicas[other]!).filter((one) => covers(seenBy(one), dot));
  return knowing.length > 0 && !knowing.some(({ version }) => version.operation === operation);
}
