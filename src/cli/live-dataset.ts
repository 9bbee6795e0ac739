import { redact } from '../config/index.ts';
import type { Dataset as Engine } from '../dataset.ts';
import type { Replica } from '../model/record.ts';
import { millisOf } from '../model/stamp.ts';
import { relate, type SiteId, type Version } from '../model/version.ts';
import { keptForUndo } from '../replicate/former.ts';
import type { Fetched } from '../replicate/read.ts';
import { systemWorld } from '../system-world.ts';
import type * as api from './api.ts';
import type { KeptWrites } from './api-conflicts.ts';
import { LiveKept } from './live-conflicts.ts';
import { rebuildLedger } from './live-ledger.ts';
import { Tally } from './tally.ts';
import { printable, unprintable } from './text.ts';
import { undo } from './undo.ts';

/** A dataset as the commands see it. */
export class LiveDataset implements api.Dataset {
  readonly #engine: Engine;
  readonly #name: string;
  readonly #tally: Tally;
  readonly kept: KeptWrites;

  constructor(engine: Engine, name: string, tally: Tally) {
    this.#engine = engine;
    this.#name = name;
    this.#tally = tally;
    this.kept = new LiveKept(engine, (fetched) => this.#info(fetched), versionInfo);
  }

  async put(key: string, body: api.PutBody, metadata: Parameters<Engine['put']>[2], signal: AbortSignal) {
    const { version, sites } = await this.#engine.put(key, body, metadata, signal);
    return { dataset: this.#name, key, size: body.size, version: versionInfo(version), sites };
  }

  async get(key: string, options: { readonly site?: SiteId }, signal: AbortSignal) {
    const fetched = await this.#engine.get(key, options, signal);
    if (!fetched) return undefined;
    const because = options.site
      ? `read from ${fetched.site}, as asked`
      : `read from ${fetched.site}: the ${this.#engine.policy.reads === 'nearest' ? 'nearest' : 'chosen'} healthy site that holds the newest version`;
    return { info: this.#info(fetched), because, body: fetched.body };
  }

  async stat(key: string, options: { readonly site?: SiteId }, signal: AbortSignal) {
    const fetched = await this.#engine.get(key, options, signal);
    if (!fetched) return undefined;
    await fetched.body[Symbol.asyncIterator]().return?.();
    return this.#info(fetched);
  }

  async remove(key: string, signal: AbortSignal): Promise<api.RemoveResult> {
    const result = await this.#engine.remove(key, signal);
    const base = { dataset: this.#name, key };
    return result
      ? { ...base, removed: true, version: versionInfo(result.version), sites: result.sites }
      : { ...base, removed: false, sites: [] };
  }

  async *list(options: { readonly prefix?: string; readonly site?: SiteId }, signal: AbortSignal) {
    for await (const page of this.#engine.list(options, signal)) {
      for (const { key, size, lastModifiedMs, sites } of page) {
        yield { dataset: this.#name, key, size, modifiedMs: lastModifiedMs, site: sites[0] ?? '' };
      }
    }
  }

  async sync(options: api.SyncOptions, signal: AbortSignal): Promise<api.SyncReport> {
    const begunMs = systemWorld.nowMs();
    return options.dryRun ? this.#plan(options, begunMs, signal) : this.#sync(options, begunMs, signal);
  }

  async #sync(options: api.SyncOptions, begunMs: number, signal: AbortSignal): Promise<api.SyncReport> {
    const tally = this.#tally;
    tally.changed = () => {
      const keys = tally.sum('copiedKeys') + tally.sum('removedKeys');
      options.progress({ phase: 'copying', keys, bytes: tally.sum('copiedBytes') });
    };
    options.progress({ phase: 'listing', keys: 0, bytes: 0 });
    const result = await this.#engine.sync({ yes: options.yes }, signal);
    const parked = await this.#parkedBySite();
    const sites = this.#engine.policy.sites.map((site) => {
      const away = result.away[site];
      const error = away ?? result.owedBecause[site];
      return {
        site,
        reached: away === undefined,
        ...(error === undefined ? {} : { error: redact(error) }),
        ...tally.of(site),
        guardedKeys: result.sites[site]?.guarded ?? 0,
        parkedKeys: parked.get(site) ?? 0,
        owedKeys: result.owed[site] ?? 0,
      };
    });
    return this.#report(false, begunMs, sites, tally.conflicts);
  }

  async #plan(options: api.SyncOptions, begunMs: number, signal: AbortSignal): Promise<api.SyncReport> {
    const counts = new Tally();
    let conflicts = 0;
    const plan = await this.#engine.plan(
      ({ key, site, action, from, bytes, held }) => {
        if (action === 'keep-loser') {
          conflicts += 1;
          return;
        }
        const tally = counts.of(site);
        if (action === 'remove') tally.removedKeys += 1;
        else {
          tally.copiedKeys += 1;
          tally.copiedBytes += bytes;
        }
        const because = {
          copy: 'the site lacks it',
          overwrite: 'the site holds another version',
          remove: 'it was deleted elsewhere',
        };
        const step = {
          dataset: this.#name,
          key,
          site,
          bytes,
          because: because[action],
          ...(from ? { from } : {}),
          ...(held === undefined ? {} : { held }),
        };
        options.planned({ ...step, action: action === 'remove' ? 'remove' : 'copy' });
      },
      { yes: options.yes },
      signal,
    );
    const sites = this.#engine.policy.sites.map((site) => {
      const away = plan.away[site];
      return {
        site,
        reached: away === undefined,
        ...(away === undefined ? {} : { error: redact(away) }),
        ...counts.of(site),
        guardedKeys: plan.guarded[site] ?? 0,
        parkedKeys: 0,
        owedKeys: 0,
      };
    });
    return this.#report(true, begunMs, sites, conflicts);
  }

  #report(
    dryRun: boolean,
    begunMs: number,
    sites: readonly api.SiteSync[],
    conflicts: number,
  ): api.SyncReport {
    const sum = (field: 'copiedKeys' | 'copiedBytes' | 'removedKeys') =>
      sites.reduce((all, site) => all + site[field], 0);
    return {
      dataset: this.#name,
      dryRun,
      tookMs: systemWorld.nowMs() - begunMs,
      copiedKeys: sum('copiedKeys'),
      copiedBytes: sum('copiedBytes'),
      removedKeys: sum('removedKeys'),
      conflicts,
      sites,
    };
  }

  async verify(options: api.VerifyOptions, signal: AbortSignal): Promise<api.VerifyReport> {
    const begunMs = systemWorld.nowMs();
    const phase = options.deep ? 'comparing' : 'listing';
    const found: Parameters<Parameters<Engine['verify']>[1]>[0][] = [];
    const difference = (one: (typeof found)[number], repaired: boolean) =>
      options.difference({
        dataset: this.#name,
        key: one.key,
        site: one.site,
        kind: one.kind,
        detail: redact(one.because),
        repaired,
      });
    options.progress({ phase, keys: 0, bytes: 0 });
    const result = await this.#engine.verify(
      { deep: options.deep },
      (one) => {
        if (options.repair) found.push(one);
        else difference(one, false);
      },
      signal,
    );
    const repaired = options.repair ? await this.#repair(found, options, difference, signal) : 0;
    return {
      dataset: this.#name,
      deep: options.deep,
      tookMs: systemWorld.nowMs() - begunMs,
      comparedKeys: result.keys,
      missing: result.counts.missing,
      extra: result.counts.extra,
      differing: result.counts.differs,
      unreadable: result.counts.unreadable,
      repaired,
      sites: this.#engine.policy.sites.map((site) => {
        const away = result.away[site];
        return {
          site,
          reached: away === undefined,
          ...(away === undefined ? {} : { error: redact(away) }),
          ...(result.sites[site] ?? { keys: 0, bytes: 0 }),
        };
      }),
    };
  }

  /** Repairs, then verifies once more: repaired is what no longer shows. */
  async #repair<D extends { key: string; site: SiteId; rotten?: unknown }>(
    found: readonly D[],
    options: api.VerifyOptions,
    report: (difference: D, repaired: boolean) => void,
    signal: AbortSignal,
  ): Promise<number> {
    if (found.length === 0) return 0;
    for (const one of found) {
      if (one.rotten) await this.#engine.repair(one as unknown as Parameters<Engine['repair']>[0], signal);
    }
    await this.#engine.sync({}, signal);
    const left = new Set<string>();
    await this.#engine.verify(
      { deep: options.deep },
      ({ site, key }) => void left.add(`${site}\0${key}`),
      signal,
    );
    let repaired = 0;
    for (const one of found) {
      const gone = !left.has(`${one.site}\0${one.key}`);
      if (gone) repaired += 1;
      report(one, gone);
    }
    return repaired;
  }

  undo(options: api.UndoOptions, signal: AbortSignal): Promise<api.UndoReport> {
    return undo(this.#engine, this.#name, options, signal);
  }

  rebuild(options: { readonly dryRun: boolean }, signal: AbortSignal): Promise<api.RebuildReport> {
    return rebuildLedger(this.#engine, options, signal);
  }

  async status(): Promise<api.StatusReport> {
    const statuses = await this.#engine.status();
    let losers = 0;
    for await (const page of this.#engine.losers())
      losers += page.filter(({ because }) => because !== keptForUndo).length;
    const running = statuses.some(({ rate }) => rate !== undefined);
    return {
      dataset: this.#name,
      atMs: systemWorld.nowMs(),
      running,
      losers,
      sites: statuses.map((one) => ({
        site: one.site,
        state: one.state === 'ok' ? 'healthy' : one.state,
        backlogKeys: one.backlogKeys,
        backlogBytes: one.backlogBytes,
        parked: one.parked,
        ...(one.lagMs === undefined ? {} : { lagMs: one.lagMs }),
        ...(one.rate
          ? { bytesPerSecond: one.rate.bytesPerSecond, keysPerSecond: one.rate.keysPerSecond }
          : {}),
        ...(one.lastError === undefined ? {} : { lastError: redact(one.lastError) }),
        ...(one.lastErrorMs === undefined ? {} : { lastErrorMs: one.lastErrorMs }),
        ...(one.scannedMs === undefined ? {} : { asOfMs: one.scannedMs }),
      })),
    };
  }

  async explain(key: string, signal: AbortSignal): Promise<api.Explanation | undefined> {
    const explained = await this.#engine.explain(key, signal);
    const { record, newestAt, errors, debts, parked, losers } = explained;
    const known = Object.keys(record.replicas).length > 0;
    if (!known && Object.keys(errors).length === 0) return undefined;
    const newest = newestAt[0] === undefined ? undefined : record.replicas[newestAt[0]];
    const sites = this.#engine.policy.sites.map((site): api.SiteExplanation => {
      const debt = debts.find((one) => one.site === site);
      const held = parked.find((one) => one.site === site);
      return {
        site,
        ...stateAt(record.replicas[site], newest, errors[site]),
        ...(debt ? { pendingSinceMs: debt.sinceMs, attempts: debt.attempts, dueMs: debt.dueMs } : {}),
        ...(debt?.lastError ? { lastError: redact(debt.lastError) } : {}),
        ...(held ? { parkedId: printable(held.id), parkedBecause: redact(held.detail) } : {}),
      };
    });
    return {
      dataset: this.#name,
      key,
      ...(newest ? { newest: versionInfo(newest.version) } : {}),
      sites,
      losers: losers.map(({ site, keptAs, size, stamp, sinceMs }) => ({
        site,
        keptAs,
        size,
        stamp,
        sinceMs,
      })),
    };
  }

  async *parked(): AsyncGenerator<api.ParkedChange> {
    for await (const page of this.#engine.parked()) {
      for (const one of page) {
        const { id, site, reason, detail, sinceMs, keys, bytes } = one;
        const key = one.key === undefined ? {} : { key: one.key };
        yield {
          dataset: this.#name,
          id: printable(id),
          site,
          ...key,
          reason,
          detail: redact(detail),
          sinceMs,
          keys,
          bytes,
        };
      }
    }
  }

  async retryParked(ids: readonly string[] | undefined, signal: AbortSignal): Promise<api.ParkedAnswer> {
    const retry = (id: string) => this.#engine.retryParked(id, signal);
    if (ids) return this.#eachParked(ids, retry);
    const all = await this.#parkedIds();
    // One may settle others of its key.
    const { done, unknown } = await this.#eachParked(all, retry);
    return { dataset: this.#name, done: [...done, ...unknown], unknown: [] };
  }

  async dropParked(ids: readonly string[]): Promise<api.ParkedAnswer> {
    return this.#eachParked(ids, (id) => this.#engine.dropParked(id));
  }

  async #eachParked(
    ids: readonly string[],
    act: (id: string) => Promise<boolean>,
  ): Promise<api.ParkedAnswer> {
    const done: string[] = [];
    const unknown: string[] = [];
    for (const given of ids) {
      const id = unprintable(given);
      ((await act(id)) ? done : unknown).push(printable(id));
    }
    return { dataset: this.#name, done, unknown };
  }

  async #parkedIds(): Promise<string[]> {
    const ids: string[] = [];
    for await (const one of this.parked()) ids.push(one.id);
    return ids;
  }

  async #parkedBySite(): Promise<Map<SiteId, number>> {
    const counts = new Map<SiteId, number>();
    for await (const page of this.#engine.parked()) {
      for (const { site, key, reason, keys } of page)
        if (key !== undefined || reason === 'damage') counts.set(site, (counts.get(site) ?? 0) + keys);
    }
    return counts;
  }

  #info(fetched: Fetched): api.ObjectInfo {
    const { key, site, size, lastModifiedMs, metadata, version, digest } = fetched;
    return {
      dataset: this.#name,
      key,
      site,
      size,
      modifiedMs: lastModifiedMs,
      ...(digest === undefined ? {} : { sha256: digest }),
      version: versionInfo(version),
      metadata,
    };
  }
}

function stateAt(
  held: Replica | undefined,
  newest: Replica | undefined,
  error: string | undefined,
): Pick<api.SiteExplanation, 'state' | 'because' | 'size' | 'sha256' | 'version'> {
  if (error !== undefined) return { state: 'unreachable', because: redact(error) };
  if (!held)
    return {
      state: 'absent',
      because: newest && !newest.version.deleted ? 'it has not arrived here yet' : 'it was never here',
    };
  const about = {
    version: versionInfo(held.version),
    ...(held.version.deleted ? {} : { size: held.size }),
    ...(held.digest === undefined ? {} : { sha256: held.digest }),
  };
  const current = newest !== undefined && relate(held.version, newest.version) === 'same';
  if (held.version.deleted)
    return {
      ...about,
      state: 'deleted',
      because: current ? 'it was deleted' : 'it was deleted here; a newer write has not arrived',
    };
  return current
    ? { ...about, state: 'current', because: 'it holds the newest version' }
    : { ...about, state: 'behind', because: 'it holds an older version' };
}

function versionInfo(version: Version): api.VersionInfo {
  const { stamp, dot, deleted } = version;
  return { stamp, site: dot.site, count: dot.count, atMs: millisOf(stamp), deleted };
}
