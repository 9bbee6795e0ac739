import { setTimeout as sleep } from 'node:timers/promises';
import type { SiteStatus } from '../../replicate/lag.ts';
import { printable, spanText } from '../text.ts';
import { type Content, type Difference, differencesAt, type ReadBefore } from './content.ts';
import { DemoFailure } from './failure.ts';
import type { Places, SiteName } from './places.ts';

export interface Aim {
  readonly places: Places;
  readonly status: () => Promise<readonly SiteStatus[]>;
  /** What every one of `sites` must hold. */
  readonly content: Content;
  readonly sites: readonly SiteName[];
  /** What must be so besides; its words stand in the message when it never comes true. */
  readonly also?: { readonly words: string; readonly holds: (statuses: readonly SiteStatus[]) => boolean };
  readonly before: ReadBefore;
  readonly timeoutMs?: number;
}

const defaultTimeoutMs = 20_000;
const everyMs = 100;

/**
 * Resolves when every site of `aim` owes nothing and its files, read back from the disk, are exactly the content.
 * Throws `DemoFailure` with what is missing where when that takes too long.
 */
export async function settle(aim: Aim, signal: AbortSignal): Promise<void> {
  const timeoutMs = aim.timeoutMs ?? defaultTimeoutMs;
  const untilMs = performance.now() + timeoutMs;
  while (!(await isReached(aim, signal))) {
    if (performance.now() > untilMs) throw new DemoFailure(await complaint(aim, timeoutMs, signal));
    await sleep(everyMs, undefined, { signal }).catch(() => signal.throwIfAborted());
  }
}

async function isReached(aim: Aim, signal: AbortSignal): Promise<boolean> {
  const statuses = await aim.status();
  const wanted = statuses.filter(({ site }) => aim.sites.includes(site as SiteName));
  if (!wanted.every(isSettled) || aim.also?.holds(statuses) === false) return false;
  for (const site of aim.sites) {
    const differences = await differencesAt(aim.places.folderOf(site), aim.content, signal, aim.before);
    if (differences.length > 0) return false;
  }
  return true;
}

function isSettled({ state, backlogKeys, parked }: SiteStatus): boolean {
  return state === 'ok' && backlogKeys === 0 && parked === 0;
}

async function complaint(aim: Aim, timeoutMs: number, signal: AbortSignal): Promise<string> {
  const statuses = await aim.status();
  const lines = [`not done within ${spanText(timeoutMs)}:`];
  for (const site of aim.sites) {
    const differences = await differencesAt(aim.places.folderOf(site), aim.content, signal, aim.before);
    const status = statuses.find((one) => one.site === site);
    lines.push(`${site} ${differencesText(differences)}${status ? `; ${statusText(status)}` : ''}`);
  }
  if (aim.also?.holds(statuses) === false) lines.push(aim.also.words);
  return lines.join('\n  ');
}

const shownDifferences = 3;

export function differencesText(differences: readonly Difference[]): string {
  if (differences.length === 0) return 'holds what it must';
  const shown = differences.slice(0, shownDifferences).map(({ kind, key }) => `${kind} ${printable(key)}`);
  const more = differences.length - shown.length;
  return `${shown.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

function statusText({ state, backlogKeys, parked, lagMs, lastError }: SiteStatus): string {
  const lag = lagMs === undefined ? 'unknown' : spanText(lagMs);
  const error = lastError === undefined ? '' : `, last error: ${lastError}`;
  return `its state is ${state}, ${backlogKeys} to come, ${parked} parked, lag ${lag}${error}`;
}
