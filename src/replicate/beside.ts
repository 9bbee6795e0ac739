import { freshUntilMs } from '../decide/collect.ts';
import { type Entry, traitsOf } from '../model/entry.ts';
import { keyHash } from '../model/key.ts';
import { retentionOf } from '../model/policy.ts';
import { type KeyRecord, md5Of, type Replica, withReplica } from '../model/record.ts';
import { siblingKey, siblingVersion } from '../model/sibling.ts';
import { covers, type Version } from '../model/version.ts';
import { setAside } from './aside.ts';
import { keepLoser } from './keepsakes.ts';
import { lookAgain } from './observe.ts';
import type { Shell, Site } from './shell.ts';

/**
 * Gives what `site` holds a key of its own before something else is written over it: an object of the dataset like any
 * other, which replicates. Made once: what somebody deleted since stays deleted.
 */
export async function keepBeside(
  shell: Shell,
  site: Site,
  key: string,
  loser: Replica,
  winner: Version,
  signal: AbortSignal,
): Promise<void> {
  const sibling = siblingKey(key, loser.version);
  const version = siblingVersion(key, loser.version);
  if (isMade(await shell.records.read(sibling), version)) return;
  const entry = (_: unknown, digest?: string): Entry => ({
    version,
    size: loser.size,
    keyHash: keyHash(sibling),
    ...(digest === undefined ? {} : { digest }),
  });
  const untilMs = freshUntilMs(shell.world.nowMs(), retentionOf(shell.policy));
  const made = await setAside(shell, site, { key, held: loser, as: sibling, entry, untilMs }, signal);
  if (made.kind === 'aside') {
    const { token, digest, digests, metadata } = made;
    const traits = traitsOf(metadata);
    const replica = { version, token, size: loser.size, digest, traits, ...md5Of(digests) };
    await shell.records.update(sibling, (record) =>
      record.replicas[site.id] ? undefined : withReplica(record, site.id, replica),
    );
    shell.events.lost?.({ site: site.id, key, keptAs: sibling });
  } else if (!isMade(await lookAgain(shell, site.id, sibling, signal), version)) {
    const taken = `something else already stands under ${sibling}`;
    return keepLoser(shell, site, key, loser, winner, signal, taken);
  }
  await shell.bus.publish([
    {
      id: version.operation,
      dataset: shell.policy.dataset,
      key: sibling,
      site: site.id,
      atMs: shell.world.nowMs(),
      version,
    },
  ]);
}

/** It stands somewhere, or did, and whoever wrote over it or deleted it had seen it. */
function isMade({ replicas }: KeyRecord, version: Version): boolean {
  return Object.values(replicas).some(
    (one) =>
      one.version.operation === version.operation ||
      covers(one.version.past, version.dot) ||
      covers(one.seen ?? {}, version.dot),
  );
}
