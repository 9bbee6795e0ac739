import { freshUntilMs } from '../decide/collect.ts';
import type { CopyDecision, RemoveDecision } from '../decide/decide.ts';
import { leavesIn } from '../hashing/leaves.ts';
import { type Entry, entryOn, traitsOf, withEntry, withoutEntry } from '../model/entry.ts';
import { StoreFailure } from '../model/failure.ts';
import { keyHash } from '../model/key.ts';
import type { ObjectMetadata } from '../model/metadata.ts';
import { retentionOf } from '../model/policy.ts';
import { md5Of, type Replica } from '../model/record.ts';
import { relate, type SiteId } from '../model/version.ts';
import type { Conflict, ObjectHead } from '../ports/object-store.ts';
import { keepBeside } from './beside.ts';
import type { Sampled } from './damage-guard.ts';
import { distrusting } from './damaged.ts';
import { keepFormer } from './former.ts';
import { keepLoser, writeTombstone } from './keepsakes.ts';
import { demandProof } from './marker.ts';
import { learn } from './observe.ts';
import { bytesInto, changed, demandIntact, readWhole, wholeId } from './reading.ts';
import type { Semaphore } from './semaphore.ts';
import { Sending } from './sending.ts';
import type { Lease } from './shared-reads.ts';
import { type Shell, type Site, siteOf } from './shell.ts';
import { type LargeBody, type Part, uploadInParts } from './upload.ts';

/** Where a copy goes. */
export interface Target {
  readonly site: Site;
  /** Bytes of bodies and parts under way to this target. */
  readonly partBytes: Semaphore;
}

/** What the target now holds, and what the source turned out to be. */
export interface Proof {
  readonly kind: 'proof';
  readonly target: Replica;
  readonly source?: { readonly site: SiteId; readonly replica: Replica };
  readonly outcome: 'copied' | 'noted' | 'removed' | 'merged';
}

/** Carries a decision out: one conditional request is what takes effect. */
export async function copy(
  shell: Shell,
  key: string,
  decision: CopyDecision | RemoveDecision,
  target: Target,
  signal: AbortSignal,
): Promise<Proof | Conflict> {
  await demandProof(shell, target.site.id, signal);
  await keep(shell, key, decision, target.site, signal);
  return decision.kind === 'remove'
    ? remove(shell, key, decision, target, signal)
    : copyBody(shell, key, { ...decision, untilMs: freshUntil(shell) }, target, signal);
}

/** Until when what is decided now may take effect. */
function freshUntil({ world, policy }: Shell): number {
  return freshUntilMs(world.nowMs(), retentionOf(policy));
}

async function keep(
  shell: Shell,
  key: string,
  { loser, beside, because, newest }: CopyDecision | RemoveDecision,
  site: Site,
  signal: AbortSignal,
): Promise<void> {
  if (!loser) return keepFormer(shell, site, key, newest, signal);
  if (beside) await keepBeside(shell, site, key, loser, newest.version, signal);
  else await keepLoser(shell, site, key, loser, newest.version, signal, because);
}

async function remove(
  shell: Shell,
  key: string,
  decision: RemoveDecision,
  { site }: Target,
  signal: AbortSignal,
): Promise<Proof | Conflict> {
  await writeTombstone(shell, site, key, decision.newest.version, signal);
  const removed = await site.store.remove(key, decision.token, signal);
  if (removed.kind === 'conflict') return removed;
  return { kind: 'proof', outcome: 'removed', target: { version: decision.newest.version, size: 0 } };
}

type TimedCopy = CopyDecision & { readonly untilMs: number };

async function copyBody(
  shell: Shell,
  key: string,
  decision: TimedCopy,
  target: Target,
  signal: AbortSignal,
): Promise<Proof | Conflict> {
  const sources = sourcesOf(shell, decision.from, target.site.id);
  for (const [index, source] of sources.entries()) {
    try {
      return await copyFrom(shell, key, decision, source, target, signal);
    } catch (failure) {
      const isDamaged = failure instanceof StoreFailure && failure.code === 'corrupt';
      if (!isDamaged || index === sources.length - 1) throw failure;
      shell.events.failed?.({ site: source.id, key, error: failure });
    }
  }
  throw new StoreFailure('unavailable', 'no site that holds the newest version can be read');
}

async function copyFrom(
  shell: Shell,
  key: string,
  decision: TimedCopy,
  source: Site,
  target: Target,
  signal: AbortSignal,
): Promise<Proof | Conflict> {
  const held = { ...decision.newest, ...(await shell.records.read(key)).replicas[source.id] };
  if (!held.token || relate(held.version, decision.newest.version) !== 'same') throw changed(source, key);
  const small = held.size <= shell.settings.partSizeBytes;
  return small
    ? copySmall(shell, key, held, decision, source, target, signal)
    : copyLarge(shell, key, held, decision, source, target, signal);
}

async function copySmall(
  shell: Shell,
  key: string,
  held: Replica,
  decision: TimedCopy,
  source: Site,
  target: Target,
  signal: AbortSignal,
): Promise<Proof | Conflict> {
  // Many bodies of nearly a part's size would be more than the parts of large ones may take together.
  const release = await target.partBytes.acquire(held.size, signal);
  try {
    return await copyWhole(shell, key, held, decision, source, target, signal);
  } finally {
    release();
  }
}

async function copyWhole(
  shell: Shell,
  key: string,
  held: Replica,
  decision: TimedCopy,
  source: Site,
  target: Target,
  signal: AbortSignal,
): Promise<Proof | Conflict> {
  const readers = shell.policy.sites.length - 1;
  const { pool } = shell;
  const lease = await shell.reads.get(
    wholeId(source.id, key, held.token!),
    held.size,
    readers,
    () => readWhole(source.store, key, held.token!, signal, { pool, size: held.size }),
    ({ lent }) => pool.give(lent),
  );
  const whole = lease.value;
  await demandIntact(whole, source.id, held.digest);
  await settleUnread(shell, source.id, key, held, whole.head, signal);
  const sampled = await shell.damage.sample(key, held, target.site.id, whole.bytes);
  const entry = entryFor(key, held, whole.head, source.id, whole.digest);
  const { metadata } = whole.head;
  const { condition, untilMs } = decision;
  const body = { key, body: whole.bytes, condition, untilMs, sha256: whole.digest };
  const sending = new Sending(
    shell.world,
    target.site.id,
    { ...body, metadata: withoutEntry(metadata) },
    entry,
  );
  const written = await distrusting(
    shell,
    target.site,
    key,
    held.version.operation,
    () => target.site.store.write(sending.request(), signal),
    signal,
  );
  lease.release();
  if (written.kind === 'conflict') return written;
  return proofOf(held, whole.head, source.id, whole.digest, { ...written, sending: sending.last }, sampled);
}

async function copyLarge(
  shell: Shell,
  key: string,
  held: Replica,
  decision: TimedCopy,
  source: Site,
  target: Target,
  signal: AbortSignal,
): Promise<Proof | Conflict> {
  const head = await source.store.head(key, signal);
  if (!head || !source.store.sameWrite(held.token!, head.token)) throw changed(source, key);
  await settleUnread(shell, source.id, key, held, head, signal);
  const entry = entryFor(key, held, head, source.id, held.digest);
  let sampled: Sampled = {};
  const body: LargeBody = {
    key,
    size: held.size,
    operation: held.version.operation,
    condition: decision.condition,
    untilMs: decision.untilMs,
    metadata: (digest) =>
      withEntry(withoutEntry(head.metadata), digest === undefined ? entry : { ...entry, digest }),
    ...(held.digest === undefined ? {} : { digest: held.digest }),
    read: async (range) => {
      const part = await sharedPart(shell, source, key, held.token!, range, signal);
      if (range.from === 0) sampled = await shell.damage.sample(key, held, target.site.id, part.value.bytes);
      return part;
    },
  };
  const uploaded = await distrusting(
    shell,
    target.site,
    key,
    body.operation,
    () => uploadInParts(shell, body, target, signal),
    signal,
  );
  if (uploaded.kind === 'conflict') return uploaded;
  return proofOf(held, head, source.id, uploaded.digest, uploaded, sampled);
}

/** One read of a part serves every target that asks for it soon enough. */
function sharedPart(
  shell: Shell,
  source: Site,
  key: string,
  token: string,
  range: { from: number; to: number },
  signal: AbortSignal,
): Promise<Lease<Part>> {
  const { policy, pool, reads } = shell;
  const id = `${source.id}\0${key}\0${token}\0${range.from}-${range.to}`;
  const size = range.to - range.from;
  const load = async (): Promise<Part> => {
    const read = await source.store.read(key, { token, range }, signal);
    if (!read) throw changed(source, key);
    const { bytes, lent } = await bytesInto(read, { pool, size });
    if (bytes.length !== size) throw changed(source, key);
    return { bytes, leaves: await leavesIn(bytes), lent };
  };
  return reads.get(id, size, policy.sites.length - 1, load, ({ lent }) => pool.give(lent));
}

/** Sites that hold the version: the nearest first, those that are away last. A body may have rotted at one of them. */
export function sourcesOf(shell: Shell, from: readonly SiteId[], target: SiteId): Site[] {
  const holders = shell.policy.sites.filter((site) => site !== target && from.includes(site));
  const rank = (site: Site) => (site.breaker.closed ? 0 : 1);
  return holders.map((site) => siteOf(shell, site)).sort((a, b) => rank(a) - rank(b));
}

/** What a listing told was taken for a native write; the object itself may say otherwise. */
async function settleUnread(
  shell: Shell,
  site: SiteId,
  key: string,
  held: Replica,
  head: ObjectHead,
  signal: AbortSignal,
): Promise<void> {
  if (!held.unread || !entryOn(key, head.metadata)) return;
  const sighting = { kind: 'present', entry: head, before: held } as const;
  const record = await learn(shell, site, key, sighting, signal);
  const now = record.replicas[site];
  if (!now || relate(now.version, held.version) !== 'same') throw changed(siteOf(shell, site), key);
}

function entryFor(
  key: string,
  held: Replica,
  head: ObjectHead,
  source: SiteId,
  digest: string | undefined,
): Entry {
  const carried = entryOn(key, head.metadata);
  const origin =
    carried && relate(carried.version, held.version) === 'same'
      ? carried.origin
      : { site: source, token: head.token };
  return {
    version: held.version,
    size: held.size,
    keyHash: keyHash(key),
    ...(digest === undefined ? {} : { digest }),
    ...(origin ? { origin } : {}),
  };
}

function proofOf(
  held: Replica,
  head: ObjectHead,
  source: SiteId,
  digest: string,
  written: { token: string; digests: { md5?: string }; sending?: string },
  sampled: Sampled,
): Proof {
  const { unread: _, seen: __, ...known } = held;
  const content = { digest, traits: traitsOf(head.metadata as ObjectMetadata), ...sampled };
  return {
    kind: 'proof',
    outcome: 'copied',
    target: {
      version: held.version,
      token: written.token,
      size: held.size,
      ...md5Of(written.digests),
      ...(written.sending === undefined ? {} : { sending: written.sending }),
      ...content,
    },
    source: { site: source, replica: { ...known, ...md5Of(head.digests), ...content } },
  };
}
