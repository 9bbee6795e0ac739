import { redact } from '../config/index.ts';
import type { Dataset as Engine } from '../dataset.ts';
import { millisOf, type Stamp } from '../model/stamp.ts';
import type { SiteId, Version } from '../model/version.ts';
import type { Fetched } from '../replicate/read.ts';
import type * as api from './api.ts';
import type { KeptWrite, KeptWrites, ReleaseReport } from './api-conflicts.ts';

/** What lost a conflict, as the commands see it. */
export class LiveKept implements KeptWrites {
  readonly #engine: Engine;
  readonly #name: string;
  readonly #info: (fetched: Fetched) => api.ObjectInfo;
  readonly #versionInfo: (version: Version) => api.VersionInfo;

  constructor(
    engine: Engine,
    info: (fetched: Fetched) => api.ObjectInfo,
    versionInfo: (version: Version) => api.VersionInfo,
  ) {
    this.#engine = engine;
    this.#name = engine.policy.dataset;
    this.#info = info;
    this.#versionInfo = versionInfo;
  }

  async *list(key: string | undefined): AsyncGenerator<KeptWrite> {
    for await (const { because, ...kept } of this.#engine.keptWrites(key)) {
      yield {
        dataset: this.#name,
        ...kept,
        atMs: millisOf(kept.stamp as Stamp),
        ...(because === undefined ? {} : { because: redact(because) }),
      };
    }
  }

  async open(id: string, signal: AbortSignal): Promise<api.GetResult | undefined> {
    const fetched = await this.#engine.openKept(id, signal);
    if (!fetched) return undefined;
    return { info: this.#info(fetched), because: `it is kept at ${fetched.site}`, body: fetched.body };
  }

  async pick(id: string, signal: AbortSignal): Promise<api.PutResult | undefined> {
    const picked = await this.#engine.pick(id, signal);
    if (!picked) return undefined;
    const { key, size, version, sites } = picked;
    return { dataset: this.#name, key, size, version: this.#versionInfo(version), sites };
  }

  async release(ids: readonly string[], signal: AbortSignal): Promise<ReleaseReport> {
    const released: string[] = [];
    const unknown: string[] = [];
    const left: { id: string; site: SiteId; error: string }[] = [];
    for (const id of ids) {
      const done = await this.#engine.release(id, signal);
      const sites = Object.entries(done?.left ?? {});
      left.push(...sites.map(([site, error]) => ({ id, site, error: redact(error) })));
      if (!done) unknown.push(id);
      else if (sites.length === 0) released.push(id);
    }
    return { dataset: this.#name, released, unknown, left };
  }
}
