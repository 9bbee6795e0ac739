import { nextCount, seenBy } from '../decide/attribute.ts';
import { besides, type MergeDecision, withoutMerge } from '../decide/decide.ts';
import { hashOf } from '../hashing/hash.ts';
import { limits, type Merged, mergedVersion, type NotMerged, type Side } from '../merging/rule.ts';
import { traitsOf, withEntry, withoutEntry } from '../model/entry.ts';
import { StoreFailure } from '../model/failure.ts';
import { keyHash } from '../model/key.ts';
import type { MergingRule } from '../model/policy.ts';
import { type KeyRecord, md5Of, type Replica } from '../model/record.ts';
import { derivedOperation, join, type SiteId, type Version } from '../model/version.ts';
import type { Conflict } from '../ports/object-store.ts';
import { keepClocks, keptClocks } from './clocks.ts';
import { copy, type Proof, sourcesOf, type Target } from './copy.ts';
import { distrusting } from './damaged.ts';
import { keepFormer } from './former.ts';
import { keepLoser } from './keepsakes.ts';
import { demandProof } from './marker.ts';
import { demandIntact, readWhole } from './reading.ts';
import { type Shell, type Site, siteOf } from './shell.ts';

/** One of the writes that met, and where its body can be read. */
export type MergeSide = Side & { readonly at: SiteId };

/** Instead of one body: the later write keeps the key, and the other gets one beside it. */
export interface KeepBoth {
  readonly kind: 'keep-both';
}

/**
 * What makes one body of two, by rule; handed in by whoever puts the dataset together. It may ask others and then takes
 * its time; what it throws as `StoreFailure` `unmerged` waits for a person.
 */
export type MergeFor = (
  rule: MergingRule,
  key: string,
) => (
  winner: MergeSide,
  loser: MergeSide,
  base: MergeSide | undefined,
  signal: AbortSignal,
) => MergeAnswer | Promise<MergeAnswer>;

type MergeAnswer = Merged | NotMerged | KeepBoth;

type SideAt = MergeSide & { readonly site: Site; readonly replica: Replica };

/**
 * Makes one write of the two that met and writes it over the one that the target holds. Whoever else does the same
 * elsewhere makes the same body, and nothing is left to do where they meet. What the result lacks is kept first; what
 * cannot be merged is decided as the last writer wins.
 */
export async function merge(
  shell: Shell,
  record: KeyRecord,
  decision: MergeDecision,
  target: Target,
  signal: AbortSignal,
): Promise<Proof | Conflict> {
  const { key } = record;
  await demandProof(shell, target.site.id, signal);
  const { held, newest } = decision;
  const largest = Math.max(held.size, newest.size);
  const done =
    largest > limits.bodyBytes ? tooLarge(largest) : await tryMerge(shell, record, decision, target, signal);
  if (done.kind === 'proof' || done.kind === 'conflict') return done;
  const instead = done.kind === 'keep-both' ? besides(decision) : withoutMerge(decision, done.because);
  return copy(shell, key, instead, target, signal);
}

function tooLarge(bytes: number): NotMerged {
  return {
    kind: 'not-merged',
    because: `a body of ${bytes} bytes is not merged; the limit is ${limits.bodyBytes}`,
  };
}

async function tryMerge(
  shell: Shell,
  record: KeyRecord,
  decision: MergeDecision,
  target: Target,
  signal: AbortSignal,
): Promise<Proof | Conflict | NotMerged | KeepBoth> {
  const { key } = record;
  const { held, newest, base } = decision;
  const release = await target.partBytes.acquire(held.size + newest.size + (base?.replica.size ?? 0), signal);
  try {
    const [loser, winner, ancestor] = await Promise.all([
      sideAt(shell, key, target.site, held, signal),
      winnerOf(shell, record, decision, target, signal),
      baseSide(shell, key, base, signal),
    ]);
    const made = await shell.merges(decision.rule, key)(winner, loser, ancestor, signal);
    if (made.kind !== 'merged') return made;
    if (made.body.length > limits.bodyBytes) return tooLarge(made.body.length);
    return await writeMerged(shell, record, decision.rule, { winner, loser, made }, target, signal);
  } finally {
    release();
  }
}

async function winnerOf(
  shell: Shell,
  { key, replicas }: KeyRecord,
  { newest, from }: MergeDecision,
  target: Target,
  signal: AbortSignal,
): Promise<SideAt> {
  const sources = sourcesOf(shell, from, target.site.id);
  for (const [index, site] of sources.entries()) {
    try {
      return await sideAt(shell, key, site, replicas[site.id]!, signal);
    } catch (failure) {
      const isLast = index === sources.length - 1;
      if (isLast || !(failure instanceof StoreFailure) || failure.remedy === 'decide-again') throw failure;
      shell.events.failed?.({ site: site.id, key, error: failure });
    }
  }
  throw new StoreFailure(
    'unavailable',
    `no site that holds the newest version of ${key} can be read (${newest.version.dot.site})`,
  );
}

/** Without it a merge is still the same wherever it is made from the same. */
async function baseSide(
  shell: Shell,
  key: string,
  base: MergeDecision['base'],
  signal: AbortSignal,
): Promise<SideAt | undefined> {
  if (!base || base.replica.size > limits.bodyBytes) return undefined;
  const site = siteOf(shell, base.site);
  if (!site.breaker.closed) return undefined;
  try {
    return await sideAt(shell, key, site, base.replica, signal);
  } catch (failure) {
    signal.throwIfAborted();
    if (failure instanceof StoreFailure) return undefined;
    throw failure;
  }
}

async function sideAt(
  shell: Shell,
  key: string,
  site: Site,
  replica: Replica,
  signal: AbortSignal,
): Promise<SideAt> {
  const { version } = replica;
  const [whole, clocks] = await Promise.all([
    readWhole(site.store, key, replica.token!, signal),
    keptClocks(shell, key, version, signal),
  ]);
  await demandIntact(whole, site.id, replica.digest);
  const { head, bytes, digest } = whole;
  const read = { ...replica, digest, traits: traitsOf(head.metadata) };
  const side = {
    at: site.id,
    site,
    replica: read,
    version,
    body: bytes,
    metadata: withoutEntry(head.metadata),
  };
  return clocks ? { ...side, clocks } : side;
}

interface Outcome {
  readonly winner: SideAt;
  readonly loser: SideAt;
  readonly made: Merged;
}

async function writeMerged(
  shell: Shell,
  record: KeyRecord,
  rule: MergingRule,
  outcome: Outcome,
  { site }: Target,
  signal: AbortSignal,
): Promise<Proof | Conflict> {
  const { key } = record;
  const { body, metadata, clocks } = outcome.made;
  const digest = await hashOf('sha256', body);
  const traits = traitsOf(metadata);
  const version = versionOf(record, site.id, outcome, asked(rule) ? [digest, traits] : []);
  const result = { version, size: body.length, digest, traits };
  const kept = await keepSides(shell, key, rule, outcome, result, signal);
  if (!kept.includes(outcome.loser)) await keepFormer(shell, site, key, result, signal);
  await keepClocks(shell, site, key, version, clocks, signal);
  const request = {
    key,
    body,
    metadata: withEntry(metadata, { version, size: body.length, keyHash: keyHash(key), digest }),
    condition: { kind: 'match', token: outcome.loser.replica.token! },
    sha256: digest,
  } as const;
  const written = await distrusting(
    shell,
    site,
    key,
    version.operation,
    () => site.store.write(request, signal),
    signal,
  );
  if (written.kind === 'conflict') return written;
  const { token, digests } = written;
  return { kind: 'proof', outcome: 'merged', target: { ...result, token, ...md5Of(digests) } };
}

/** Somebody else's program may answer otherwise the next time: its result is part of what the operation is. */
function asked(rule: MergingRule): boolean {
  return typeof rule === 'object' && 'hook' in rule;
}

/** Where one write was taken by two sites under two dots, either stands for both: as for a write of a user's. */
function versionOf(
  record: KeyRecord,
  site: SiteId,
  { winner, loser }: Outcome,
  result: readonly string[],
): Version {
  const dot = { site, count: nextCount(record, site) };
  const version = mergedVersion(winner.version, loser.version, dot);
  const merged = [winner.version.operation, loser.version.operation];
  const same = Object.values(record.replicas).filter((one) => merged.includes(one.version.operation));
  const operation = result.length === 0 ? version.operation : derivedOperation(version.operation, ...result);
  return { ...version, past: join(version.past, ...same.map(seenBy)), operation };
}

/** Keeps a side where it stands when something of it would be gone. */
async function keepSides(
  shell: Shell,
  key: string,
  rule: MergingRule,
  { winner, loser, made }: Outcome,
  result: Replica,
  signal: AbortSignal,
): Promise<readonly SideAt[]> {
  const kept: SideAt[] = [];
  const sides = [
    { side: loser, dropped: made.dropped },
    { side: winner, dropped: made.droppedOfWinner },
  ];
  for (const { side, dropped } of sides) {
    if (dropped.length === 0 && !asked(rule)) continue;
    const { digest, traits } = side.replica;
    if (digest === result.digest && traits === result.traits) continue;
    const because = dropped.length === 0 ? 'a hook decided' : `the merge left out ${listOf(dropped)}`;
    await keepLoser(shell, side.site, key, side.replica, result.version, signal, because);
    kept.push(side);
  }
  return kept;
}

function listOf(pointers: readonly string[]): string {
  const named = pointers.slice(0, 5).map((one) => (one === '' ? 'everything' : one.slice(0, 100)));
  const more = pointers.length - named.length;
  return `${named.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}
