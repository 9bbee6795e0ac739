import { redact } from '../config/index.ts';
import type { SiteId } from '../model/version.ts';
import type { Events } from '../replicate/shell.ts';

interface SiteTally {
  copiedKeys: number;
  copiedBytes: number;
  removedKeys: number;
  adoptedKeys: number;
}

/** Counts what the engine tells of, for reports and progress. */
export class Tally {
  readonly sites = new Map<SiteId, SiteTally>();
  conflicts = 0;
  changed: () => void = () => {};

  of(site: SiteId): SiteTally {
    const known = this.sites.get(site);
    if (known) return known;
    const fresh = { copiedKeys: 0, copiedBytes: 0, removedKeys: 0, adoptedKeys: 0 };
    this.sites.set(site, fresh);
    return fresh;
  }

  sum(field: keyof SiteTally): number {
    let sum = 0;
    for (const tally of this.sites.values()) sum += tally[field];
    return sum;
  }

  events(): Events {
    return {
      copied: ({ site, bytes, outcome }) => {
        const tally = this.of(site);
        if (outcome === 'copied') tally.copiedKeys += 1;
        if (outcome === 'removed') tally.removedKeys += 1;
        if (outcome === 'merged') this.conflicts += 1;
        tally.copiedBytes += bytes;
        this.changed();
      },
      adopted: ({ site }) => {
        this.of(site).adoptedKeys += 1;
      },
      lost: () => {
        this.conflicts += 1;
      },
    };
  }

  failed(explain: (line: string) => void): NonNullable<Events['failed']> {
    return ({ site, key, error }) =>
      explain(redact(`${site}${key === undefined ? '' : ` ${key}`}: ${error.message}`));
  }
}
