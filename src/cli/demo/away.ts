import { mkdir, rename, rmdir } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SiteStatus } from '../../replicate/lag.ts';
import { countText, spanText } from '../text.ts';
import { createAt, deleteAt, editAt, putOne } from './changes.ts';
import { differencesAt } from './content.ts';
import { DemoFailure } from './failure.ts';
import { siteNames } from './places.ts';
import { differencesText } from './settle.ts';
import { type Stage, settled, statusOf, told, watched } from './stage.ts';

const puts = 6;
const folderChanges = 3;
const betweenPutsMs = 150;
/** Clocks of files and processes are not the same to the millisecond. */
const clockSlackMs = 500;

/** The folder is moved aside and an empty one stands in its place, as when a disk is unmounted. */
export async function siteAway(stage: Stage): Promise<void> {
  const { screen, places, content, signal } = stage;
  const folder = places.folderOf('azure');
  const elsewhere = `${folder}.unmounted`;
  await screen.step(3, 'azure goes away: an empty folder stands in its place, as when a disk is unmounted');
  const before = new Map(content);
  await rename(folder, elsewhere);
  await mkdir(folder);
  try {
    await writesGoOn(stage);
    const touched = await differencesAt(elsewhere, before, signal);
    if (touched.length > 0)
      throw new DemoFailure(`azure changed while it was away: ${differencesText(touched)}`);
  } finally {
    // Also after a failure or Ctrl-C: the person gets three whole sites to look at.
    await bringBack(folder, elsewhere);
  }
  await screen.line('   azure is back');
  const tookMs = await watched(stage, () => settled(stage, siteNames));
  await screen.claim(
    `azure caught up by itself: all three hold the same ${countText(content.size, 'file')} (${spanText(tookMs)})`,
  );
}

async function bringBack(folder: string, elsewhere: string): Promise<void> {
  await rmdir(folder).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== 'ENOTEMPTY' && cause.code !== 'EEXIST') throw cause;
    throw new DemoFailure(`something was written into ${folder} while azure was away; it is in ${elsewhere}`);
  });
  await rename(elsewhere, folder);
}

async function writesGoOn(stage: Stage): Promise<void> {
  let lagMs = 0;
  await watched(stage, async () => {
    await told(stage, 'azure is away', (statuses) => statusOf(statuses, 'azure')?.state === 'away');
    const first = await writeMeanwhile(stage);
    await settled(stage, ['aws', 'gcp'], sawAzureAway(Date.now()));
    lagMs = await honestLag(stage, first);
  });
  await stage.screen.claim(
    `${puts} puts and ${folderChanges} changes in the folders reached aws and gcp; azure's absence deleted nothing`,
  );
  await stage.screen.claim(
    `status knows that azure lacks these ${puts + folderChanges}, the oldest for ${spanText(lagMs)}`,
  );
}

interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

/** Answers with when the first of the writes was made. */
async function writeMeanwhile(stage: Stage): Promise<Span> {
  const { signal } = stage;
  const fromMs = Date.now();
  await putOne(stage, 'put-1.txt');
  const toMs = Date.now();
  for (let n = 2; n <= puts; n++) {
    await sleep(betweenPutsMs, undefined, { signal }).catch(() => signal.throwIfAborted());
    await putOne(stage, `put-${n}.txt`);
  }
  await editAt(stage, 'aws');
  await createAt(stage, 'gcp', 'made-at-gcp-meanwhile.txt');
  await deleteAt(stage, 'gcp');
  return { fromMs, toMs };
}

/** Scans that began after `sinceMs` were complete at aws and gcp while azure looked empty. */
function sawAzureAway(sinceMs: number) {
  const lacking = puts + folderChanges;
  return {
    words: `status must say that azure is away and lacks ${lacking} keys, and that aws and gcp were scanned since`,
    holds: (statuses: readonly SiteStatus[]) => {
      const azure = statusOf(statuses, 'azure');
      const scanned = (site: 'aws' | 'gcp') => (statusOf(statuses, site)?.scannedMs ?? 0) > sinceMs;
      return azure?.state === 'away' && azure.backlogKeys === lacking && scanned('aws') && scanned('gcp');
    },
  };
}

/** The lag that status tells for azure must be the age of the first write that azure lacks. */
async function honestLag({ replication }: Stage, first: Span): Promise<number> {
  const askedMs = Date.now();
  const lagMs = statusOf(await replication.dataset.status(), 'azure')?.lagMs ?? Number.NaN;
  const leastMs = askedMs - first.toMs - clockSlackMs;
  const mostMs = Date.now() - first.fromMs + clockSlackMs;
  if (lagMs >= leastMs && lagMs <= mostMs) return lagMs;
  throw new DemoFailure(
    `status says that azure lags by ${spanText(lagMs)}, but the first write that it lacks is ` +
      `${spanText(askedMs - first.toMs)} old`,
  );
}
