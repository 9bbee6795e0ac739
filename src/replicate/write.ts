import { seenBy } from '../decide/attribute.ts';
import { newestOf } from '../decide/resolve.ts';
import { StoreFailure } from '../model/failure.ts';
import type { ObjectMetadata } from '../model/metadata.ts';
import { acksNeeded } from '../model/policy.ts';
import { type KeyRecord, sameContent } from '../model/record.ts';
import { covers, dotName, type SiteId, type Version } from '../model/version.ts';
import { type Body, type Burial, newOperation, type Operation, putAt, removeAt } from './attempt.ts';
import { lookAgain } from './observe.ts';
import type { Replicator } from './replicator.ts';
import { type Shell, type Site, siteOf } from './shell.ts';

export type { Body };

export interface SiteOutcome {
  readonly site: SiteId;
  /** `unknown`: it was asked, no answer came, and it may have taken effect. */
  readonly outcome: 'durable' | 'failed' | 'unknown';
  readonly error?: string;
}

export interface WriteResult {
  readonly version: Version;
  /** Each site that was asked, once. */
  readonly sites: readonly SiteOutcome[];
}

/** Fewer sites than the policy wants surely have it. It may still take effect everywhere: it is not undone. */
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
  burial?: Burial,
): Promise<WriteResult> {
  const operation = newOperation(shell, key, burial);
  const newest = newestOf(await shell.records.read(key), shell.ruleOf);
  return write(shell, replicator, operation, signal, {
    at: (site) => putAt(shell, site, operation, body, metadata, signal),
    preferred: newest?.sites ?? [],
    elsewhereWhenSilent: body.size <= shell.settings.partSizeBytes,
  });
}

/** Deletes by the dataset's write mode. Undefined: no site holds the key. */
export async function remove(
  shell: Shell,
  replicator: Replicator,
  key: string,
  signal: AbortSignal,
): Promise<WriteResult | undefined> {
  const newest = newestOf(await recordOrLook(shell, key, signal), shell.ruleOf);
  if (!newest || newest.replica.version.deleted) return undefined;
  const operation = newOperation(shell, key);
  return write(shell, replicator, operation, signal, {
    at: (site) => removeAt(shell, site, operation, signal),
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
  operation: Operation,
  signal: AbortSignal,
  work: Work,
): Promise<WriteResult> {
  const { key, sent } = operation;
  const outcomes = new Outcomes();
  const unanswered = new Map<Site, Promise<Version>>();
  const taken = async (site: Site, answer: Promise<Version>): Promise<Version | undefined> => {
    try {
      const version = await answer;
      outcomes.attempted({ site: site.id, outcome: 'durable' });
      await publish(shell, key, site.id, version);
      return version;
    } catch (failure) {
      signal.throwIfAborted();
      const error = failure as Error;
      const isStores = failure instanceof StoreFailure;
      const outcome = sent.has(site.id) ? 'unknown' : 'failed';
      outcomes.attempted({ site: site.id, outcome, error: error.message });
      if (isStores && failure.remedy !== 'park') return undefined;
      if (sent.size === 0 && !operation.taken) throw failure;
      throw brokenOff(key, outcomes.list, error);
    }
  };
  const enough = async (site: Site, version: Version): Promise<WriteResult> => {
    const needed = acksNeeded(shell.policy.write, shell.policy.sites.length);
    if (needed > 1) await spread(shell, replicator, key, site.id, version, needed, outcomes, signal);
    return { version, sites: outcomes.list };
  };
  for (const site of inOrder(shell, work.preferred)) {
    const answer = work.at(site);
    if (work.elsewhereWhenSilent && (await fallsSilent(site, answer))) {
      unanswered.set(site, answer);
      outcomes.attempted(unansweredAt(site.id));
      // It may still take effect: then the others must hear of it.
      answer.then((version) => publish(shell, key, site.id, version)).catch(() => {});
      continue;
    }
    const version = await taken(site, answer);
    if (version) return enough(site, version);
  }
  for (const [site, answer] of unanswered) {
    const version = await taken(site, answer);
    if (version) return enough(site, version);
  }
  throw new WriteFailure(`no site took the write of ${key}: ${listOf(outcomes.list)}`, outcomes.list);
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
  version: Version,
  needed: number,
  outcomes: Outcomes,
  signal: AbortSignal,
): Promise<void> {
  const others = shell.policy.sites.filter((site) => site !== origin);
  let acks = 1;
  await new Promise<void>((resolve) => {
    const open = new Set(others);
    const settle = (outcome: SiteOutcome) => {
      if (acks >= needed) return;
      open.delete(outcome.site);
      outcomes.carried(outcome);
      if (outcome.outcome === 'durable') acks += 1;
      if (acks < needed && open.size > 0) return;
      for (const site of open) outcomes.carried(unansweredAt(site));
      resolve();
    };
    for (const site of others) {
      void replicator
        .carryNow(key, site, signal)
        .then(async () => holding(await shell.records.read(key), site, origin, version))
        .catch((error: Error): SiteOutcome => {
          const refused = error instanceof StoreFailure && error.code !== 'unavailable';
          return { site, outcome: refused ? 'failed' : 'unknown', error: error.message };
        })
        .then(settle);
    }
  });
  if (acks >= needed) return;
  signal.throwIfAborted();
  throw new WriteFailure(
    `${key} is durable at ${acks} of the ${needed} sites that write: sync needs (${listOf(outcomes.list)}); ` +
      'it is not undone and may still reach the others. Write it again when the sites are back',
    outcomes.list,
  );
}

/** A site that was carried to holds the write, or what covers it; or a write made beside it has won there. */
function holding(record: KeyRecord, site: SiteId, origin: SiteId, version: Version): SiteOutcome {
  const held = record.replicas[site];
  const written = record.replicas[origin];
  const has =
    held &&
    (held.version.operation === version.operation ||
      // Two writes may have been given one dot at once; the other of the two is not this one.
      (covers(seenBy(held), version.dot) && dotName(held.version.dot) !== dotName(version.dot)) ||
      (written?.version.operation === version.operation && sameContent(held, written)));
  if (has) return { site, outcome: 'durable' };
  return { site, outcome: 'failed', error: 'a write that was made there beside it is later' };
}

/** What became of a write, each site once. */
class Outcomes {
  readonly #bySite = new Map<SiteId, SiteOutcome>();

  get list(): SiteOutcome[] {
    return [...this.#bySite.values()];
  }

  attempted(outcome: SiteOutcome): void {
    if (this.#bySite.get(outcome.site)?.outcome !== 'durable') this.#bySite.set(outcome.site, outcome);
  }

  /** That a copy failed does not tell what became of an attempt that was not answered; a confirmation does. */
  carried(outcome: SiteOutcome): void {
    const before = this.#bySite.get(outcome.site)?.outcome;
    if (before !== 'unknown' || outcome.outcome === 'durable') this.attempted(outcome);
  }
}

function unansweredAt(site: SiteId): SiteOutcome {
  return { site, outcome: 'unknown', error: 'no answer yet' };
}

/** The ledger or the bus failed, or a site refused for good, when another site had been asked, or has it. */
function brokenOff(key: string, sites: readonly SiteOutcome[], cause: Error): WriteFailure {
  return new WriteFailure(
    `${key} may have been written, and is not undone (${listOf(sites)}): ${cause.message}. ` +
      'Write it again when that is mended',
    sites,
    cause,
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
