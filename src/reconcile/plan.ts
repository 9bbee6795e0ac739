import { adoptUnread, attribute, type Sighting } from '../decide/attribute.ts';
import { compare, type Row } from '../decide/compare.ts';
import { decide } from '../decide/decide.ts';
import { StoreFailure } from '../model/failure.ts';
import type { RuleOf } from '../model/policy.ts';
import { emptyRecord, type KeyRecord, withReplica } from '../model/record.ts';
import type { SiteId } from '../model/version.ts';
import { recogniseSite } from '../replicate/marker.ts';
import { look } from '../replicate/observe.ts';
import { type Shell, siteOf } from '../replicate/shell.ts';
import { join } from '../sources/scan/join.ts';
import { count, dropOut, guardFor, type PassOptions, type Tally } from './pass.ts';

/** What a pass would do, as data: nothing is written anywhere. */
export interface PlannedStep {
  readonly key: string;
  readonly site: SiteId;
  readonly action: 'copy' | 'overwrite' | 'remove' | 'keep-loser';
  readonly from?: SiteId;
  readonly bytes: number;
  /** Why a pass would leave it for now. */
  readonly held?: string;
}

export interface Plan {
  readonly away: Readonly<Record<SiteId, string>>;
  readonly guarded: Readonly<Record<SiteId, number>>;
}

/** Walks the same comparison without carrying anything out; `told` is called for each thing a pass would do. */
export async function plan(
  shell: Shell,
  told: (step: PlannedStep) => void | Promise<void>,
  options: PassOptions,
  signal: AbortSignal,
): Promise<Plan> {
  const step = async (one: PlannedStep) => {
    const held = one.action === 'copy' ? undefined : await shell.damage.holding(one.key);
    await told(held === undefined ? one : { ...one, held });
  };
  const tallies = new Map<SiteId, Tally>(
    shell.policy.sites.map((site) => [site, { listed: 0, known: 0, suspects: 0, guarded: 0 }]),
  );
  await Promise.all(
    shell.policy.sites.map((site) =>
      recogniseSite(shell, site, signal).catch((error: unknown) => {
        signal.throwIfAborted();
        dropOut(shell, site, tallies.get(site)!, error);
      }),
    ),
  );
  const present = shell.policy.sites.filter((site) => tallies.get(site)!.away === undefined);
  const deletions = new Map<SiteId, KeyRecord[]>();
  const rows = join({
    listings: new Map(present.map((site) => [site, siteOf(shell, site).store.list({}, signal)])),
    records: shell.records.scan(),
    failed: (site, error) => dropOut(shell, site, tallies.get(site)!, error),
  });
  for await (const batch of rows) {
    for (const row of batch) {
      count(row, tallies);
      const listed = shell.policy.sites.filter((site) => tallies.get(site)!.away === undefined);
      const { unknown, missing } = compare(row, listed, (site, a, b) =>
        siteOf(shell, site).store.sameWrite(a, b),
      );
      const { record, parked } = await imagine(shell, row, unknown, signal);
      for (const site of missing) {
        tallies.get(site)!.suspects += 1;
        deletions.set(site, [...(deletions.get(site) ?? []), record]);
      }
      await planKey(
        shell.ruleOf,
        record,
        listed.filter((site) => !parked.includes(site)),
        step,
      );
    }
  }
  const guarded: Record<SiteId, number> = {};
  for (const [site, records] of deletions) {
    const tally = tallies.get(site)!;
    if (tally.away !== undefined) continue;
    if (await guardFor(shell, site, tally, options)) guarded[site] = tally.suspects;
    else
      for (const record of records)
        await planKey(shell.ruleOf, imagineAbsent(shell, record, site), shell.policy.sites, step);
  }
  const away = [...tallies].flatMap(([site, tally]) =>
    tally.away === undefined ? [] : [[site, tally.away] as const],
  );
  return { away: Object.fromEntries(away), guarded };
}

/** `parked`: sites whose object a pass would leave to a person. */
async function imagine(
  shell: Shell,
  row: Row,
  unknown: readonly SiteId[],
  signal: AbortSignal,
): Promise<{ record: KeyRecord; parked: readonly SiteId[] }> {
  let record = row.record ?? emptyRecord(row.key);
  const parked: SiteId[] = [];
  for (const site of unknown) {
    const entry = row.entries[site]!;
    const full = entry.metadata || unknown.length + Object.keys(record.replicas).length === 1;
    const sighting: Sighting = full ? { kind: 'present', entry } : await look(shell, site, row.key, signal);
    try {
      record = imagineSighting(shell, record, site, sighting);
    } catch (failure) {
      if (!(failure instanceof StoreFailure) || failure.remedy !== 'park') throw failure;
      parked.push(site);
    }
  }
  return { record, parked };
}

function imagineAbsent(shell: Shell, record: KeyRecord, site: SiteId): KeyRecord {
  return imagineSighting(shell, record, site, { kind: 'absent' });
}

function imagineSighting(shell: Shell, record: KeyRecord, site: SiteId, sighting: Sighting): KeyRecord {
  const { store } = siteOf(shell, site);
  const input = {
    site,
    record,
    sighting,
    nowMs: shell.world.nowMs(),
    sameWrite: (a: string, b: string) => store.sameWrite(a, b),
  };
  const verdict = attribute(input);
  if (verdict.kind === 'ours' || verdict.kind === 'native') return withReplica(record, site, verdict.replica);
  const unread = verdict.kind === 'known' ? undefined : adoptUnread(input);
  return unread ? withReplica(record, site, unread) : record;
}

async function planKey(
  ruleOf: RuleOf,
  record: KeyRecord,
  sites: readonly SiteId[],
  step: (step: PlannedStep) => void | Promise<void>,
): Promise<void> {
  for (const site of sites) {
    const decision = decide(record, site, ruleOf);
    if (decision.kind === 'skip' || decision.kind === 'note') continue;
    if (decision.kind === 'compare' || decision.kind === 'merge') {
      const bytes = record.replicas[site]?.size ?? 0;
      await step({ key: record.key, site, action: 'overwrite', bytes });
      continue;
    }
    const loser = decision.loser;
    if (loser) await step({ key: record.key, site, action: 'keep-loser', bytes: loser.size });
    if (decision.kind === 'remove') await step({ key: record.key, site, action: 'remove', bytes: 0 });
    else {
      const action = decision.condition.kind === 'absent' ? 'copy' : 'overwrite';
      await step({ key: record.key, site, action, from: decision.from[0]!, bytes: decision.newest.size });
    }
  }
}
