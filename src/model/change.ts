import type { SiteId, Version } from './version.ts';

/** "This key has this version at this site." On the bus; a reason to look, never the truth itself. */
export interface Change {
  /** Idempotency key: the same for every publication of the same happening. */
  readonly id: string;
  readonly dataset: string;
  readonly key: string;
  /** Where it happened. */
  readonly site: SiteId;
  /** When it happened as far as anybody knows; for lag. Milliseconds since 1970. */
  readonly atMs: number;
  /** Present when Isobar wrote it; absent for a notice of a native write, which must be looked at. */
  readonly version?: Version;
}
