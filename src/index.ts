import { openConfigured, openState } from './assembly/open.ts';
import { loadConfig } from './config/index.ts';
import type { DatasetParts, Listed, SyncResult } from './dataset.ts';
import { noMetadata, type ObjectMetadata } from './model/metadata.ts';
import type { Difference, Verified } from './reconcile/verify.ts';
import type { SiteStatus } from './replicate/lag.ts';
import type { Fetched } from './replicate/read.ts';
import type { Body, WriteResult } from './replicate/write.ts';
import { systemWorld } from './system-world.ts';

export { ConfigFailure } from './config/index.ts';
export { type Listed, type SyncResult, UsageFailure } from './dataset.ts';
export { StateFailure, StoreFailure } from './model/failure.ts';
export type { ObjectMetadata } from './model/metadata.ts';
export type { Version } from './model/version.ts';
export type { Difference, Verified } from './reconcile/verify.ts';
export type { SiteStatus } from './replicate/lag.ts';
export type { Fetched } from './replicate/read.ts';
export { type Body, type SiteOutcome, WriteFailure, type WriteResult } from './replicate/write.ts';

export interface OpenOptions {
  /** The configuration file; default `isobar.yaml`. */
  readonly config?: string;
  /** For `${VAR}` in the configuration; nothing else is taken from an environment. Default: none. */
  readonly variables?: Readonly<Record<string, string | undefined>>;
  /** Told what happens: copies, failures, kept losers, requests. */
  readonly events?: NonNullable<DatasetParts['events']>;
}

/** A dataset of the configuration, open in this process. All calls stop when their `signal` aborts. */
export interface OpenDataset extends AsyncDisposable {
  /**
   * Writes by the policy: resolves when the body is durable at as many sites as `write` names. Throws
   * `WriteFailure` when it is not; such a write may still take effect.
   */
  put(
    key: string,
    body: Uint8Array | string | Body,
    options?: { readonly metadata?: Partial<ObjectMetadata>; readonly signal?: AbortSignal },
  ): Promise<WriteResult>;
  /** The newest version, from the nearest healthy site that holds it; undefined when the key is absent. */
  get(
    key: string,
    options?: { readonly site?: string; readonly signal?: AbortSignal },
  ): Promise<Fetched | undefined>;
  /** Deletes by the policy. Undefined when the key is absent. */
  remove(key: string, options?: { readonly signal?: AbortSignal }): Promise<WriteResult | undefined>;
  /** Keys in the order of their UTF-8 bytes, in pages. */
  list(options?: {
    readonly prefix?: string;
    readonly site?: string;
    readonly signal?: AbortSignal;
  }): AsyncIterable<readonly Listed[]>;
  /** One pass until every site that can be reached agrees. `yes` agrees to deletions that a guard holds back. */
  sync(options?: { readonly yes?: boolean; readonly signal?: AbortSignal }): Promise<SyncResult>;
  /** Compares all sites, with `deep` by content; `found` is told every difference. */
  verify(options?: {
    readonly deep?: boolean;
    readonly found?: (difference: Difference) => void;
    readonly signal?: AbortSignal;
  }): Promise<Verified>;
  /** Replicates continuously until `signal` aborts. */
  watch(options: { readonly scanEveryMs?: number; readonly signal: AbortSignal }): Promise<void>;
  /** Lag and backlog of every site. */
  status(): Promise<SiteStatus[]>;
  close(): Promise<void>;
}

const never = new AbortController().signal;

/**
 * Opens a dataset of a configuration file. Throws `ConfigFailure` with every problem of the file at once, and
 * `StateFailure` when the embedded ledger cannot be used.
 */
export async function openDataset(name: string, options: OpenOptions = {}): Promise<OpenDataset> {
  const config = loadConfig(options.config ?? 'isobar.yaml', options.variables ?? {});
  const state = await openState(config);
  const events = options.events ? { events: options.events } : {};
  const opened = await openConfigured(config, name, state, systemWorld, events).catch(
    async (error: Error) => {
      await state.close();
      throw error;
    },
  );
  const { dataset } = opened;
  const close = async () => {
    await opened.close();
    await state.close();
  };
  return {
    put: (key, body, { metadata = {}, signal = never } = {}) =>
      dataset.put(key, bodyOf(body), { ...noMetadata, ...metadata }, signal),
    get: (key, { signal = never, ...rest } = {}) => dataset.get(key, rest, signal),
    remove: (key, { signal = never } = {}) => dataset.remove(key, signal),
    list: ({ signal = never, ...rest } = {}) => dataset.list(rest, signal),
    sync: ({ signal = never, ...rest } = {}) => dataset.sync(rest, signal),
    verify: ({ signal = never, found = () => {}, ...rest } = {}) => dataset.verify(rest, found, signal),
    watch: ({ signal, scanEveryMs }) =>
      dataset.watch({ scanEveryMs: scanEveryMs ?? config.datasets[name]!.scan.everyMs }, signal),
    status: () => dataset.status(),
    close,
    [Symbol.asyncDispose]: close,
  };
}

function bodyOf(body: Uint8Array | string | Body): Body {
  if (typeof body !== 'string' && !(body instanceof Uint8Array)) return body;
  const bytes = typeof body === 'string' ? Buffer.from(body) : body;
  return { size: bytes.length, read: async ({ from, to }) => bytes.subarray(from, to) };
}
