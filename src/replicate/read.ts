import { newestOf } from '../decide/resolve.ts';
import { withoutEntry } from '../model/entry.ts';
import { StoreFailure } from '../model/failure.ts';
import type { ObjectMetadata } from '../model/metadata.ts';
import type { Replica } from '../model/record.ts';
import { relate, type SiteId, type Version } from '../model/version.ts';
import type { ObjectRead } from '../ports/object-store.ts';
import { lookAgain } from './observe.ts';
import { verified } from './reading.ts';
import { type Shell, siteOf } from './shell.ts';
import { recordOrLook } from './write.ts';

export interface Fetched {
  readonly key: string;
  readonly site: SiteId;
  readonly size: number;
  readonly version: Version;
  readonly lastModifiedMs: number;
  /** See digest.ts; absent while nobody has read the body. */
  readonly digest?: string;
  /** As its user set it. */
  readonly metadata: ObjectMetadata;
  readonly body: ObjectRead['body'];
  bytes(): Promise<Uint8Array>;
}

/**
 * The newest version that is known, from the nearest healthy site that holds it (or from `options.site`, whatever
 * it holds). Undefined when the key is absent.
 */
export async function get(
  shell: Shell,
  key: string,
  options: { readonly site?: SiteId },
  signal: AbortSignal,
): Promise<Fetched | undefined> {
  let lastError: unknown;
  for (let round = 0; round < shell.settings.rounds; round++) {
    const record = options.site
      ? await lookAgain(shell, options.site, key, signal)
      : await recordOrLook(shell, key, signal);
    const newest = options.site ? undefined : newestOf(record, shell.ruleOf);
    const wanted = options.site ? record.replicas[options.site] : newest?.replica;
    if (!wanted || wanted.version.deleted) return undefined;
    const holders = shell.policy.sites.filter((site) => {
      const replica = record.replicas[site];
      return replica && relate(replica.version, wanted.version) === 'same';
    });
    for (const site of readingOrder(shell, options.site ? [options.site] : holders)) {
      try {
        const token = record.replicas[site]!.token!;
        const read = await siteOf(shell, site).store.read(key, { token }, signal);
        if (read) return fetched(site, wanted, read);
        await lookAgain(shell, site, key, signal);
      } catch (failure) {
        signal.throwIfAborted();
        if (!(failure instanceof StoreFailure)) throw failure;
        lastError = failure;
        if (failure.remedy === 'decide-again') await lookAgain(shell, site, key, signal);
      }
    }
  }
  throw lastError ?? new StoreFailure('unavailable', `${key} changes faster than it can be read; try again`);
}

/** As the policy says: the configured order, or a random start among the holders; sites that are away come last. */
function readingOrder(shell: Shell, holders: readonly SiteId[]): SiteId[] {
  const start = shell.policy.reads === 'balanced' ? Math.floor(shell.world.random() * holders.length) : 0;
  const turned = [...holders.slice(start), ...holders.slice(0, start)];
  const rank = (site: SiteId) => (siteOf(shell, site).breaker.closed ? 0 : 1);
  return turned.sort((a, b) => rank(a) - rank(b));
}

function fetched(site: SiteId, { version, digest }: Replica, read: ObjectRead): Fetched {
  const { key, size, lastModifiedMs, metadata } = read.head;
  const body = verified(read, key, digest);
  const bytes = () => bytesOf(body);
  const known = digest === undefined ? {} : { digest };
  return {
    key,
    site,
    size,
    version,
    lastModifiedMs,
    ...known,
    metadata: withoutEntry(metadata),
    body,
    bytes,
  };
}

async function bytesOf(body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of body) pieces.push(piece);
  return Buffer.concat(pieces);
}
