import { StoreFailure } from '../model/failure.ts';
import { noMetadata } from '../model/metadata.ts';
import type { SiteId } from '../model/version.ts';
import { demandIntact, wholeOf } from './reading.ts';
import { type Shell, siteOf } from './shell.ts';

/** Proves that a site is the one it was: an unmounted folder lists empty, and a wrong bucket lists wrong. */
export const markerKey = '.isobar/site';

/**
 * Before anything is written for a user: what lands in the empty folder of a disk that is not mounted would seem
 * deleted when the disk is back. One proof holds until a later one fails.
 */
export async function demandProof(shell: Shell, site: SiteId, signal: AbortSignal): Promise<void> {
  if (!shell.proved.has(site)) await proveSite(shell, site, signal);
}

/**
 * Makes sure that `site` is the place the ledger knows. Writes the marker at the first contact.
 * Throws `misplaced` when the place has no marker although it had one, or another one.
 */
export async function proveSite(shell: Shell, site: SiteId, signal: AbortSignal): Promise<void> {
  try {
    await compareMarkers(shell, site, signal);
    shell.proved.add(site);
  } catch (failure) {
    if (failure instanceof StoreFailure && failure.code === 'misplaced') shell.proved.delete(site);
    throw failure;
  }
}

/** The same for those who only read: a place that was never seen before is taken as it is. */
export async function recogniseSite(shell: Shell, site: SiteId, signal: AbortSignal): Promise<void> {
  const known = (await shell.records.siteState(site)).marker;
  const found = await readMarker(shell, site, signal);
  if (known !== undefined) assertKnown(site, known, found);
}

async function compareMarkers(shell: Shell, site: SiteId, signal: AbortSignal): Promise<void> {
  const { records, world } = shell;
  const known = (await records.siteState(site)).marker;
  const read = await readMarker(shell, site, signal);
  const found = read ?? (known === undefined ? await writeMarker(shell, site, signal) : undefined);
  const marker = assertKnown(site, known, found);
  if (known !== undefined) return;
  // The site is older than the ledger: no key can have been written more often than once a millisecond since 1970.
  if (read !== undefined) await records.raiseFloor(world.nowMs());
  await records.updateSite(site, { marker });
}

function assertKnown(site: SiteId, known: string | undefined, found: string | undefined): string {
  if (found === undefined) {
    throw new StoreFailure(
      'misplaced',
      `site ${site} has lost its marker ${markerKey}: it was emptied, or another place is mounted there; ` +
        `nothing is deleted because of it. Bring the place back; a new and empty one that is to be filled gets a new site name in the configuration`,
    );
  }
  if (known !== undefined && known !== found) {
    throw new StoreFailure(
      'misplaced',
      `site ${site} is another place than before (its ${markerKey} is not the one in the ledger); correct its configuration`,
    );
  }
  return found;
}

async function readMarker(shell: Shell, site: SiteId, signal: AbortSignal): Promise<string | undefined> {
  const read = await siteOf(shell, site).store.read(markerKey, {}, signal);
  if (!read) return undefined;
  const whole = await wholeOf(read, markerKey);
  await demandIntact(whole, site, undefined);
  try {
    const { id } = JSON.parse(Buffer.from(whole.bytes).toString('utf8')) as { id?: unknown };
    return typeof id === 'string' ? id : undefined;
  } catch {
    throw new StoreFailure(
      'misplaced',
      `${markerKey} is not one that Isobar wrote; is this bucket used by something else?`,
    );
  }
}

async function writeMarker(shell: Shell, site: SiteId, signal: AbortSignal): Promise<string | undefined> {
  const id = shell.world.uniqueId();
  const body = Buffer.from(`${JSON.stringify({ id, madeMs: shell.world.nowMs() })}\n`);
  const metadata = { ...noMetadata, contentType: 'application/json' };
  const written = await siteOf(shell, site).store.write(
    { key: markerKey, body, metadata, condition: { kind: 'absent' } },
    signal,
  );
  return written.kind === 'written' ? id : readMarker(shell, site, signal);
}
