import { noMetadata, type ObjectMetadata } from '../../model/metadata.ts';
import type { ObjectHead } from '../../ports/object-store.ts';
import type { FileCalls } from './calls.ts';
import type { Commits } from './commit.ts';
import { markOf } from './identity.ts';
import { listEntry } from './listing.ts';
import type { MetadataFiles } from './metadata-files.ts';
import type { Found, OpenFile, Places } from './places.ts';
import type { SiteFolder } from './site-folder.ts';

export interface LookupParts {
  readonly site: SiteFolder;
  readonly places: Places;
  readonly commits: Commits;
  readonly metadata: MetadataFiles;
  readonly calls: FileCalls;
  /** Waits out the moment in which an object is being replaced, and ends it where a crash left it. */
  readonly settle: (fullKey: string, signal: AbortSignal) => Promise<void>;
}

type Headed<F> = F & { readonly head: ObjectHead };

/** Where an object is and what is known of it, whatever is being written to it meanwhile. */
export class Lookup {
  readonly #parts: LookupParts;

  constructor(parts: LookupParts) {
    this.#parts = parts;
  }

  /** `key` as it is called outside, `fullKey` with the site's prefix. Undefined when absent. */
  locate(key: string, fullKey: string, signal: AbortSignal): Promise<Headed<Found> | undefined> {
    return this.#find(key, fullKey, signal, () => this.#parts.places.locate(fullKey));
  }

  /** As `locate`, with the file open for reading; `fd` must be closed. */
  open(key: string, fullKey: string, signal: AbortSignal): Promise<Headed<OpenFile> | undefined> {
    return this.#find(key, fullKey, signal, () => this.#parts.places.open(fullKey));
  }

  async #find<F extends Found & { readonly fd?: number }>(
    key: string,
    fullKey: string,
    signal: AbortSignal,
    look: () => Promise<F | undefined>,
  ): Promise<Headed<F> | undefined> {
    const { site, commits, settle } = this.#parts;
    await site.open();
    let misses = 0;
    for (;;) {
      signal.throwIfAborted();
      const found = await look();
      if (found !== undefined) {
        misses = 0;
        const metadata = await this.#metadataOf(fullKey, found);
        if (metadata) return { ...found, head: { ...listEntry(key, found.stat), metadata } };
      } else if (await commits.isAside(fullKey)) {
        await settle(fullKey, signal);
      } else if (misses++ === 0) {
        // That moment may have ended between the two looks, and nothing stands aside any more: look again.
      } else {
        // Absence is an answer only while the folder is the one it was.
        await site.verify();
        return undefined;
      }
    }
  }

  /** Undefined when the file was replaced so quickly that its metadata are gone: look again. */
  async #metadataOf(
    fullKey: string,
    found: Found & { readonly fd?: number },
  ): Promise<ObjectMetadata | undefined> {
    const { calls } = this.#parts;
    try {
      const metadata = await this.#parts.metadata.read(fullKey, markOf(found.stat));
      if (metadata !== undefined || (await this.#isStill(fullKey, found))) return metadata ?? noMetadata;
    } catch (cause) {
      if (found.fd !== undefined) await calls.close(found.fd);
      throw cause;
    }
    if (found.fd !== undefined) await calls.close(found.fd);
    return undefined;
  }

  async #isStill(fullKey: string, found: Found): Promise<boolean> {
    const { site, places } = this.#parts;
    if (!site.isPrepared) return true;
    const now = await places.locate(fullKey);
    return now !== undefined && markOf(now.stat) === markOf(found.stat);
  }
}
