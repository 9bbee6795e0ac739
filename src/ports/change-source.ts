import type { Change } from '../model/change.ts';

/**
 * Tells that something may have happened at a site. Notices may be late, doubled, reordered, forged or missing:
 * the engine looks at the site before it believes anything.
 */
export interface ChangeSource {
  /**
   * Runs until `signal` aborts. `accept` resolves when the changes are durable on the bus; only then does the
   * source acknowledge them to whoever sent them. When `accept` rejects, the sender must send again.
   */
  watch(accept: (changes: readonly Change[]) => Promise<void>, signal: AbortSignal): Promise<void>;
}
