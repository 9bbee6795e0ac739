import type { SiteStatus } from '../../replicate/lag.ts';
import type { Content, ReadBefore } from './content.ts';
import type { Places, SiteName } from './places.ts';
import type { Replication } from './replication.ts';
import type { Screen } from './screen.ts';
import { type Aim, settle } from './settle.ts';

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
  /** Files whose bytes were read already. */
  readonly before: ReadBefore;
  readonly signal: AbortSignal;
}

/** Runs `work` with the live rows on the screen; answers with the milliseconds it took. */
export async function watched({ screen, replication }: Stage, work: () => Promise<void>): Promise<number> {
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

/** Resolves when `sites` owe nothing and hold exactly the stage's content, read back; see `settle`. */
export function settled(stage: Stage, sites: readonly SiteName[], also?: Aim['also']): Promise<void> {
  const { places, replication, content, before, signal } = stage;
  const status = () => replication.dataset.status();
  return settle({ places, status, content, sites, before, ...(also ? { also } : {}) }, signal);
}

/** Resolves when `status` tells what is wanted, whatever the folders hold. */
export function told(
  stage: Stage,
  what: string,
  holds: (statuses: readonly SiteStatus[]) => boolean,
): Promise<void> {
  return settled(stage, [], { words: `status never said that ${what}`, holds });
}

export function statusOf(statuses: readonly SiteStatus[], site: SiteName): SiteStatus | undefined {
  return statuses.find((one) => one.site === site);
}
