import { collection, countsOf, type Retention } from '../decide/collect.ts';
import type { Row } from '../decide/compare.ts';
import { StoreFailure } from '../model/failure.ts';
import { retentionOf } from '../model/policy.ts';
import type { KeyRecord } from '../model/record.ts';
import { decodeTombstone, tombstoneKey } from '../model/tombstone.ts';
import { compareVersions } from '../model/version.ts';
import { proveSite } from '../replicate/marker.ts';
import { Semaphore } from '../replicate/semaphore.ts';
import { type Shell, type Site, siteOf } from '../replicate/shell.ts';

/** Keys that one pass marks, and as many that it collects: the others wait for the next one. */
const mostPerPass = 10_000;
const keysAtOnce = 32;

/** Deletions that every site has held for the whole retention are forgotten: tombstones first, the ledger last. */
export class Collector {
  readonly #shell: Shell;
  readonly #retention: Retention;
  readonly #marks: string[] = [];
  readonly #gone: string[] = [];

  constructor(shell: Shell, nowMs: number) {
    this.#shell = shell;
    this.#retention = { nowMs, retentionMs: retentionOf(shell.policy) };
  }

  consider({ key, record, entries }: Row): void {
    if (!record || Object.keys(entries).length > 0) return;
    const verdict = collection(record, this.#shell.policy.sites, this.#retention);
    const keys = verdict === 'mark' ? this.#marks : this.#gone;
    if (verdict !== 'keep' && keys.length < mostPerPass) keys.push(key);
  }

  /** Only after a pass that has listed every site completely. What fails is left to the next pass. */
  async finish(signal: AbortSignal): Promise<void> {
    const { policy, records } = this.#shell;
    await this.#each(this.#marks, signal, async (key) => {
      const { nowMs } = this.#retention;
      await records.update(key, (now) => (this.#is('mark', now) ? { ...now, goneMs: nowMs } : undefined));
    });
    if (this.#gone.length === 0) return;
    await Promise.all(policy.sites.map((site) => proveSite(this.#shell, site, signal)));
    await this.#each(this.#gone, signal, async (key) => {
      const record = await records.get(key);
      if (record && this.#is('collect', record)) await this.#collect(record, signal);
    });
  }

  #is(what: ReturnType<typeof collection>, record: KeyRecord): boolean {
    return collection(record, this.#shell.policy.sites, this.#retention) === what;
  }

  /** A crash anywhere leaves the record, and the next pass goes on. */
  async #collect(record: KeyRecord, signal: AbortSignal): Promise<void> {
    const { policy, records } = this.#shell;
    const sites = policy.sites.map((site) => siteOf(this.#shell, site));
    // A listing may be short by what the site holds all the same.
    const heads = await Promise.all(sites.map(({ store }) => store.head(record.key, signal)));
    if (heads.some((head) => head !== undefined)) return;
    await records.raiseFloor(countsOf(record));
    const removed = await Promise.all(sites.map((site) => removeTombstone(site, record, signal)));
    if (removed.every(Boolean)) await records.forget(record);
  }

  async #each(
    keys: readonly string[],
    signal: AbortSignal,
    work: (key: string) => Promise<void>,
  ): Promise<void> {
    const slots = new Semaphore(keysAtOnce);
    let failure: unknown;
    for (const key of keys) {
      const release = await slots.acquire(1, signal);
      if (failure) break;
      void work(key)
        .catch((error: unknown) => {
          failure ??= error;
        })
        .finally(release);
    }
    (await slots.acquire(keysAtOnce, signal))();
    if (failure) throw failure;
  }
}

/** False when a later deletion stands there. */
async function removeTombstone(
  { store }: Site,
  { key, replicas }: KeyRecord,
  signal: AbortSignal,
): Promise<boolean> {
  const name = tombstoneKey(key);
  const read = await store.read(name, {}, signal);
  if (!read) return true;
  const tombstone = decodeTombstone(name, await read.bytes());
  const latest = Object.values(replicas)[0]!.version;
  if (!tombstone || compareVersions(tombstone.version, latest) > 0) return false;
  return (await store.remove(name, read.head.token, signal)).kind === 'removed';
}

/** A pass that could not collect is none the worse for it. */
export async function collectAfter(shell: Shell, collector: Collector, signal: AbortSignal): Promise<void> {
  try {
    await collector.finish(signal);
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof StoreFailure)) throw error;
    shell.events.failed?.({ site: shell.policy.sites[0]!, error });
  }
}
