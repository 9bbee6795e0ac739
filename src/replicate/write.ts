import { nextVersion } from '../decide/attribute.ts';
import { newestOf } from '../decide/resolve.ts';
import { leavesOf, sha256Hex } from '../model/digest.ts';
import { type Entry, traitsOf, withEntry } from '../model/entry.ts';
import { StoreFailure } from '../model/failure.ts';
import { keyHash } from '../model/key.ts';
import type { ObjectMetadata } from '../model/metadata.ts';
import { acksNeeded } from '../model/policy.ts';
import { type KeyRecord, md5Of, type Replica, withReplica } from '../model/record.ts';
import type { SiteId, Version } from '../model/version.ts';
import type { ByteRange, Condition } from '../ports/object-store.ts';
import { distrusting } from './damaged.ts';
import { writeTombstone } from './keepsakes.ts';
import { demandProof } from './marker.ts';
import { lookAgain } from './observe.ts';
import { wholeId } from './reading.ts';
import type { Replicator } from './replicator.ts';
import { Semaphore } from './semaphore.ts';
import { owned } from './shared-reads.ts';
import { type Shell, type Site, siteOf } from './shell.ts';
import { uploadInParts } from './upload.ts';

/** A body whose size is known and which can be read again from anywhere. */
export interface Body {
  readonly size: number;
  read(range: ByteRange): Promise<Uint8Array>;
}

export interface SiteOutcome {
  readonly site: SiteId;
  readonly outcome: 'durable' | 'failed' | 'unknown';
  readonly error?: string;
}

export interface WriteResult {
  readonly version: Version;
  readonly sites: readonly SiteOutcome[];
}

/** Fewer sites than the policy wants have it. The write may still take effect everywhere: it is not undone. */
export class WriteFailure extends Error {
  override readonly name = 'WriteFailure';
  readonly sites: readonly SiteOutcome[];

  constructor(message: string, sites: readonly SiteOutcome[], cause?: unknown) {
    super(message, cause === undefined ? {} : { cause });
    this.sites = sites;
  }
}

/** Writes a body by the dataset's write mode; resolves when it is durable at as many sites as the mode names. */
export async function put(
  shell: Shell,
  replicator: Replicator,
  key: string,
  body: Body,
  metadata: ObjectMetadata,
  signal: AbortSignal,
): Promise<WriteResult> {
  const operation = shell.world.uniqueId();
  const newest = newestOf(await shell.records.read(key));
  const small = body.size <= shell.settings.partSizeBytes;
  return write(shell, replicator, key, signal, {
    at: (site) => putAt(shell, site, key, body, metadata, operation, signal),
    preferred: newest?.sites ?? [],
    elsewhereWhenSilent: small,
  });
}

/** Deletes by the dataset's write mode. Undefined: no site holds the key. */
export async function remove(
  shell: Shell,
  replicator: Replicator,
  key: string,
  signal: AbortSignal,
): Promise<WriteResult | undefined> {
  const record = await recordOrLook(shell, key, signal);
  const newest = newestOf(record);
  if (!newest || newest.replica.version.deleted) return undefined;
  const operation = shell.world.uniqueId();
  return write(shell, replicator, key, signal, {
    at: (site) => removeAt(shell, site, key, operation, signal),
    preferred: newest.sites,
    elsewhereWhenSilent: true,
  });
}

interface Work {
  at(site: Site): Promise<Version>;
  /** Sites that hold what is to be written over: elsewhere the write would be concurrent with it. */
  readonly preferred: readonly SiteId[];
  /** For what is soon written: when a site falls silent, the next is tried without waiting for the first. */
  readonly elsewhereWhenSilent: boolean;
}

async function write(
  shell: Shell,
  replicator: Replicator,
  key: string,
  signal: AbortSignal,
  work: Work,
): Promise<WriteResult> {
  const outcomes: SiteOutcome[] = [];
  const unanswered = new Map<Site, Promise<Version>>();
  const durableAt = async (site: Site, answer: Promise<Version>): Promise<WriteResult | undefined> => {
    try {
      const version = await answer;
      unanswered.delete(site);
      for (const { id } of unanswered.keys())
        outcomes.push({ site: id, outcome: 'unknown', error: 'no answer yet' });
      outcomes.push({ site: site.id, outcome: 'durable' });
      await publish(shell, key, site.id, version);
      const needed = acksNeeded(shell.policy.write, shell.policy.sites.length);
      if (needed > 1) await spread(shell, replicator, key, site.id, needed, outcomes, signal);
      return { version, sites: outcomes };
    } catch (failure) {
      signal.throwIfAborted();
      if (!(failure instanceof StoreFailure) || failure.remedy === 'park') throw failure;
      const unknown = failure.code === 'unavailable';
      outcomes.push({ site: site.id, outcome: unknown ? 'unknown' : 'failed', error: failure.message });
      return undefined;
    }
  };
  for (const site of inOrder(shell, work.preferred)) {
    const answer = work.at(site);
    if (work.elsewhereWhenSilent && (await fallsSilent(site, answer))) {
      unanswered.set(site, answer);
      // It may still take effect: then the others must hear of it.
      answer.then((version) => publish(shell, key, site.id, version)).catch(() => {});
      continue;
    }
    const result = await durableAt(site, answer);
    if (result) return result;
  }
  for (const [site, answer] of [...unanswered]) {
    const result = await durableAt(site, answer);
    if (result) return result;
    unanswered.delete(site);
  }
  throw new WriteFailure(`no site took the write of ${key}: ${listOf(outcomes)}`, outcomes);
}

/** False when the answer, or a failure, came first. */
function fallsSilent({ breaker }: Site, answer: Promise<unknown>): Promise<boolean> {
  return new Promise((resolve) => {
    const withdraw = breaker.whenSilent(() => resolve(true));
    const answered = () => {
      withdraw();
      resolve(false);
    };
    answer.then(answered, answered);
  });
}

/** Healthy sites first, then silent ones; among equals those that `preferred` names, otherwise as configured. */
function inOrder(shell: Shell, preferred: readonly SiteId[]): Site[] {
  const rank = ({ id, breaker }: Site) =>
    (breaker.closed ? (breaker.silent ? 2 : 0) : 4) +
    (preferred.length > 0 && !preferred.includes(id) ? 1 : 0);
  return shell.policy.sites.map((id) => siteOf(shell, id)).sort((a, b) => rank(a) - rank(b));
}

/** Brings the write to the other sites until enough have it. */
async function spread(
  shell: Shell,
  replicator: Replicator,
  key: string,
  origin: SiteId,
  needed: number,
  outcomes: SiteOutcome[],
  signal: AbortSignal,
): Promise<void> {
  const others = shell.policy.sites.filter((site) => site !== origin);
  let acks = 1;
  await new Promise<void>((resolve) => {
    let open = others.length;
    const settle = (outcome: SiteOutcome) => {
      outcomes.push(outcome);
      if (outcome.outcome === 'durable') acks += 1;
      open -= 1;
      if (acks >= needed || open === 0) resolve();
    };
    for (const site of others) {
      replicator.carryNow(key, site, signal).then(
        () => settle({ site, outcome: 'durable' }),
        (error: Error) => settle({ site, outcome: 'failed', error: error.message }),
      );
    }
  });
  signal.throwIfAborted();
  if (acks >= needed) return;
  throw new WriteFailure(
    `${key} is durable at ${acks} of the ${needed} sites that write: sync needs (${listOf(outcomes)}); ` +
      'it is not undone and may still reach the others. Write it again when the sites are back',
    outcomes,
  );
}

function listOf(outcomes: readonly SiteOutcome[]): string {
  return outcomes
    .map(({ site, outcome, error }) => `${site}: ${outcome}${error ? ` (${error})` : ''}`)
    .join('; ');
}

async function publish(shell: Shell, key: string, site: SiteId, version: Version): Promise<void> {
  const { dataset } = shell.policy;
  await shell.bus.publish([
    { id: version.operation, dataset, key, site, atMs: shell.world.nowMs(), version },
  ]);
}

async function putAt(
  shell: Shell,
  site: Site,
  key: string,
  body: Body,
  metadata: ObjectMetadata,
  operation: string,
  signal: AbortSignal,
): Promise<Version> {
  const small =
    body.size <= shell.settings.partSizeBytes ? await body.read({ from: 0, to: body.size }) : undefined;
  const digest = small && sha256Hex(small);
  return attempt(shell, site, key, operation, signal, async (record) => {
    const version = nextVersion(record, site.id, { nowMs: shell.world.nowMs(), operation, deleted: false });
    const condition = conditionAt(record, site.id);
    const entry: Entry = { version, size: body.size, keyHash: keyHash(key), ...(digest ? { digest } : {}) };
    const traits = traitsOf(metadata);
    if (!small) return putLarge(shell, site, key, body, metadata, entry, condition, traits, signal);
    const complete = withEntry(metadata, entry);
    const written = await site.store.write(
      { key, body: small, metadata: complete, condition, sha256: digest! },
      signal,
    );
    if (written.kind === 'conflict') return undefined;
    const { token, digests } = written;
    const head = {
      key,
      size: body.size,
      token,
      lastModifiedMs: shell.world.nowMs(),
      digests,
      metadata: complete,
    };
    shell.reads.offer(wholeId(site.id, key, token), body.size, shell.policy.sites.length - 1, {
      head,
      bytes: small,
      digest,
    });
    return { version, token, size: body.size, digest: digest!, traits, ...md5Of(digests) };
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
): Promise<Replica | undefined> {
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
        return owned({ bytes, leaves: leavesOf(bytes) });
      },
    },
    { site, partBytes: new Semaphore(shell.settings.partBytesInFlight) },
    signal,
  );
  if (done.kind === 'conflict') return undefined;
  return {
    version: entry.version,
    token: done.token,
    size: body.size,
    digest: done.digest,
    traits,
    ...md5Of(done.digests),
  };
}

async function removeAt(
  shell: Shell,
  site: Site,
  key: string,
  operation: string,
  signal: AbortSignal,
): Promise<Version> {
  return attempt(shell, site, key, operation, signal, async (record) => {
    const version = nextVersion(record, site.id, { nowMs: shell.world.nowMs(), operation, deleted: true });
    await writeTombstone(shell, site, key, version, signal);
    const held = record.replicas[site.id];
    if (held?.token !== undefined) {
      const removed = await site.store.remove(key, held.token, signal);
      if (removed.kind === 'conflict') return undefined;
    }
    return { version, size: 0 };
  });
}

/** Writes on top of what the site holds; when that is not what the ledger says, looks and does it again. */
async function attempt(
  shell: Shell,
  site: Site,
  key: string,
  operation: string,
  signal: AbortSignal,
  once: (record: KeyRecord) => Promise<Replica | undefined>,
): Promise<Version> {
  await demandProof(shell, site.id, signal);
  for (let round = 0; round < shell.settings.rounds; round++) {
    const record = await shell.records.read(key);
    const held = record.replicas[site.id];
    if (held?.version.operation === operation) return held.version;
    const replica = await distrusting(shell, site, key, operation, () => once(record), signal).catch(
      (failure: unknown) => {
        // An upload that is gone may have been completed, and only the answer was lost: the site itself knows.
        if (failure instanceof StoreFailure && failure.remedy === 'decide-again') return undefined;
        throw failure;
      },
    );
    if (replica) {
      await shell.records.update(key, (now) => withReplica(now, site.id, replica));
      return replica.version;
    }
    await lookAgain(shell, site.id, key, signal);
  }
  throw new StoreFailure(
    'unavailable',
    `${key} changes faster at ${site.id} than it can be written; try again`,
  );
}

function conditionAt(record: KeyRecord, site: SiteId): Condition {
  const token = record.replicas[site]?.token;
  return token === undefined ? { kind: 'absent' } : { kind: 'match', token };
}

/** What is known of the key; where nothing is, every site that answers is asked. */
export async function recordOrLook(shell: Shell, key: string, signal: AbortSignal): Promise<KeyRecord> {
  const known = await shell.records.get(key);
  if (known) return known;
  await Promise.all(
    shell.policy.sites.map((site) =>
      lookAgain(shell, site, key, signal).catch((error: unknown) => {
        signal.throwIfAborted();
        if (!(error instanceof StoreFailure)) throw error;
      }),
    ),
  );
  return shell.records.read(key);
}
