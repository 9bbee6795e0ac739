import { checkSite } from '../assembly/checks.ts';
import { checkGuards } from '../assembly/guard-checks.ts';
import { type OpenedDataset, openConfigured, openState, type State } from '../assembly/open.ts';
import { type Config, datasetOf, redact, siteOf } from '../config/index.ts';
import { systemWorld } from '../system-world.ts';
import type * as api from './api.ts';
import { LiveDataset } from './live-dataset.ts';
import { Tally } from './tally.ts';

export { keepHeapSmall } from './heap.ts';

/** The engine behind the commands; drivers and state are opened when a command first needs them. */
export const openIsobar: api.OpenIsobar = async (config, options) => new LiveIsobar(config, options);

class LiveIsobar implements api.Isobar {
  readonly #config: Config;
  readonly #options: api.OpenOptions;
  #state: Promise<State> | undefined;
  readonly #opened: OpenedDataset[] = [];

  constructor(config: Config, options: api.OpenOptions) {
    this.#config = config;
    this.#options = options;
  }

  async dataset(name: string): Promise<api.Dataset> {
    datasetOf(this.#config, name);
    const tally = new Tally();
    const { explain } = this.#options;
    const noticed = ({ site, text }: { site: string; text: string }) => explain(`${site}: ${text}`);
    const events = { ...tally.events(), failed: tally.failed(explain), noticed };
    const opened = await openConfigured(this.#config, name, await this.#openState(), systemWorld, { events });
    this.#opened.push(opened);
    return new LiveDataset(opened.dataset, name, tally);
  }

  async doctor(
    options: api.DoctorOptions,
    report: (check: api.Check) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const sites = options.sites ?? Object.keys(this.#config.sites);
    for (const site of sites) {
      const config = siteOf(this.#config, site);
      try {
        await checkSite(site, config, systemWorld, report, signal);
      } catch (error) {
        signal.throwIfAborted();
        report({ site, check: 'open', status: 'failed', detail: redact((error as Error).message) });
      }
    }
    await checkGuards(this.#config, sites, () => this.#openState(), report);
  }

  async run(options: api.RunOptions, signal: AbortSignal): Promise<void> {
    const datasets = options.datasets ?? Object.keys(this.#config.datasets);
    for (const name of datasets) datasetOf(this.#config, name);
    const log = { write: (line: string) => void process.stderr.write(line) };
    // A web server, logs and metrics, which only the daemon has: more to load than all the rest.
    const { runDaemon } = await import('../assembly/daemon.ts');
    await runDaemon(
      this.#config,
      await this.#openState(),
      systemWorld,
      { datasets, ready: options.ready, log },
      signal,
    );
  }

  async close(): Promise<void> {
    for (const opened of this.#opened) await opened.close();
    await (await this.#state)?.close();
  }

  #openState(): Promise<State> {
    this.#state ??= openState(this.#config);
    return this.#state;
  }
}
