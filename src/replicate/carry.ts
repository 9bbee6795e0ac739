import { seenBy } from '../decide/attribute.ts';
import { decide, type MergeDecision } from '../decide/decide.ts';
import { StoreFailure } from '../model/failure.ts';
import { type KeyRecord, type Replica, removedFrom, sameReplica, withReplica } from '../model/record.ts';
import { historyOf, relate, type SiteId, type Vector } from '../model/version.ts';
import { copy, type Proof, type Target } from './copy.ts';
import { merge } from './merge.ts';
import { examine, lookAgain } from './observe.ts';
import { parkedId } from './records.ts';
import type { Shell } from './shell.ts';

/** What became of one key at one target. */
export interface Carried {
  readonly outcome: Proof['outcome'] | 'current';
  /** What the target now holds; absent when it was current already. */
  readonly replica?: Replica;
  /** Looking at the target brought something to light that other sites may lack. */
  readonly othersMayNeed: boolean;
}

/**
 * The whole path for one key and one target: observe, decide, copy, confirm; again from the start when the world
 * moved in between. Throws `StoreFailure` with the remedy when it cannot be done now.
 */
export async function carry(
  shell: Shell,
  key: string,
  target: Target,
  signal: AbortSignal,
): Promise<Carried> {
  let othersMayNeed = false;
  for (let round = 0; round < shell.settings.rounds; round++) {
    const seen = await shell.records.read(key);
    const decision = decide(seen, target.site.id, shell.ruleOf);
    if (decision.kind === 'skip') return { outcome: 'current', othersMayNeed };
    if (decision.kind === 'compare') {
      for (const site of decision.sites) await examine(shell, site, key, signal);
      continue;
    }
    if (decision.kind !== 'note')
      await shell.damage.demand(key, seen.replicas[target.site.id], decision.newest);
    const proof =
      decision.kind === 'note'
        ? noted(decision.newest, seen.replicas[target.site.id])
        : await workOrLookAgain(shell, seen, decision, target, signal);
    if (proof === undefined) {
      othersMayNeed = true;
      continue;
    }
    await confirm(shell, key, target.site.id, proof, seen.replicas[target.site.id]);
    if (proof.outcome === 'merged') await tellOfMerge(shell, key, target.site.id, proof.target);
    return { outcome: proof.outcome, replica: proof.target, othersMayNeed };
  }
  throw new StoreFailure(
    'unavailable',
    `${key} changes faster at ${target.site.id} than it can be copied; it is tried again later`,
  );
}

/** Undefined: the condition did not hold, or the source moved; the record now says what is there. */
async function workOrLookAgain(
  shell: Shell,
  seen: KeyRecord,
  decision: Parameters<typeof copy>[2] | MergeDecision,
  target: Target,
  signal: AbortSignal,
): Promise<Proof | undefined> {
  const { key } = seen;
  try {
    const proof =
      decision.kind === 'merge'
        ? await merge(shell, seen, decision, target, signal)
        : await copy(shell, key, decision, target, signal);
    if (proof.kind === 'proof') return proof;
    await lookAgain(shell, target.site.id, key, signal);
  } catch (failure) {
    if (!(failure instanceof StoreFailure) || failure.remedy !== 'decide-again') throw failure;
    const touched = [target.site.id, ...(decision.kind === 'remove' ? [] : decision.from)];
    // An upload that is gone may have been completed: then the target holds what nobody has recorded there.
    const lost = failure.code === 'upload-lost' ? target.site.id : undefined;
    for (const site of touched)
      if (seen.replicas[site] || site === lost) await lookAgain(shell, site, key, signal);
  }
  return undefined;
}

/** A merge is a write of its own: every other site lacks it. */
async function tellOfMerge(shell: Shell, key: string, site: SiteId, { version }: Replica): Promise<void> {
  const { dataset } = shell.policy;
  const atMs = shell.world.nowMs();
  await shell.bus.publish([{ id: version.operation, dataset, key, site, atMs, version }]);
}

/** The target holds the winner's content already, or its absence: it takes over the version. */
function noted(newest: Replica, held: Replica | undefined): Proof {
  const { unread: _, noted: __, ...same } = held ?? { size: 0 };
  const late = newest.version.deleted ? ({ noted: true } as const) : {};
  return { kind: 'proof', outcome: 'noted', target: { ...same, ...late, version: newest.version } };
}

/**
 * Durable when it resolves; the debt of the target is settled in the same commit. `before` is what was decided on:
 * where the record says something else by now, that came after this (the condition held), and stands.
 */
async function confirm(
  shell: Shell,
  key: string,
  target: SiteId,
  proof: Proof,
  before: Replica | undefined,
): Promise<void> {
  const { records } = shell;
  await records.update(
    key,
    (record) => {
      const held = record.replicas[target];
      if (!sameReplica(held, before)) return withSource(record, proof);
      const gone = proof.outcome === 'removed' ? removedFrom(held) : {};
      return withSource(
        withReplica(record, target, { ...proof.target, ...gone, ...buried(held, proof.target) }),
        proof,
      );
    },
    // A newer write may have come meanwhile: the debt stands for that one too.
    (record) =>
      decide(record, target, shell.ruleOf).kind === 'skip'
        ? [records.settle(target, key), records.unpark(parkedId(target, key))]
        : [],
  );
}

/** What the target has seen beyond the past of what it holds now: a conflict's loser. */
function buried(held: Replica | undefined, now: Replica): { seen?: Vector } {
  if (!held) return {};
  const seen = seenBy(held);
  const known = historyOf(now.version);
  return Object.entries(seen).some(([site, count]) => count > (known[site] ?? 0)) ? { seen } : {};
}

/** Takes along what reading the source told of it, if it still is what was read. */
function withSource(record: KeyRecord, proof: Proof): KeyRecord {
  if (!proof.source) return record;
  const { site, replica } = proof.source;
  const held = record.replicas[site];
  if (!held || held.token !== replica.token || relate(held.version, replica.version) !== 'same')
    return record;
  return withReplica(record, site, { ...replica, ...(held.seen ? { seen: held.seen } : {}) });
}
