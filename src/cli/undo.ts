import { redact } from '../config/secret.ts';
import type { Dataset } from '../dataset.ts';
import type { SiteId } from '../model/version.ts';

export interface UndoOptions {
  readonly sinceMs: number;
  readonly prefix?: string;
  readonly dryRun: boolean;
  /** Called for every key that was changed since, but for creations, which are left. */
  readonly told: (step: UndoStep) => void;
}

export interface UndoStep {
  readonly dataset: string;
  readonly key: string;
  /** `restore`: it would be, with `dryRun`. `lost`: nobody holds what stood there before. */
  readonly outcome: 'restore' | 'restored' | 'failed' | 'lost';
  /** Of what comes back. */
  readonly bytes: number;
  /** Where it comes from; absent when it is lost. */
  readonly site?: SiteId;
  /** When it was put aside there: under which name. */
  readonly keptAs?: string;
  readonly error?: string;
}

/** With `dryRun`: what would be done. */
export interface UndoReport {
  readonly dataset: string;
  readonly dryRun: boolean;
  readonly sinceMs: number;
  readonly restoredKeys: number;
  readonly restoredBytes: number;
  readonly failedKeys: number;
  readonly lostKeys: number;
}

/** The engine's undo, as the command sees it. */
export async function undo(
  engine: Dataset,
  dataset: string,
  { told, ...options }: UndoOptions,
  signal: AbortSignal,
): Promise<UndoReport> {
  const { dryRun, sinceMs } = options;
  const sums = { restoredKeys: 0, restoredBytes: 0, failedKeys: 0, lostKeys: 0 };
  await engine.undo(
    options,
    ({ key, outcome, bytes, from, error }) => {
      if (outcome === 'failed') sums.failedKeys += 1;
      else if (outcome === 'lost') sums.lostKeys += 1;
      else {
        sums.restoredKeys += 1;
        sums.restoredBytes += bytes;
      }
      told({
        dataset,
        key,
        outcome,
        bytes,
        ...(from ? { site: from.site } : {}),
        ...(from?.keptAs === undefined ? {} : { keptAs: from.keptAs }),
        ...(error === undefined ? {} : { error: redact(error) }),
      });
    },
    signal,
  );
  return { dataset, dryRun, sinceMs, ...sums };
}
