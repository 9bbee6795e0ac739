import type { ObjectMetadata } from '../model/metadata.ts';
import { nextStamp } from '../model/stamp.ts';
import {
  compareVersions,
  type Dot,
  derivedOperation,
  historyOf,
  join,
  type Version,
} from '../model/version.ts';

/**
 * When each part of a document was written, where that is not the version of the whole: JSON pointer to clock.
 * Plain data, at most `limits.clocks` entries. Whoever stores a merged body stores its clocks with its version, and
 * hands them in with the next merge; without them a merge is still deterministic, but depends on what met first.
 */
export type Clocks = Readonly<Record<string, string>>;

/** One of the writes that met. */
export interface Side {
  readonly version: Version;
  readonly body: Uint8Array;
  readonly metadata: ObjectMetadata;
  /** Of an earlier merge or of `clocksOf`; absent: everything was written by `version`. */
  readonly clocks?: Clocks;
}

export interface Merged {
  readonly kind: 'merged';
  readonly body: Uint8Array;
  readonly metadata: ObjectMetadata;
  /** To be kept with the merged version. */
  readonly clocks: Clocks;
  /**
   * JSON pointers whose value of the losing side is in neither the result nor its history; not empty: the engine
   * keeps the losing side's body. What starts with `metadata:` is not in the body: `metadata:/user/owner`.
   */
  readonly dropped: readonly string[];
  /** The same of the winning side: its greater version does not win where a path of it is older. */
  readonly droppedOfWinner: readonly string[];
}

/** The caller falls back to last-writer-wins with the loser kept. */
export interface NotMerged {
  readonly kind: 'not-merged';
  /** For a person. */
  readonly because: string;
}

/**
 * `winner` is the greater of the two by `compareVersions`; either order gives the same bytes.
 * `base`: the common ancestor, where it can be had.
 */
export type Merge = (winner: Side, loser: Side, base: Side | undefined) => Merged | NotMerged;

/** What a merge takes at most; what is larger is not merged. */
export const limits = {
  bodyBytes: 8 * 1024 * 1024,
  /** Of objects and arrays in each other. */
  depth: 200,
  clocks: 4096,
} as const;

export function sorted(a: Side, b: Side): readonly [winner: Side, loser: Side] {
  return compareVersions(a.version, b.version) >= 0 ? [a, b] : [b, a];
}

/** The version of what two versions were merged into; `dot` is the next one of the site that merges. */
export function mergedVersion(a: Version, b: Version, dot: Dot): Version {
  const [first, second] = [a, b].sort(compareVersions) as [Version, Version];
  return {
    stamp: nextStamp(second.stamp),
    dot,
    past: join(historyOf(a), historyOf(b)),
    operation: derivedOperation('merge', first.operation, second.operation),
    deleted: false,
  };
}
