import { createHash } from 'node:crypto';
import { type Config, datasetOf, toPolicy } from '../config/index.ts';
import { Dataset, type DatasetParts } from '../dataset.ts';
import { openEmbedded } from '../embedded/open.ts';
import type { SiteId } from '../model/version.ts';
import type { ChangeSource } from '../ports/change-source.ts';
import type { Capabilities, ObjectStore } from '../ports/object-store.ts';
import type { World } from '../ports/world.ts';
import { Records } from '../replicate/records.ts';
import { mergesFor } from './merges.ts';
import { Probing } from './probing.ts';
import { openStore } from './stores.ts';

export interface State {
  readonly ledger: DatasetParts['ledger'];
  readonly bus: DatasetParts['bus'];
  readonly role: 'owner' | 'guest';
  close(): Promise<void>;
}

/** Bus and ledger of a configuration; the caller closes them. */
export function openState(config: Config): Promise<State> {
  return openEmbedded({ folder: config.state });
}

export interface OpenedDataset {
  readonly dataset: Dataset;
  /** Closes the dataset and its stores, not the state. */
  close(): Promise<void>;
}

export interface OpenDatasetOptions {
  readonly events?: NonNullable<DatasetParts['events']>;
  readonly sources?: readonly ChangeSource[];
  readonly settings?: NonNullable<DatasetParts['settings']>;
}

/** Puts one dataset together: stores with the capabilities that a probe found, policy, ledger, bus. */
export async function openConfigured(
  config: Config,
  name: string,
  state: State,
  world: World,
  options: OpenDatasetOptions = {},
): Promise<OpenedDataset> {
  const policy = toPolicy(config, name);
  const records = new Records(state.ledger, name);
  const notice = (site: SiteId) => (text: string) => options.events?.noticed?.({ site, text });
  const opened = new Map(
    await Promise.all(
      datasetOf(config, name).sites.map(
        async (site) => [site, await openSite(config, site, records, world, notice(site))] as const,
      ),
    ),
  );
  const stores = new Map<SiteId, ObjectStore>([...opened].map(([site, { store }]) => [site, store]));
  const dataset = new Dataset({
    policy,
    stores,
    ready: new Map(
      [...opened].map(([site, { probing }]) => [site, (need, signal) => probing?.ready(need, signal)]),
    ),
    concurrency: new Map(policy.sites.map((site) => [site, config.sites[site]!.limits.concurrency])),
    ledger: state.ledger,
    bus: state.bus,
    world,
    merges: mergesFor(name, world),
    ...options,
  });
  return {
    dataset,
    async close() {
      await dataset.close();
      await Promise.all([...opened.values()].map(({ probing }) => probing?.close()));
      await Promise.all([...stores.values()].map((store) => store.close()));
    },
  };
}

interface Opened {
  readonly store: ObjectStore;
  /** Absent: what the store promises was found out earlier. */
  readonly probing?: Probing;
}

/** What a store promises is probed once per configuration and remembered. */
async function openSite(
  config: Config,
  site: SiteId,
  records: Records,
  world: World,
  notice: (text: string) => void,
): Promise<Opened> {
  const { limits: _, accept, ...identity } = config.sites[site]!;
  const probedAs = createHash('sha256').update(JSON.stringify(identity)).digest('base64url').slice(0, 16);
  const store = await openStore(config.sites[site]!, notice);
  const known = await records.siteState(site);
  if (known.probedAs === probedAs && known.capabilities) {
    store.settle(accepting(known.capabilities as unknown as Capabilities, accept));
    return { store };
  }
  const settle = async (found: Capabilities, isComplete: boolean) => {
    if (isComplete) await records.updateSite(site, { probedAs, capabilities: { ...found } });
    store.settle(accepting(found, accept));
  };
  return { store, probing: new Probing(store, world, settle) };
}

/** A risk that was accepted by name: the condition is sent all the same, and the store may ignore it. */
function accepting(found: Capabilities, accept: readonly string[]): Capabilities {
  const overwrite = accept.includes('overwrite-without-condition');
  const remove = accept.includes('delete-without-condition');
  return {
    ...found,
    ...(overwrite ? { create: 'conditional', replace: 'conditional', complete: 'conditional' } : {}),
    ...(remove ? { remove: 'conditional' } : {}),
  };
}
