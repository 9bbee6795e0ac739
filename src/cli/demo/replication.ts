import { openConfigured, openState } from '../../assembly/open.ts';
import { loadConfig } from '../../config/index.ts';
import type { Dataset } from '../../dataset.ts';
import { systemWorld } from '../../system-world.ts';
import { DemoFailure } from './failure.ts';
import { Gauge } from './gauge.ts';
import { datasetName, type Places } from './places.ts';

/** Isobar at work on the demo's folders, through the pieces that `isobar run` is made of. */
export interface Replication {
  readonly dataset: Dataset;
  readonly gauge: Gauge;
  /** Aborts when the replication ends by itself, which it must not. */
  readonly broken: AbortSignal;
  close(): Promise<void>;
}

export async function startReplication(places: Places): Promise<Replication> {
  const config = loadConfig(places.configFile, {});
  const gauge = new Gauge(() => systemWorld.monotonicMs());
  const state = await openState(config);
  const opened = await openConfigured(config, datasetName, state, systemWorld, {
    events: { copied: gauge.copied },
  });
  const stop = new AbortController();
  const broken = new AbortController();
  const { everyMs } = config.datasets[datasetName]!.scan;
  const watching = opened.dataset.watch({ scanEveryMs: everyMs }, stop.signal).catch((cause: Error) => {
    if (!stop.signal.aborted)
      broken.abort(new DemoFailure(`the replication ended: ${cause.message}`, { cause }));
  });
  return {
    dataset: opened.dataset,
    gauge,
    broken: broken.signal,
    close: async () => {
      stop.abort(new Error('the demo is over'));
      await watching;
      await opened.close();
      await state.close();
    },
  };
}
