import { StoreFailure } from '../model/failure.ts';
import type { Value, Versioned } from './head.ts';
import { advanceAll, collect, headsOf, type Sightings } from './heads.ts';
import { fateOf, judge, majorityOf } from './judge.ts';
import { store } from './moves.ts';
import { type Operation, pause, shortOf } from './operation.ts';
import { decide, raise, settle } from './settle.ts';
import { encodeTag, nextStep, putTag, sameTag, type Tag } from './tag.ts';

/** Checked in the very step in which the write takes effect. */
export type StrongCondition =
  | { readonly kind: 'if-absent' }
  /** The key holds what the write with this tag put there. */
  | { readonly kind: 'if-match'; readonly tag: string };

/** `conflict`: the condition did not hold, and this is what the key held instead. */
export interface Ended {
  readonly kind: 'written' | 'conflict';
  readonly held: Versioned;
}

/** Whatever the key holds: two round trips, of which `seen` was the first. */
export async function write(operation: Operation, value: Value, seen: Sightings): Promise<Ended> {
  const { key, id, shell } = operation;
  const counter = Math.max(...[...seen.values()].map(({ head }) => head?.tag.counter ?? 0)) + 1;
  const next: Versioned = { tag: putTag(counter, shell.writer, id), value };
  const majority = majorityOf(shell.sites.size);
  operation.sent = next.tag;
  const move = (head: Parameters<typeof store>[1]) => store(key, head, next);
  // A site with a later write counts: this one comes right before it (docs/strong.md, W2).
  const stored = await advanceAll(operation, seen, move, (answers) => answers.size >= majority);
  if (stored.answers.size < majority) throw shortOf(operation, stored);
  return { kind: 'written', held: next };
}

interface Proposal {
  readonly base: Tag;
  readonly tag: Tag;
}

/** A read-modify-write: looks, then decides by ballot what follows what it saw. Three round trips. */
export async function writeIf(
  operation: Operation,
  value: Value,
  condition: StrongCondition,
): Promise<Ended> {
  const { shell } = operation;
  const sites = shell.sites.size;
  let mine: Proposal | undefined;
  for (let round = 0; round < shell.settings.rounds; round++) {
    if (round > 0) await pause(operation, round);
    const seen = await collect(operation);
    if (mine) {
      const fate = await learnFate(operation, mine, seen);
      if (fate === 'chosen') return { kind: 'written', held: { tag: mine.tag, value } };
      if (fate === 'dead') mine = operation.sent = undefined;
    }
    const judgement = judge(headsOf(seen), sites);
    const base = judgement.kind === 'decided' ? judgement.held : judgement.base;
    if (judgement.base.retired && holds(condition, base)) throw beingCollected(operation);
    if (!mine && !holds(condition, base)) {
      const held = judgement.kind === 'decided' ? base : await settle(operation);
      if (!holds(condition, held)) return { kind: 'conflict', held };
      continue;
    }
    const own: Proposal = mine ?? { base: base.tag, tag: nextStep(base.tag, operation.id) };
    const slot = await decide(operation, base, seen, () => {
      operation.sent = own.tag;
      mine = own;
      return { tag: own.tag, value };
    });
    if (slot.kind !== 'chosen') continue;
    if (sameTag(slot.held.tag, own.tag)) return { kind: 'written', held: slot.held };
    mine = operation.sent = undefined;
  }
  throw new StoreFailure('unavailable', `others write "${operation.key}" at the same time; try again`);
}

/** Closes what a proposal was made on where that tells what became of it. Throws where nothing can tell. */
async function learnFate(operation: Operation, { base, tag }: Proposal, seen: Sightings) {
  const sites = operation.shell.sites.size;
  let fate = fateOf(tag, base, headsOf(seen), sites);
  if (fate !== 'unclear') return fate;
  const raised = await raise(operation, judge(headsOf(seen), sites).base, seen);
  fate = fateOf(tag, base, headsOf(raised), sites);
  if (fate === 'unclear') fate = fateOf(tag, base, headsOf(await collect(operation, sites)), sites);
  if (fate !== 'unclear') return fate;
  throw new StoreFailure('unavailable', `others wrote "${operation.key}" before this write was confirmed`);
}

function holds(condition: StrongCondition, { tag, value }: Versioned): boolean {
  if (condition.kind === 'if-absent') return value.deleted;
  return !value.deleted && encodeTag(tag) === condition.tag;
}

function beingCollected({ key }: Operation): StoreFailure {
  const text = `the removal of "${key}" is being collected; try again in a minute, or write it without a condition`;
  return new StoreFailure('unavailable', text);
}
