import { nextVersion, seenBy } from '../decide/attribute.ts';
import { seeingToo, withOwnDot } from '../decide/twice.ts';
import { hashOf } from '../hashing/hash.ts';
import { leavesIn } from '../hashing/leaves.ts';
import { type Entry, traitsOf, withEntry } from '../model/entry.ts';
import { StoreFailure } from '../model/failure.ts';
import { keyHash } from '../model/key.ts';
import type { ObjectMetadata } from '../model/metadata.ts';
import {
  type KeyRecord,
  md5Of,
  type Replica,
  removedFrom,
  withClaims,
  withReplica,
} from '../model/record.ts';
import { covers, join, type SiteId, type Vector, type Version } from '../model/version.ts';
import type { ByteRange, Condition, Conflict } from '../ports/object-store.ts';
import { distrusting } from './damaged.ts';
import { writeTombstone } from './keepsakes.ts';
import { demandProof } from './marker.ts';
import { lookAgain } from './observe.ts';
import { wholeId } from './reading.ts';
import { recallKey } from './recall.ts';
import { Semaphore } from './semaphore.ts';
import { Sending } from './sending.ts';
import { owned } from './shared-reads.ts';
import type { Shell, Site } from './shell.ts';
import { uploadInParts } from './upload.ts';

/** A body whose size is known and which can be read again from anywhere. */
export interface Body {
  readonly size: number;
  read(range: ByteRange): Promise<Uint8Array>;
}

/** One write of a caller, whichever sites are asked to take it. */
export interface Operation {
  readonly id: string;
  readonly key: string;
  /** The same at every site: asked later, it is no later write. */
  readonly madeMs: number;
  /** What sites were asked to take and have not surely refused. */
  readonly sent: Map<SiteId, Version>;
  /** A site has it durably: others that are still being asked must not be asked anew. */
  taken: boolean;
  readonly burial?: Burial | undefined;
}

/** What a person decided: it is written over whatever stands there, and nobody else's. */
export interface Burial {
  /** What it has seen beside that. */
  readonly covering: Vector;
  /** Called with what it is about to be written over. */
  keep(site: Site, held: Replica): Promise<void>;
}

export function newOperation(shell: Shell, key: string, burial?: Burial): Operation {
  const { world } = shell;
  return { id: world.uniqueId(), key, madeMs: world.nowMs(), sent: new Map(), taken: false, burial };
}

/** Resolves when the body is durable at `site`, and the ledger knows. */
export async function putAt(
  shell: Shell,
  site: Site,
  operation: Operation,
  body: Body,
  metadata: ObjectMetadata,
  signal: AbortSignal,
): Promise<Version> {
  const { key } = operation;
  const traits = traitsOf(metadata);
  const small =
    body.size <= shell.settings.partSizeBytes ? await body.read({ from: 0, to: body.size }) : undefined;
  const digest = small && (await hashOf('sha256', small));
  return attempt(shell, site, operation, false, signal, async (version, held, asking) => {
    const condition = conditionOn(held);
    const entry: Entry = { version, size: body.size, keyHash: keyHash(key), ...(digest ? { digest } : {}) };
    asking();
    if (!small) return putLarge(shell, site, key, body, metadata, entry, condition, traits, signal);
    const sending = new Sending(
      shell.world,
      site.id,
      { key, body: small, metadata, condition, sha256: digest! },
      entry,
    );
    const written = await site.store.write(sending.request(), signal);
    if (written.kind === 'conflict') return written;
    const { token, digests } = written;
    const head = {
      key,
      size: body.size,
      token,
      lastModifiedMs: shell.world.nowMs(),
      digests,
      metadata: sending.metadata,
    };
    shell.reads.offer(wholeId(site.id, key, token), body.size, shell.policy.sites.length - 1, {
      head,
      bytes: small,
      digest,
    });
    return {
      version,
      token,
      size: body.size,
      digest: digest!,
      traits,
      sending: sending.last,
      ...md5Of(digests),
    };
  });
}

async function putLarge(
  shell: Shell,
  site: Site,
  key: string,
  body: Body,
  metadata: ObjectMetadata,
  entry: Entry,
  condition: Condition,
  traits: string,
  signal: AbortSignal,
): Promise<Replica | Conflict> {
  const done = await uploadInParts(
    shell,
    {
      key,
      size: body.size,
      operation: entry.version.operation,
      condition,
      metadata: (digest) => withEntry(metadata, digest === undefined ? entry : { ...entry, digest }),
      read: async (range) => {
        const bytes = await body.read(range);
        return owned({ bytes, leaves: await leavesIn(bytes) });
      },
    },
    { site, partBytes: new Semaphore(shell.settings.partBytesInFlight) },
    signal,
  );
  if (done.kind === 'conflict') return done;
  return {
    version: entry.version,
    token: done.token,
    size: body.size,
    digest: done.digest,
    traits,
    ...md5Of(done.digests),
  };
}

/** Resolves when the key is durably deleted at `site`, and the ledger knows. */
export function removeAt(
  shell: Shell,
  site: Site,
  operation: Operation,
  signal: AbortSignal,
): Promise<Version> {
  const { key } = operation;
  return attempt(shell, site, operation, true, signal, async (version, held, asking) => {
    if (held?.token === undefined) asking();
    await writeTombstone(shell, site, key, version, signal);
    if (held?.token !== undefined) {
      asking();
      const removed = await site.store.remove(key, held.token, signal);
      if (removed.kind === 'conflict') return removed;
    }
    return { version, size: 0, ...removedFrom(held) };
  });
}

/** Calls `asking` right before the request that takes effect. */
type Once = (version: Version, held: Replica | undefined, asking: () => void) => Promise<Replica | Conflict>;

/** Writes on top of what the site holds; when that is not what the ledger says, looks and does it again. */
async function attempt(
  shell: Shell,
  site: Site,
  operation: Operation,
  deleted: boolean,
  signal: AbortSignal,
  once: Once,
): Promise<Version> {
  const { id, key, madeMs, sent, burial } = operation;
  await demandProof(shell, site.id, signal);
  if (!(await shell.records.get(key))) await recallKey(shell, key, [site], signal);
  for (let round = 0; round < shell.settings.rounds; round++) {
    const record = await shell.records.read(key);
    const held = record.replicas[site.id];
    if (held?.version.operation === id) return confirm(shell, site, operation, held, held, signal);
    if (!deleted || !held?.version.deleted) demandUndone(operation, record);
    if (operation.taken) throw new StoreFailure('unavailable', `another site has taken the write of ${key}`);
    if (held && !held.version.deleted) await burial?.keep(site, held);
    const version = covering(
      nextVersion(record, site.id, { nowMs: madeMs, operation: id, deleted }),
      burial?.covering,
    );
    const asking = () => void sent.set(site.id, version);
    const replica = await distrusting(shell, site, key, id, () => once(version, held, asking), signal).catch(
      (failure: unknown) => {
        if (!(failure instanceof StoreFailure)) throw failure;
        // An upload that is gone may have been completed, and only the answer was lost: the site itself knows.
        if (failure.remedy === 'decide-again') return { kind: 'conflict', resent: true } as const;
        if (failure.code !== 'unavailable' || failure.unsent) sent.delete(site.id);
        throw failure;
      },
    );
    if (!('kind' in replica)) return confirm(shell, site, operation, replica, held, signal);
    if (!replica.resent) sent.delete(site.id);
    await lookAgain(shell, site.id, key, signal);
  }
  throw new StoreFailure(
    'unavailable',
    `${key} changes faster at ${site.id} than it can be written; try again`,
  );
}

/** What took effect somewhere, unanswered, and was written over since must not be done once more on top of that. */
function demandUndone({ key, sent }: Operation, record: KeyRecord): void {
  const seen = Object.values(record.replicas).map(seenBy);
  for (const [site, { dot }] of sent) {
    if (!seen.some((vector) => covers(vector, dot))) continue;
    const what = `the write of ${key} may have taken effect at ${site} and been written over since`;
    throw new StoreFailure('unavailable', `${what}; look at what is there before you write it again`);
  }
}

function covering(version: Version, seen: Vector | undefined): Version {
  if (!seen) return version;
  const { site, count } = version.dot;
  const dot = { site, count: Math.max(count, (seen[site] ?? 0) + 1) };
  return { ...version, dot, past: join(version.past, seen) };
}

/** Where the record says something else of the site than `before`, that came after this write, and stands. */
async function confirm(
  shell: Shell,
  site: Site,
  operation: Operation,
  replica: Replica,
  before: Replica | undefined,
  signal: AbortSignal,
): Promise<Version> {
  const { id, key, sent } = operation;
  const known = await shell.records.update(key, (now) => {
    const there = now.replicas[site.id];
    const ours = there?.version.operation === id ? there : replica;
    if (ours !== there && !isStill(there, before) && !(there?.version.deleted && replica.version.deleted))
      return undefined;
    const elsewhere = [...sent].filter(([other]) => other !== site.id).map(([, version]) => version);
    // After a late answer those that have seen the dot mean this very write.
    const named = operation.taken ? ours : withOwnDot(now, site.id, ours);
    return withClaims(withReplica(now, site.id, seeingToo(now, site.id, named, elsewhere)), elsewhere);
  });
  operation.taken = true;
  await shell.damage.changed({ site: site.id, key, from: before, to: replica });
  const held = known.replicas[site.id];
  if (held?.version.operation === id) return held.version;
  const learned = await lookAgain(shell, site.id, key, signal).catch((error: Error) =>
    shell.events.failed?.({ site: site.id, key, error }),
  );
  // Under the dot by which it is known now: the one that it was sent with may have gone to another.
  const ours = Object.values(learned?.replicas ?? {}).find(({ version }) => version.operation === id);
  return ours?.version ?? replica.version;
}

function isStill(there: Replica | undefined, before: Replica | undefined): boolean {
  return there?.token === before?.token && there?.version.operation === before?.version.operation;
}

function conditionOn(held: Replica | undefined): Condition {
  return held?.token === undefined ? { kind: 'absent' } : { kind: 'match', token: held.token };
}
