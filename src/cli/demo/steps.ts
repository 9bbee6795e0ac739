import { bytesText, countText, grouped, printable, spanText } from '../text.ts';
import { createAt, deleteAt, editAt } from './changes.ts';
import { bytesIn, differencesAt } from './content.ts';
import { DemoFailure } from './failure.ts';
import { siteNames } from './places.ts';
import { differencesText } from './settle.ts';
import { type Stage, settled, watched } from './stage.ts';

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
  await screen.step(2, 'Changes straight in the folders: at each site an edit, a new file, a deletion');
  const tookMs = await watched(stage, async () => {
    for (const site of siteNames) {
      await editAt(stage, site);
      await createAt(stage, site, `made-at-${site}.txt`);
      await deleteAt(stage, site);
    }
    await settled(stage, siteNames);
  });
  await screen.claim(
    `all 9 reached every site: the same ${countText(content.size, 'file')} (${spanText(tookMs)})`,
  );
}

const verifyMs = 20_000;

export async function deepVerification(stage: Stage): Promise<void> {
  const { screen, content } = stage;
  await screen.step(4, 'Deep verification: Isobar reads every body at every site and compares');
  const begunMs = performance.now();
  const bytes = siteNames.length * bytesIn(content);
  await verifyDeep(stage, bytes);
  await readOnceMore(stage);
  await screen.claim(
    `${grouped(content.size)} keys at 3 sites, ${bytesText(bytes)}: no difference, also when the demo ` +
      `reads the files itself (${spanText(performance.now() - begunMs)})`,
  );
}

async function verifyDeep({ replication, content, signal }: Stage, bytes: number): Promise<void> {
  const found: string[] = [];
  const inTime = AbortSignal.timeout(verifyMs);
  const verifying = replication.dataset.verify(
    { deep: true },
    ({ site, key, because }) => void found.push(`${site}: ${printable(key)}: ${because}`),
    AbortSignal.any([signal, inTime]),
  );
  const { keys, bytesRead, away } = await verifying.catch((failure: unknown) => {
    if (signal.aborted || !inTime.aborted) throw failure;
    throw new DemoFailure(`the verification did not end within ${spanText(verifyMs)}`);
  });
  const unread = Object.entries(away).map(([site, why]) => `${site} could not be read: ${why}`);
  const problems = [...unread, ...found];
  if (problems.length > 0) throw new DemoFailure(['the sites differ:', ...problems.slice(0, 5)].join('\n  '));
  if (keys === content.size && bytesRead === bytes) return;
  throw new DemoFailure(
    `the verification compared ${keys} keys and ${bytesRead} bytes, but the sites hold ${content.size} files ` +
      `and ${bytes} bytes`,
  );
}

/** Every byte, whatever was read before. */
async function readOnceMore({ places, content, signal }: Stage): Promise<void> {
  for (const site of siteNames) {
    const differences = await differencesAt(places.folderOf(site), content, signal);
    if (differences.length > 0) {
      throw new DemoFailure(
        `the verification saw no difference, but ${site} ${differencesText(differences)}`,
      );
    }
  }
}
