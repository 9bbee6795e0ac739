import { createServer, type Server } from 'node:http';
import pino, { type Logger } from 'pino';
import type { Config } from '../config/index.ts';
import { redact } from '../config/index.ts';
import type { Dataset, DatasetParts } from '../dataset.ts';
import type { SiteId } from '../model/version.ts';
import type { ChangeSource } from '../ports/change-source.ts';
import type { World } from '../ports/world.ts';
import { s3Webhook } from '../sources/s3-events/webhook.ts';
import { Metrics } from './metrics.ts';
import { type OpenedDataset, openConfigured, type State } from './open.ts';
import { Rates } from './rates.ts';

export interface DaemonOptions {
  readonly datasets: readonly string[];
  readonly ready: (ready: { datasets: readonly string[]; url: string; sources: readonly string[] }) => void;
  /** Where log lines go. */
  readonly log: { write(line: string): void };
}

/** How long a stop waits for what is in flight before it hands it back. */
const graceMs = 8_000;
const ratesEveryMs = 2_000;

/** Watches and replicates until `signal` aborts; serves health and metrics meanwhile. */
export async function runDaemon(
  config: Config,
  state: State,
  world: World,
  options: DaemonOptions,
  signal: AbortSignal,
): Promise<void> {
  const log = pino(
    { level: config.log.level, base: null },
    { write: (line) => options.log.write(redact(line)) },
  );
  const metrics = new Metrics();
  const listening: Promise<string>[] = [];
  const opened: [string, OpenedDataset, Rates][] = [];
  for (const name of options.datasets) {
    const rates = new Rates(world);
    const sources = sourcesOf(config, name, world, listening);
    const events = eventsOf(name, log, metrics, rates);
    opened.push([name, await openConfigured(config, name, state, world, { events, sources }), rates]);
  }
  let ready = false;
  const server = await serve(
    config,
    metrics,
    () => ready,
    whileAsked(() => measure(opened, metrics, world)),
  );
  const stop = new AbortController();
  const watching = opened.map(([name, { dataset }]) =>
    dataset.watch(
      { scanEveryMs: config.datasets[name]!.scan.everyMs },
      AbortSignal.any([signal, stop.signal]),
    ),
  );
  const observing = keepRates(opened, log, world, signal);
  try {
    const sources = await unlessEnded(Promise.all(listening), watching);
    ready = true;
    log.info({ datasets: options.datasets }, 'running');
    if (sources) options.ready({ datasets: options.datasets, url: urlOf(server), sources });
    await Promise.all(watching);
  } finally {
    ready = false;
    stop.abort(new Error('stopped'));
    await Promise.allSettled(watching);
    await Promise.race([
      Promise.all(opened.map(([, { dataset }]) => dataset.quiet())),
      world.sleep(graceMs, AbortSignal.timeout(graceMs)).catch(() => {}),
    ]);
    await Promise.all(opened.map(([, one]) => one.close()));
    await observing.catch(() => {});
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    log.info('stopped; what was in flight is finished or handed back');
  }
}

/** Undefined when the watching was stopped first; throws when it failed, as where a source's port is taken. */
function unlessEnded<T>(started: Promise<T>, watching: readonly Promise<void>[]): Promise<T | undefined> {
  return Promise.race([started, Promise.all(watching).then(() => undefined)]);
}

function sourcesOf(
  config: Config,
  dataset: string,
  world: World,
  listening: Promise<string>[],
): ChangeSource[] {
  return Object.entries(config.sources).flatMap(([site, source]) => {
    const place = config.sites[site];
    if (place?.kind !== 's3' || !config.datasets[dataset]!.sites.includes(site)) return [];
    const url = Promise.withResolvers<string>();
    listening.push(url.promise);
    return [
      s3Webhook({
        dataset,
        site,
        bucket: place.bucket,
        prefix: place.prefix,
        host: source.listen.host,
        port: source.listen.port,
        path: source.path,
        ...(source.secret ? { secret: source.secret.reveal() } : {}),
        nowMs: () => world.nowMs(),
        listening: url.resolve,
      }),
    ];
  });
}

function eventsOf(
  dataset: string,
  log: Logger,
  metrics: Metrics,
  rates: Rates,
): NonNullable<DatasetParts['events']> {
  return {
    copied: ({ site, key, bytes, outcome, version }) => {
      metrics.copied(dataset, site, outcome, bytes);
      rates.add(site, bytes);
      log.debug({ dataset, key, site, bytes, version: version?.stamp, change: version?.operation }, outcome);
    },
    failed: ({ site, key, error }) => {
      metrics.failed(dataset, site);
      log.warn({ dataset, key, site, reason: error.message }, 'failed');
    },
    noticed: ({ site, text }) => log.warn({ dataset, site }, text),
    lost: ({ site, key, keptAs }) => {
      metrics.lost(dataset, site);
      log.info({ dataset, key, site, keptAs }, 'a concurrent write lost and was kept');
    },
    request: (site, report) => metrics.request(dataset, site, report),
  };
}

/** Lag and backlog as they are now: a value kept from earlier would hide what was written since. */
async function measure(
  opened: readonly [string, OpenedDataset, Rates][],
  metrics: Metrics,
  world: World,
): Promise<void> {
  for (const [name, { dataset }] of opened) {
    metrics.status(name, await dataset.status(), world.nowMs());
    metrics.held(name, await heldBySite(dataset));
  }
}

async function heldBySite(dataset: Dataset): Promise<Map<SiteId, number>> {
  const held = new Map<SiteId, number>(dataset.policy.sites.map((site) => [site, 0]));
  for await (const page of dataset.parked())
    for (const { site, reason, keys } of page)
      if (reason === 'damage') held.set(site, (held.get(site) ?? 0) + keys);
  return held;
}

/** Whoever asks while it runs waits for the next run, which they share: the one under way may be too old. */
function whileAsked(work: () => Promise<void>): () => Promise<void> {
  let running = Promise.resolve();
  let next: Promise<void> | undefined;
  return () => {
    next ??= running.then(() => {
      const begun = work();
      running = begun.catch(() => {});
      next = undefined;
      return begun;
    });
    return next;
  };
}

/** Keeps the rates where `isobar status` finds them. */
async function keepRates(
  opened: readonly [string, OpenedDataset, Rates][],
  log: Logger,
  world: World,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    for (const [name, { dataset }, rates] of opened) {
      try {
        for (const site of dataset.policy.sites) await dataset.updateSite(site, { rate: rates.of(site) });
      } catch (error) {
        log.error({ dataset: name, reason: (error as Error).message }, 'the ledger could not be written');
      }
    }
    await world.sleep(ratesEveryMs, signal).catch(() => {});
  }
}

async function serve(
  config: Config,
  metrics: Metrics,
  isReady: () => boolean,
  measured: () => Promise<void>,
): Promise<Server> {
  const server = createServer((request, response) => {
    const path = (request.url ?? '').split('?')[0];
    const text = (status: number, body: string) =>
      response.writeHead(status, { 'content-type': 'text/plain' }).end(body);
    if (path === '/livez') text(200, 'ok\n');
    else if (path === '/readyz') text(isReady() ? 200 : 503, isReady() ? 'ok\n' : 'not ready\n');
    else if (path === '/metrics') {
      measured()
        .then(() => metrics.registry.metrics())
        .then(
          (body) => response.writeHead(200, { 'content-type': metrics.registry.contentType }).end(body),
          () => text(500, 'metrics failed\n'),
        );
    } else text(404, 'there are /livez, /readyz and /metrics\n');
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(config.listen.port, config.listen.host, resolve);
  });
  return server;
}

function urlOf(server: Server): string {
  const address = server.address();
  if (typeof address !== 'object' || !address) return '';
  const host = address.family === 'IPv6' ? `[${address.address}]` : address.address;
  return `http://${host}:${address.port}`;
}
