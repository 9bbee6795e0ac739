import { appendFile, mkdir, readFile, rename, rmdir, unlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { noMetadata } from '../../model/metadata.ts';
import type { SiteStatus } from '../../replicate/lag.ts';
import { bytesText, countText, grouped, printable, spanText } from '../text.ts';
import { bodyOf, bytesIn, type Content, differencesAt } from './content.ts';
import { DemoFailure } from './failure.ts';
import { type Places, type SiteName, siteNames } from './places.ts';
import type { Replication } from './replication.ts';
import type { Screen } from './screen.ts';
import { differencesText, settle } from './settle.ts';

/** What the steps share. */
export interface Stage {
  readonly places: Places;
  readonly screen: Screen;
  readonly replication: Replication;
  /** What every site must hold by now; each step that changes something says so here. */
  readonly content: Content;
  /** Files that the demo may edit and delete: the smallest first, so that an edit costs little. */
  readonly spare: string[];
  /** The folder, as part of the key, for files of the demo's own. */
  readonly ownFolder: string;
  readonly signal: AbortSignal;
}

/** So many files are edited or deleted in all. */
export const sparesNeeded = 9;

export async function firstCopy(stage: Stage): Promise<void> {
  const { screen, content } = stage;
  await screen.step(1, 'First copy: the files are in aws, gcp and azure are empty');
  const tookMs = await watched(stage, () => settled(stage, siteNames));
  await screen.claim(
    `all three sites hold the same ${countText(content.size, 'file')}, ${bytesText(bytesIn(content))}, ` +
      `read back and compared (${spanText(tookMs)})`,
  );
}

export async function nativeChanges(stage: Stage): Promise<void> {
  const { screen, content } = stage;
  await screen.step(2, 'Changes straight in the folders: at each site one edit, one new file, one deletion');
  const tookMs = await watched(stage, async () => {
    for (const site of siteNames) {
      await editAt(stage, site, nextSpare(stage));
      await createAt(stage, site, `${stage.ownFolder}/made-at-${site}.txt`);
      await deleteAt(stage, site, nextSpare(stage));
    }
    await settled(stage, siteNames);
  });
  await screen.claim(
    `all 9 are at every site: ${countText(content.size, 'file')} everywhere (${spanText(tookMs)})`,
  );
}

/** The folder is moved away and an empty one stands in its place, as when a disk is unmounted. */
export async function siteAway(stage: Stage): Promise<void> {
  const { screen, places, content } = stage;
  const folder = places.folderOf('azure');
  const elsewhere = `${folder}.unmounted`;
  await screen.step(3, 'azure goes away: an empty folder in its place, as when a disk is unmounted');
  await rename(folder, elsewhere);
  await mkdir(folder);
  try {
    await writesMeanwhile(stage, elsewhere);
  } finally {
    // Also after a failure or Ctrl-C: the person gets three whole sites to look at.
    await rmdir(folder);
    await rename(elsewhere, folder);
  }
  await screen.line('   azure is back');
  const tookMs = await watched(stage, () => settled(stage, siteNames));
  await screen.claim(
    `azure caught up by itself: all three hold the same ${countText(content.size, 'file')} (${spanText(tookMs)})`,
  );
}

async function writesMeanwhile(stage: Stage, elsewhere: string): Promise<void> {
  const { screen, content, signal } = stage;
  const before = new Map(content);
  let puts = 0;
  await watched(stage, async () => {
    await until(stage, 'azure is away', (statuses) => stateOf(statuses, 'azure') === 'away');
    puts = await putSome(stage, 6);
    await editAt(stage, 'aws', nextSpare(stage));
    await createAt(stage, 'gcp', `${stage.ownFolder}/made-at-gcp-meanwhile.txt`);
    await deleteAt(stage, 'gcp', nextSpare(stage));
    const sinceMs = Date.now();
    // Scans that began after all this have seen azure empty, and the others whole.
    await settled(stage, ['aws', 'gcp'], {
      words: 'aws and gcp were not scanned completely while azure was away',
      holds: (statuses) =>
        stateOf(statuses, 'azure') === 'away' &&
        (['aws', 'gcp'] as const).every((site) => (scannedMs(statuses, site) ?? 0) > sinceMs),
    });
  });
  const touched = await differencesAt(elsewhere, before, signal);
  if (touched.length > 0) {
    throw new DemoFailure(`azure was changed while it was away: it ${differencesText(touched)}`);
  }
  await screen.claim(
    `${puts} writes through Isobar and 3 in the folders went on, and are at aws and gcp; nothing was deleted there`,
  );
}

/** Writes through Isobar's own `put`, spread over a while. */
async function putSome(stage: Stage, count: number): Promise<number> {
  const { replication, content, ownFolder, signal } = stage;
  for (let n = 1; n <= count; n++) {
    const key = `${ownFolder}/put-${n}.txt`;
    const bytes = Buffer.from(`Write ${n} through Isobar while azure was away.\n`);
    const read = async ({ from, to }: { from: number; to: number }) => bytes.subarray(from, to);
    const metadata = { ...noMetadata, contentType: 'text/plain' };
    await replication.dataset.put(key, { size: bytes.length, read }, metadata, signal);
    content.set(key, bodyOf(bytes));
    await sleep(150, undefined, { signal }).catch(() => signal.throwIfAborted());
  }
  return count;
}

export async function deepVerification(stage: Stage): Promise<void> {
  const { screen, replication, content, signal } = stage;
  await screen.step(4, 'Deep verification: Isobar reads every body at every site and compares');
  const begunMs = performance.now();
  const found: string[] = [];
  const bounded = AbortSignal.any([signal, AbortSignal.timeout(20_000)]);
  const { keys, bytesRead, away } = await replication.dataset.verify(
    { deep: true },
    ({ site, key, because }) => void found.push(`${site}: ${printable(key)}: ${because}`),
    bounded,
  );
  const unread = Object.entries(away).map(([site, why]) => `${site} could not be read: ${why}`);
  const problems = [...unread, ...found];
  if (problems.length > 0) throw new DemoFailure(['the sites differ:', ...problems.slice(0, 5)].join('\n  '));
  if (keys !== content.size || bytesRead !== siteNames.length * bytesIn(content)) {
    throw new DemoFailure(
      `the verification compared ${keys} keys and ${bytesRead} bytes, but the sites hold ${content.size} files ` +
        `and ${siteNames.length * bytesIn(content)} bytes`,
    );
  }
  await screen.claim(
    `${grouped(keys)} keys at 3 sites, ${bytesText(bytesRead)} read: no difference ` +
      `(${spanText(performance.now() - begunMs)})`,
  );
}

/** Runs `work` with the live rows on the screen; answers with the milliseconds it took. */
async function watched({ screen, replication }: Stage, work: () => Promise<void>): Promise<number> {
  const { gauge, dataset } = replication;
  gauge.begin();
  const begunMs = performance.now();
  const live = screen.live(async (last) => gauge.rows(await dataset.status(), last));
  try {
    await work();
    return performance.now() - begunMs;
  } finally {
    await live.stop();
  }
}

function settled(
  { places, replication, content, signal }: Stage,
  sites: readonly SiteName[],
  also?: { readonly words: string; readonly holds: (statuses: readonly SiteStatus[]) => boolean },
): Promise<void> {
  const status = () => replication.dataset.status();
  return settle({ places, status, content, sites, ...(also ? { also } : {}) }, signal);
}

/** Waits for what `status` tells, whatever the folders hold. */
function until(
  stage: Stage,
  what: string,
  holds: (statuses: readonly SiteStatus[]) => boolean,
): Promise<void> {
  return settled(stage, [], { words: `status never said that ${what}`, holds });
}

function stateOf(statuses: readonly SiteStatus[], site: SiteName): SiteStatus['state'] | undefined {
  return statuses.find((one) => one.site === site)?.state;
}

function scannedMs(statuses: readonly SiteStatus[], site: SiteName): number | undefined {
  return statuses.find((one) => one.site === site)?.scannedMs;
}

function nextSpare({ spare }: Stage): string {
  const key = spare.shift();
  if (key === undefined)
    throw new DemoFailure('there are too few files to change; this is a defect of the demo');
  return key;
}

async function editAt({ places, content }: Stage, site: SiteName, key: string): Promise<void> {
  const path = join(places.folderOf(site), key);
  const line = `\nA line that was added at ${site}.\n`;
  const before = await readFile(path);
  await appendFile(path, line);
  content.set(key, bodyOf(Buffer.concat([before, Buffer.from(line)])));
}

async function createAt({ places, content }: Stage, site: SiteName, key: string): Promise<void> {
  const path = join(places.folderOf(site), key);
  const bytes = Buffer.from(`This file was made in the folder of ${site}.\n`);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, bytes, { flag: 'wx' });
  content.set(key, bodyOf(bytes));
}

async function deleteAt({ places, content }: Stage, site: SiteName, key: string): Promise<void> {
  await unlink(join(places.folderOf(site), key));
  content.delete(key);
}
