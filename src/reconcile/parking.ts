import { decide } from '../decide/decide.ts';
import { newestOf } from '../decide/resolve.ts';
import { withoutEntry } from '../model/entry.ts';
import { StoreFailure } from '../model/failure.ts';
import { noMetadata } from '../model/metadata.ts';
import type { KeyRecord } from '../model/record.ts';
import type { SiteId } from '../model/version.ts';
import type { ListEntry } from '../ports/object-store.ts';
import { learn, look, type Seen } from '../replicate/observe.ts';
import { parkedId } from '../replicate/records.ts';
import type { Shell } from '../replicate/shell.ts';

/** Sites where some key is parked. */
export async function sitesWithParked(shell: Shell): Promise<ReadonlySet<SiteId>> {
  const sites = new Set<SiteId>();
  for await (const page of shell.records.parked())
    for (const { site, key } of page) if (key !== undefined) sites.add(site);
  return sites;
}

/** An object that cannot be learned as it is waits for a person, and is looked at again by every pass. */
export async function parkUnlearned(
  shell: Shell,
  site: SiteId,
  record: KeyRecord,
  entry: ListEntry,
  failure: StoreFailure,
): Promise<void> {
  const { records, world, events } = shell;
  const { key } = record;
  const id = parkedId(site, key);
  const earlier = await records.parkedBy(id);
  if (earlier && !earlier.released && earlier.detail === failure.message) return;
  events.failed?.({ site, key, error: failure });
  const operation = newestOf(record, shell.ruleOf)?.replica.version.operation;
  await records.commit([
    records.park({
      id,
      site,
      key,
      ...(operation === undefined ? {} : { operation }),
      reason: failure.code,
      detail: failure.message,
      sinceMs: earlier?.sinceMs ?? world.nowMs(),
      keys: 1,
      bytes: entry.size,
    }),
  ]);
}

/** What stands there has been learned: should the site lack something else, that is tried anew. */
export async function unparkLearned(shell: Shell, site: SiteId, key: string): Promise<void> {
  const id = parkedId(site, key);
  if (await shell.records.parkedBy(id)) await shell.records.commit([shell.records.unpark(id)]);
}

/**
 * A person said go: what carries a version that is not trusted is taken for a native write, made now.
 * A site that cannot be asked stays as it is.
 */
export async function adoptReleased(shell: Shell, key: string, signal: AbortSignal): Promise<KeyRecord> {
  for (const site of shell.policy.sites) {
    try {
      const sighting = await look(shell, site, key, signal);
      if (sighting.kind === 'present') await learnOrAdopt(shell, site, sighting, signal);
      // What it was parked for may be gone.
      const isOwed = decide(await shell.records.read(key), site, shell.ruleOf).kind !== 'skip';
      if (sighting.kind === 'present' || !isOwed) await unparkLearned(shell, site, key);
    } catch (failure) {
      if (!(failure instanceof StoreFailure)) throw failure;
      shell.events.failed?.({ site, key, error: failure });
    }
  }
  return shell.records.read(key);
}

async function learnOrAdopt(
  shell: Shell,
  site: SiteId,
  sighting: Extract<Seen, { kind: 'present' }>,
  signal: AbortSignal,
): Promise<void> {
  const { entry } = sighting;
  try {
    await learn(shell, site, entry.key, sighting, signal);
  } catch (failure) {
    if (!(failure instanceof StoreFailure) || failure.remedy !== 'park') throw failure;
    const native = { ...entry, metadata: withoutEntry(entry.metadata ?? noMetadata) };
    await learn(shell, site, entry.key, { ...sighting, entry: native }, signal);
  }
}

/** The newest write was taken from a listing, and who read it parked it: it may be trusted by now. */
export async function learnUnread(
  shell: Shell,
  record: KeyRecord,
  signal: AbortSignal,
): Promise<KeyRecord | undefined> {
  const newest = newestOf(record, shell.ruleOf);
  const site = newest?.sites.find((holder) => record.replicas[holder]!.unread);
  if (site === undefined) return undefined;
  try {
    return await learn(shell, site, record.key, await look(shell, site, record.key, signal), signal);
  } catch (failure) {
    if (failure instanceof StoreFailure) return undefined;
    throw failure;
  }
}

/** True when every target that lacks the newest version has parked exactly that one, and nobody released it. */
export async function onlyParked(shell: Shell, record: KeyRecord): Promise<boolean> {
  const newest = newestOf(record, shell.ruleOf);
  const lacking = shell.policy.sites.filter((site) => decide(record, site, shell.ruleOf).kind !== 'skip');
  for (const site of lacking) {
    const parked = await shell.records.parkedBy(parkedId(site, record.key));
    if (!parked || parked.released || parked.operation !== newest?.replica.version.operation) return false;
  }
  return true;
}
