import { newestOf } from '../decide/resolve.ts';
import type { SiteId } from '../model/version.ts';
import { type Shell, siteOf } from '../replicate/shell.ts';
import { join } from '../sources/scan/join.ts';

export interface Listed {
  readonly key: string;
  readonly size: number;
  readonly lastModifiedMs: number;
  /** Where it was listed. */
  readonly sites: readonly SiteId[];
}

/**
 * Keys in order, as all readable ones of `sites` and the ledger have them together; of one site `alone`, as that
 * lists them. Throws when no site can be listed.
 */
export async function* list(
  shell: Shell,
  sites: readonly SiteId[],
  options: { readonly prefix: string; readonly alone: boolean },
  signal: AbortSignal,
): AsyncGenerator<readonly Listed[]> {
  const { prefix, alone } = options;
  const failures: unknown[] = [];
  const rows = join({
    listings: new Map(sites.map((site) => [site, siteOf(shell, site).store.list({ prefix }, signal)])),
    records: alone ? nothing() : shell.records.scan({ prefix }),
    failed: (_, error) => failures.push(error),
  });
  for await (const batch of rows) {
    if (failures.length === sites.length) throw failures[0];
    yield batch.flatMap((row) => {
      const newest = row.record && newestOf(row.record, shell.ruleOf)?.replica;
      const entries = Object.entries(row.entries);
      if (newest?.version.deleted || (entries.length === 0 && !newest)) return [];
      const [, entry] = entries[0] ?? [];
      const lastModifiedMs = Math.max(0, ...entries.map(([, one]) => one.lastModifiedMs));
      const size = newest?.size ?? entry!.size;
      return [{ key: row.key, size, lastModifiedMs, sites: entries.map(([site]) => site) }];
    });
  }
  if (failures.length === sites.length) throw failures[0];
}

async function* nothing(): AsyncGenerator<never> {}
