import { rm, statfs } from 'node:fs/promises';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bytesText, countText, spanText } from '../text.ts';
import { siteAway } from './away.ts';
import { sparesNeeded } from './changes.ts';
import { bytesIn, type Content } from './content.ts';
import { DemoFailure } from './failure.ts';
import { datasetName, makePlaces, type Places } from './places.ts';
import type { Screen } from './screen.ts';
import {
  filesOfFolder,
  filesOfProject,
  fillUp,
  freeFolderName,
  type Source,
  type SourceLimits,
  takeOver,
} from './source.ts';
import type { Stage } from './stage.ts';
import { deepVerification, firstCopy, nativeChanges } from './steps.ts';

const projectRoot = fileURLToPath(new URL('../../../', import.meta.url));
const most: SourceLimits = { files: 500, bytes: 256 * 1024 * 1024, copyMs: 2_500 };
const closeMs = 10_000;

export interface DemoRequest {
  /** Absolute; undefined: the project's own documents. */
  readonly folder: string | undefined;
  readonly screen: Screen;
  readonly signal: AbortSignal;
}

/** Runs the whole demo; throws `ArgumentFailure` before anything was done, `DemoFailure` when a claim was false. */
export async function runDemo({ folder, screen, signal }: DemoRequest): Promise<void> {
  const source =
    folder === undefined
      ? await filesOfProject(projectRoot, most)
      : await filesOfFolder(resolve(folder), most);
  const places = await makePlaces();
  let isFilled = false;
  try {
    const prepared = await prepare(source, places, signal);
    isFilled = true;
    await tellBeginning(screen, source, places, prepared);
    await play(places, screen, prepared, signal);
    await tellEnd(screen, places);
  } catch (failure) {
    if (!isFilled) await rm(places.root, { recursive: true, force: true });
    else await screen.line(`\nThe files stay in ${places.root}`);
    throw failure;
  }
}

interface Prepared {
  readonly content: Content;
  readonly ownFolder: string;
  readonly notes: number;
  readonly isPartial: boolean;
}

async function prepare(source: Source, places: Places, signal: AbortSignal): Promise<Prepared> {
  const aws = places.folderOf('aws');
  // Three copies, bodies that were replaced and are kept for a moment, and room to breathe.
  const { bavail, bsize } = await statfs(places.root);
  const limits = { ...most, bytes: Math.min(most.bytes, Math.floor((bavail * bsize) / 5)) };
  const { content, isPartial } = await takeOver(source, aws, limits, signal);
  const ownFolder = freeFolderName(content);
  const notes = await fillUp(content, aws, ownFolder, sparesNeeded + 1);
  return { content, ownFolder, notes, isPartial };
}

async function tellBeginning(
  screen: Screen,
  source: Source,
  places: Places,
  prepared: Prepared,
): Promise<void> {
  const { content, notes, isPartial } = prepared;
  const own = notes === 0 ? '' : `, ${notes} of them notes of the demo's own`;
  await screen.title(
    'Isobar keeps the same data in several clouds. Here three folders play aws, gcp and azure.',
  );
  await screen.line(
    `Files: ${countText(content.size, 'file')} (${bytesText(bytesIn(content))}${own}) of ${source.title}`,
  );
  if (isPartial) {
    await screen.line(
      `       not all of them: at most ${most.files} files, ${bytesText(most.bytes)}, and what is copied in ${spanText(most.copyMs)}`,
    );
  }
  await screen.line(`Sites: ${places.root}`);
}

async function play(places: Places, screen: Screen, prepared: Prepared, signal: AbortSignal): Promise<void> {
  const { content, ownFolder } = prepared;
  const spare = [...content.keys()].sort((a, b) => content.get(a)!.size - content.get(b)!.size);
  // Loaded late: a wrong argument is told at once.
  const { startReplication } = await import('./replication.ts');
  const replication = await startReplication(places);
  const stage: Stage = {
    places,
    screen,
    replication,
    content,
    spare,
    ownFolder,
    before: new Map(),
    signal: AbortSignal.any([signal, replication.broken]),
  };
  try {
    for (const step of [firstCopy, nativeChanges, siteAway, deepVerification]) await step(stage);
  } finally {
    await inTime(replication.close());
  }
}

async function inTime(closing: Promise<void>): Promise<void> {
  const late = Promise.withResolvers<never>();
  const message = `the replication did not stop within ${closeMs / 1000} s`;
  const timer = setTimeout(() => late.reject(new DemoFailure(message)), closeMs);
  await Promise.race([closing, late.promise]).finally(() => clearTimeout(timer));
}

async function tellEnd(screen: Screen, { root, configFile, folderOf }: Places): Promise<void> {
  const isobar = `npm run isobar -- --config ${quoted(configFile)}`;
  await screen.title('\nEvery claim was checked by reading the files. Look around, and try:');
  await screen.line(`   ${isobar} status ${datasetName}`);
  await screen.line(`   echo hello > ${quoted(`${folderOf('gcp')}/hello.txt`)}`);
  await screen.line(`   ${isobar} sync ${datasetName}`);
  await screen.line(`   ${isobar} explain ${datasetName} hello.txt`);
  await screen.line(`When you are done: rm -r ${quoted(root)}`);
}

function quoted(path: string): string {
  return /^[\w./:+-]+$/.test(path) ? path : `"${path}"`;
}
