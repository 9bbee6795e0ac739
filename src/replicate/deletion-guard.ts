import { newestOf } from '../decide/resolve.ts';
import { conflictRules, deletesAllowed, type Policy, type RuleOf } from '../model/policy.ts';
import type { SiteId } from '../model/version.ts';
import type { World } from '../ports/world.ts';
import { guardId, type Records } from './records.ts';

/**
 * The limit on deletions for what is found between two complete scans: by notices, and by looking at a site while
 * something is copied. A scan counts for itself.
 */
export class DeletionGuard {
  readonly #records: Records;
  readonly #policy: Policy;
  readonly #ruleOf: RuleOf;
  readonly #world: World;
  readonly #counts = new Map<SiteId, number>();

  constructor(records: Records, policy: Policy, world: World) {
    this.#records = records;
    this.#policy = policy;
    this.#ruleOf = conflictRules(policy.conflicts);
    this.#world = world;
  }

  /** Whether the absence of `key` at `site` may be taken for a deletion; when not, the site is parked. */
  async allows(site: SiteId, key: string): Promise<boolean> {
    const record = await this.#records.read(key);
    const held = record.replicas[site];
    // Where the newest write is a deletion, absence is what everybody wants: our own removal, its answer lost.
    if (!held || held.version.deleted || newestOf(record, this.#ruleOf)?.replica.version.deleted) return true;
    const { knownKeys = 0, quarantinedMs } = await this.#records.siteState(site);
    // What is absent there is not deleted because of it.
    if (quarantinedMs !== undefined) return true;
    const allowed = deletesAllowed(this.#policy.guards.maxDeletes, knownKeys);
    const count = (this.#counts.get(site) ?? 0) + 1;
    if (count <= allowed) {
      this.#counts.set(site, count);
      return true;
    }
    await this.#park(site, allowed);
    return false;
  }

  /** Deletions taken since the last complete scan. */
  since(site: SiteId): number {
    return this.#counts.get(site) ?? 0;
  }

  /** After a complete scan the count begins anew. */
  scanned(site: SiteId): void {
    this.#counts.delete(site);
  }

  async #park(site: SiteId, allowed: number): Promise<void> {
    const id = guardId(site);
    if (await this.#records.parkedBy(id)) return;
    const detail = `more than ${allowed} keys were deleted at ${site} since its last complete scan; deletions are held back`;
    const sinceMs = this.#world.nowMs();
    const parked = { id, site, reason: 'max-deletes', detail, sinceMs, keys: 1, bytes: 0 } as const;
    await this.#records.commit([this.#records.park(parked)]);
    // Only a scan can count what is held back.
    await this.#records.updateSite(site, { scanWanted: true });
  }
}
