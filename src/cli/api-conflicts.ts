import type { SiteId } from '../model/version.ts';
import type { GetResult, PutResult } from './api.ts';

/** What lost a conflict, and is kept until somebody releases it. Words as in api.ts. */
export interface KeptWrites {
  /** Of one key, or all. */
  list(key: string | undefined, signal: AbortSignal): AsyncIterable<KeptWrite>;
  /** The body that lost; undefined when nothing is kept under that id. */
  open(id: string, signal: AbortSignal): Promise<GetResult | undefined>;
  /** It becomes the current version again, and what it is written over is kept. Undefined: nothing has that id. */
  pick(id: string, signal: AbortSignal): Promise<PutResult | undefined>;
  /** Removes for good what is kept under these ids. */
  release(ids: readonly string[], signal: AbortSignal): Promise<ReleaseReport>;
}

export interface KeptWrite {
  readonly dataset: string;
  /** 12 hex digits. */
  readonly id: string;
  readonly key: string;
  readonly size: number;
  readonly stamp: string;
  /** The physical part of the stamp. */
  readonly atMs: number;
  /** When it was kept. */
  readonly sinceMs: number;
  /** Where its body is kept, under `keptAs`. */
  readonly sites: readonly SiteId[];
  readonly keptAs: string;
  /** The stamp of the write that won. */
  readonly lostTo: string;
  /** Why it lost, where the rule for the key is not reason enough. */
  readonly because?: string;
}

export interface ReleaseReport {
  readonly dataset: string;
  readonly released: readonly string[];
  /** Those that are not kept. */
  readonly unknown: readonly string[];
  /** What a site would not remove: it is still kept there. */
  readonly left: readonly { readonly id: string; readonly site: SiteId; readonly error: string }[];
}
