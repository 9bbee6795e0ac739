import { type OpenedDataset, openConfigured, openState } from '../../src/assembly/open.ts';
import type { SiteId } from '../../src/model/version.ts';
import { Records } from '../../src/replicate/records.ts';
import { systemWorld } from '../../src/system-world.ts';
import { type Figures, type LagSample, mostLag, OpenLoop, sampleLag } from '../e2e/open-loop.ts';
import { type LiveSystem, startSystem } from '../e2e/sites.ts';
import type { ServerName } from '../servers/start.ts';

/** Real servers that stay as fast for minutes; fake-gcs-server and ministack get slower with every object, Azurite on disk does. */
export const pausedClouds: Readonly<Record<string, ServerName>> = {
  aws: 'versitygw',
  minio: 'minio',
  azure: 'azurite',
};

const sizeBytes = 4096;

export interface PauseOptions {
  readonly paused: SiteId;
  readonly baselineMs: number;
  readonly pauseMs: number;
  readonly perSecond: number;
  /** Called at the end of the pause, before the server goes on. */
  readonly beforeResume?: (load: OpenLoop) => Promise<void>;
}

export interface PauseResult {
  readonly paused: SiteId;
  readonly baseline: Figures;
  readonly during: Figures;
  /** From the resume until the site had everything that was due before the resume. */
  readonly catchUpMs: number;
  readonly lag: LagFigures;
}

export interface LagFigures {
  readonly samples: number;
  /** The most by which the report was below the true age, and above it; milliseconds, over all sites. */
  readonly mostBelowMs: number;
  readonly mostAboveMs: number;
  /** The largest report of the paused site. */
  readonly largestMs: number;
  readonly unknown: number;
}

export interface Stage {
  readonly system: LiveSystem;
  readonly opened: OpenedDataset;
  readonly records: Records;
  readonly load: OpenLoop;
  close(): Promise<void>;
}

/** Three servers, and a dataset over them that replicates. */
export async function openStage(): Promise<Stage> {
  const options = { dataset: { scan: { every: '5m' } }, start: { inMemory: true } };
  const system = await startSystem(pausedClouds, options);
  const state = await openState(system.config);
  const load = new OpenLoop(Object.keys(pausedClouds), sizeBytes);
  const opened = await openConfigured(system.config, 'photos', state, systemWorld, { events: load.events });
  const stop = new AbortController();
  const watching = opened.dataset.watch({ scanEveryMs: 300_000 }, stop.signal).catch(() => {});
  return {
    system,
    opened,
    records: new Records(state.ledger, 'photos'),
    load,
    async close() {
      for (const { server } of system.sites) server.resume();
      stop.abort(new Error('seen enough'));
      await watching;
      await opened.close();
      await state.close();
      await system.stop();
    },
  };
}

/** An open-loop load; one server is stopped by SIGSTOP in the middle of it, and goes on later. */
export async function pauseOne(
  stage: Stage,
  options: PauseOptions,
  signal: AbortSignal,
): Promise<PauseResult> {
  const { load, opened, records, system } = stage;
  const { server } = system.sites.find(({ name }) => name === options.paused)!;
  const healthy = system.sites.map(({ name }) => name).filter((name) => name !== options.paused);
  const stop = new AbortController();
  const samples: LagSample[] = [];
  const loading = load.run(opened.dataset, options.perSecond, stop.signal, signal);
  const sampling = sampleLag(
    { dataset: opened.dataset, load, records },
    Math.max(250, options.pauseMs / 60),
    (one) => samples.push(one),
    stop.signal,
  );
  try {
    const begunMs = performance.now();
    await systemWorld.sleep(options.baselineMs, signal);
    const pausedMs = performance.now();
    server.pause();
    await systemWorld.sleep(options.pauseMs, signal);
    await options.beforeResume?.(load);
    const resumedMs = performance.now();
    server.resume();
    // Where the load leaves no room to catch up, it ends after the length of the pause.
    const enough = AbortSignal.any([stop.signal, AbortSignal.timeout(options.pauseMs)]);
    enough.addEventListener('abort', () => stop.abort(enough.reason));
    await untilThere(stage, options.paused, resumedMs, signal);
    const caughtUpMs = performance.now();
    stop.abort(new Error('seen enough'));
    await Promise.all([loading, sampling]);
    for (const { name } of system.sites) await untilThere(stage, name, Number.POSITIVE_INFINITY, signal);
    return {
      paused: options.paused,
      baseline: load.figures(begunMs, pausedMs, healthy),
      during: load.figures(pausedMs, resumedMs, healthy),
      catchUpMs: Math.round(caughtUpMs - resumedMs),
      lag: lagFigures(load, samples, options.paused),
    };
  } finally {
    server.resume();
    stop.abort(new Error('ended'));
    await Promise.allSettled([loading, sampling]);
  }
}

/** Waits until the site has everything that was due before `untilMs`. */
async function untilThere(stage: Stage, site: SiteId, untilMs: number, signal: AbortSignal): Promise<void> {
  const { native } = stage.system.sites.find(({ name }) => name === site)!;
  const lacks = () => stage.load.missingAt(site).some(({ dueMs }) => dueMs < untilMs);
  for (let steps = 1; lacks(); steps++) {
    await systemWorld.sleep(50, signal);
    if (steps % 40 === 0) await stage.load.look(site, native, signal);
  }
}

function lagFigures(load: OpenLoop, samples: readonly LagSample[], paused: SiteId): LagFigures {
  const compared = samples.flatMap((sample) => {
    const { reportedMs } = sample;
    return reportedMs === undefined ? [] : [{ ...sample, reportedMs, mostMs: mostLag(load, sample) }];
  });
  const most = (values: readonly number[]) => Math.round(Math.max(0, ...values));
  return {
    samples: samples.length,
    mostBelowMs: most(compared.map(({ leastMs, reportedMs }) => leastMs - reportedMs)),
    mostAboveMs: most(compared.map(({ mostMs, reportedMs }) => reportedMs - mostMs)),
    largestMs: most(compared.filter(({ site }) => site === paused).map(({ reportedMs }) => reportedMs)),
    unknown: samples.length - compared.length,
  };
}

/** `node test/chaos/pause.ts [SECONDS [SITE…]]`: each server in turn, from a fresh start; JSON lines. */
async function main(args: readonly string[]): Promise<void> {
  const pauseMs = Number(args[0] ?? 60) * 1000;
  const sites = args.length > 1 ? args.slice(1) : Object.keys(pausedClouds);
  for (const paused of sites) {
    const stage = await openStage();
    try {
      const signal = AbortSignal.timeout(pauseMs * 10 + 120_000);
      const capacity = await stage.load.capacity(stage.opened.dataset, 48, 6_000, signal);
      const options = { paused, pauseMs, baselineMs: Math.max(10_000, pauseMs / 2), perSecond: capacity / 2 };
      const result = await pauseOne(stage, options, signal);
      const verified = await stage.opened.dataset.verify({}, () => {}, signal);
      const line = { capacityPerSecond: Math.round(capacity), ...result, verified: verified.counts };
      process.stdout.write(`${JSON.stringify(line)}\n`);
    } finally {
      await stage.close();
    }
  }
}

if (import.meta.main) await main(process.argv.slice(2));
