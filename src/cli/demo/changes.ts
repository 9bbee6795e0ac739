import { appendFile, mkdir, readFile, unlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { noMetadata } from '../../model/metadata.ts';
import { bodyOf } from './content.ts';
import { DemoFailure } from './failure.ts';
import type { SiteName } from './places.ts';
import type { Stage } from './stage.ts';

/** Files that are edited or deleted by all steps together. */
export const sparesNeeded = 8;

/** Each of these writes as any other program would, and notes in the stage's content what must come of it. */

export async function editAt(stage: Stage, site: SiteName): Promise<void> {
  const key = nextSpare(stage);
  const path = join(stage.places.folderOf(site), key);
  const line = `\nA line that was added at ${site}.\n`;
  const before = await readFile(path);
  await appendFile(path, line);
  stage.content.set(key, bodyOf(Buffer.concat([before, Buffer.from(line)])));
}

export async function createAt(
  { places, content, ownFolder }: Stage,
  site: SiteName,
  name: string,
): Promise<void> {
  const key = `${ownFolder}/${name}`;
  const path = join(places.folderOf(site), key);
  const bytes = Buffer.from(`This file was made in the folder of ${site}.\n`);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, bytes, { flag: 'wx' });
  content.set(key, bodyOf(bytes));
}

export async function deleteAt(stage: Stage, site: SiteName): Promise<void> {
  const key = nextSpare(stage);
  await unlink(join(stage.places.folderOf(site), key));
  stage.content.delete(key);
}

/** A write through Isobar itself. */
export async function putOne(stage: Stage, name: string): Promise<void> {
  const { replication, content, ownFolder, signal } = stage;
  const key = `${ownFolder}/${name}`;
  const bytes = Buffer.from(`${name} was written through Isobar while azure was away.\n`);
  const read = async ({ from, to }: { from: number; to: number }) => bytes.subarray(from, to);
  const metadata = { ...noMetadata, contentType: 'text/plain' };
  await replication.dataset.put(key, { size: bytes.length, read }, metadata, signal);
  content.set(key, bodyOf(bytes));
}

function nextSpare({ spare }: Stage): string {
  const key = spare.shift();
  if (key === undefined)
    throw new DemoFailure('there are too few files to change; this is a defect of the demo');
  return key;
}
