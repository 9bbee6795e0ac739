import { discard, type FileCalls, unless } from './calls.ts';
import type { SiteFolder } from './site-folder.ts';

const orphanAgeNs = 600n * 1_000_000_000n;

/** The drafts of a process that is dead. */
export async function discardDraftsOf(site: SiteFolder, calls: FileCalls, ownerId: string): Promise<void> {
  for (const name of await draftNames(site, calls)) {
    if (ownerOf(name) === ownerId) await discard(calls, site.own('tmp', name));
  }
}

/** The drafts of processes that ended while they were still announcing themselves. */
export async function discardOrphans(site: SiteFolder, calls: FileCalls, ownerId: string): Promise<void> {
  const owners = new Set((await calls.names(site.own('owners'))).entries.map((name) => name.split('~')[0]));
  const now = await calls.lstat(site.own('owners', ownerId));
  for (const name of await draftNames(site, calls)) {
    if (owners.has(ownerOf(name))) continue;
    const stat = await unless(['ENOENT'], calls.lstat(site.own('tmp', name)));
    // By the disk's own clock: whoever announces itself just now is younger.
    const isOld = stat !== undefined && now.mtimeNs - stat.mtimeNs > orphanAgeNs;
    if (isOld) await discard(calls, site.own('tmp', name));
  }
}

/** Uploads that are being started or ended are folders among the drafts. */
async function draftNames(site: SiteFolder, calls: FileCalls): Promise<string[]> {
  const { entries } = await calls.names(site.own('tmp'));
  return entries.map((name) => name.replace(/\/$/, ''));
}

function ownerOf(draft: string): string {
  return draft.split('.')[0]!;
}
