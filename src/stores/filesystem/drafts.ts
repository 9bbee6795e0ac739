import { discard, type FileCalls, unless } from './calls.ts';
import type { Draft } from './commit.ts';
import { newFile, type SiteFolder } from './site-folder.ts';

const orphanAgeNs = 600n * 1_000_000_000n;

/** Bodies and metadata in the making, below a name of the process that makes them. */
export class Drafts {
  readonly #site: SiteFolder;
  readonly #calls: FileCalls;
  readonly #ownerId: () => string;
  #count = 0;

  constructor(site: SiteFolder, calls: FileCalls, ownerId: () => string) {
    this.#site = site;
    this.#calls = calls;
    this.#ownerId = ownerId;
  }

  newPath(): string {
    return this.#site.own('tmp', `${this.#ownerId()}.${this.#count++}`);
  }

  /** Durable when it resolves; `fd` must be closed. */
  async write(body: Uint8Array): Promise<Draft> {
    const path = this.newPath();
    const fd = await this.#calls.open(path, newFile);
    try {
      await this.#calls.write(fd, body, 0);
      await this.#calls.sync(fd);
      return { path, fd };
    } catch (cause) {
      await this.#calls.close(fd);
      await unless(['ENOENT'], this.#calls.unlink(path)).catch(() => undefined);
      throw cause;
    }
  }

  async drop(draft: Draft): Promise<void> {
    await unless(['ENOENT'], this.#calls.unlink(draft.path));
  }

  /** Those of a process that is dead. */
  async discardOf(ownerId: string): Promise<void> {
    for (const name of await draftNames(this.#site, this.#calls)) {
      if (ownerOf(name) === ownerId) await discard(this.#calls, this.#site.own('tmp', name));
    }
  }

  /** Those of processes that ended while they were still announcing themselves. */
  async discardOrphans(): Promise<void> {
    const calls = this.#calls;
    const site = this.#site;
    const owners = new Set((await calls.names(site.own('owners'))).entries.map((name) => name.split('~')[0]));
    const now = await calls.lstat(site.own('owners', this.#ownerId()));
    for (const name of await draftNames(site, calls)) {
      if (owners.has(ownerOf(name))) continue;
      const stat = await unless(['ENOENT'], calls.lstat(site.own('tmp', name)));
      // By the disk's own clock: whoever announces itself just now is younger.
      const isOld = stat !== undefined && now.mtimeNs - stat.mtimeNs > orphanAgeNs;
      if (isOld) await discard(calls, site.own('tmp', name));
    }
  }
}

/** Uploads that are being started or ended are folders among the drafts. */
async function draftNames(site: SiteFolder, calls: FileCalls): Promise<string[]> {
  const { entries } = await calls.names(site.own('tmp'));
  return entries.map((name) => name.replace(/\/$/, ''));
}

function ownerOf(draft: string): string {
  return draft.split('.')[0]!;
}
