import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { SiteId } from '../model/version.ts';
import type { RequestReport } from '../replicate/guarded-store.ts';
import type { SiteStatus } from '../replicate/lag.ts';

/** Prometheus metrics of one process. Labels are datasets, sites, verbs and outcomes, never keys. */
export class Metrics {
  readonly registry = new Registry();
  readonly #lag = this.#gauge(
    'isobar_replication_lag_seconds',
    'Age of the oldest write not yet verified at the site; NaN: unknown',
  );
  readonly #scanAge = this.#gauge(
    'isobar_scan_age_seconds',
    'Time since the last complete scan of the site began; NaN: never',
  );
  readonly #keys = this.#gauge('isobar_backlog_keys', 'Keys that the site still lacks, as far as is known');
  readonly #bytes = this.#gauge('isobar_backlog_bytes', 'Bytes of these keys');
  readonly #parked = this.#gauge('isobar_parked_keys', 'Changes of the site that wait for a person');
  readonly #held = this.#gauge(
    'isobar_damage_held_keys',
    'Changes made at the site that the damage guard holds back; 0: it holds nothing',
  );
  readonly #up = this.#gauge('isobar_site_up', '1 while the site answers');
  readonly #copiedBytes = this.#counter('isobar_copied_bytes_total', 'Bytes copied to the site', [
    'dataset',
    'site',
    'outcome',
  ]);
  readonly #copiedKeys = this.#counter('isobar_copied_keys_total', 'Keys brought up to date at the site', [
    'dataset',
    'site',
    'outcome',
  ]);
  readonly #losers = this.#counter(
    'isobar_conflict_losers_total',
    'Bodies that lost a conflict and were kept',
    ['dataset', 'site'],
  );
  readonly #mismatches = this.#counter(
    'isobar_verify_mismatches_total',
    'Differences found by verification',
    ['dataset', 'site', 'kind'],
  );
  readonly #failures = this.#counter('isobar_failures_total', 'Attempts that failed', ['dataset', 'site']);
  readonly #requests = new Histogram({
    name: 'isobar_store_request_seconds',
    help: 'Requests to sites',
    labelNames: ['dataset', 'site', 'verb', 'outcome'],
    buckets: [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60],
    registers: [this.registry],
  });

  copied(dataset: string, site: SiteId, outcome: string, bytes: number): void {
    this.#copiedBytes.inc({ dataset, site, outcome }, bytes);
    this.#copiedKeys.inc({ dataset, site, outcome });
  }

  lost(dataset: string, site: SiteId): void {
    this.#losers.inc({ dataset, site });
  }

  failed(dataset: string, site: SiteId): void {
    this.#failures.inc({ dataset, site });
  }

  mismatch(dataset: string, site: SiteId, kind: string): void {
    this.#mismatches.inc({ dataset, site, kind });
  }

  request(dataset: string, site: SiteId, { verb, outcome, durationMs }: RequestReport): void {
    this.#requests.observe({ dataset, site, verb, outcome }, durationMs / 1000);
  }

  status(dataset: string, statuses: readonly SiteStatus[], nowMs: number): void {
    for (const one of statuses) {
      const labels = { dataset, site: one.site };
      this.#lag.set(labels, one.lagMs === undefined ? Number.NaN : one.lagMs / 1000);
      this.#scanAge.set(labels, one.scannedMs === undefined ? Number.NaN : (nowMs - one.scannedMs) / 1000);
      this.#keys.set(labels, one.backlogKeys);
      this.#bytes.set(labels, one.backlogBytes);
      this.#parked.set(labels, one.parked);
      this.#up.set(labels, one.state === 'away' ? 0 : 1);
    }
  }

  /** Of one dataset, at each of its sites. */
  held(dataset: string, keysBySite: ReadonlyMap<SiteId, number>): void {
    for (const [site, keys] of keysBySite) this.#held.set({ dataset, site }, keys);
  }

  #gauge(name: string, help: string): Gauge<'dataset' | 'site'> {
    return new Gauge({ name, help, labelNames: ['dataset', 'site'], registers: [this.registry] });
  }

  #counter<L extends string>(name: string, help: string, labelNames: L[]): Counter<L> {
    return new Counter({ name, help, labelNames, registers: [this.registry] });
  }
}
