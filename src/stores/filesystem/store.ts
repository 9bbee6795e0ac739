import { createHash } from 'node:crypto';
import { StoreFailure } from '../../model/failure.ts';
import { maxKeyBytes } from '../../model/key.ts';
import { noMetadata, type ObjectMetadata } from '../../model/metadata.ts';
import type {
  Capabilities,
  Condition,
  Conflict,
  ListEntry,
  ListRequest,
  ObjectHead,
  ObjectRead,
  ObjectStore,
  PartReceipt,
  ReadOptions,
  Removed,
  Token,
  Upload,
  UploadEntry,
  UploadPart,
  UploadRequest,
  WriteRequest,
  Written,
} from '../../ports/object-store.ts';
import { Body } from './body.ts';
import { type FileCalls, nodeCalls, unless } from './calls.ts';
import { Commits, type Draft } from './commit.ts';
import { discardDraftsOf, discardOrphans } from './drafts.ts';
import { translated } from './failures.ts';
import { Folders } from './folders.ts';
import { markOf } from './identity.ts';
import { demandFits, demandOneBody, demandParts, limits } from './limits.ts';
import { listEntry, listing } from './listing.ts';
import { Locks } from './locks.ts';
import { MetadataFiles } from './metadata-files.ts';
import type { Owner } from './owner.ts';
import { type Found, Places } from './places.ts';
import { type KeptFile, Retired } from './retired.ts';
import { type DiskTraits, newFile, SiteFolder } from './site-folder.ts';
import { Uploads } from './uploads.ts';
import type { Skipped } from './walk.ts';

export type { KeptFile } from './retired.ts';
export type { Skipped } from './walk.ts';

export interface FilesystemSiteConfig {
  /** The folder; it must exist. */
  readonly path: string;
  /** Put before every key: `team-a/` keeps the whole site in that folder. */
  readonly prefix?: string;
}

export interface FilesystemStoreOptions {
  /** What a probe found; by default everything is conditional, among Isobar's processes. */
  readonly capabilities?: Partial<Capabilities>;
  /** Called during a listing for everything in the folder that is no object. */
  readonly onSkipped?: (skipped: Skipped) => void;
  /** Called when another program's write could neither stay where it was nor be thrown away. */
  readonly onKept?: (kept: KeptFile) => void;
  /** How long a replaced or removed body waits for late writes into it before it is deleted. */
  readonly graceMs?: number;
  /** The calls of the file system: another disk, a trace, a crash. */
  readonly calls?: FileCalls;
  /** Traits of the disk that are known better than a probe can find them. */
  readonly traits?: Partial<DiskTraits>;
  /** What other processes see of this one. */
  readonly owner?: Owner;
}

const defaultGraceMs = 2_000;

/**
 * A folder as a store. Ordinary keys are relative paths, and files of other programs are objects.
 * Nothing is touched before the first call; a folder that is absent fails with `misplaced`, and is found again
 * when it is there. Conditions hold among all processes of Isobar that use the folder; other programs' writes are
 * never overwritten. docs/filesystem-store.md has the names, the limits and what is not promised.
 */
export function createFilesystemStore(
  config: FilesystemSiteConfig,
  options: FilesystemStoreOptions = {},
): ObjectStore {
  return new FilesystemStore(config, options);
}

class FilesystemStore implements ObjectStore {
  readonly limits = limits;
  readonly capabilities: Capabilities;
  readonly #prefix: string;
  readonly #calls: FileCalls;
  readonly #site: SiteFolder;
  readonly #folders: Folders;
  readonly #places: Places;
  readonly #locks: Locks;
  readonly #metadata: MetadataFiles;
  readonly #retired: Retired;
  readonly #commits: Commits;
  readonly #uploads: Uploads;
  readonly #onSkipped: (skipped: Skipped) => void;
  #started: Promise<void> | undefined;
  #drafts = 0;

  constructor(config: FilesystemSiteConfig, options: FilesystemStoreOptions) {
    const calls = options.calls ?? nodeCalls;
    this.capabilities = { ...allConditional, ...options.capabilities };
    this.#prefix = config.prefix ?? '';
    this.#calls = calls;
    this.#onSkipped = options.onSkipped ?? (() => undefined);
    this.#site = new SiteFolder(config.path, calls, options.traits ?? {});
    this.#folders = new Folders(this.#site, calls);
    this.#places = new Places(this.#site, this.#folders, calls);
    this.#metadata = new MetadataFiles(this.#site, calls, () => this.#draftPath());
    this.#retired = new Retired(
      this.#site,
      calls,
      options.graceMs ?? defaultGraceMs,
      options.onKept ?? (() => undefined),
    );
    const mend = (dead: Owner) => this.#mend(dead);
    this.#locks = new Locks(this.#site, calls, options.owner ? { owner: options.owner, mend } : { mend });
    this.#commits = new Commits({
      site: this.#site,
      folders: this.#folders,
      places: this.#places,
      locks: this.#locks,
      metadata: this.#metadata,
      retired: this.#retired,
      calls,
    });
    this.#uploads = new Uploads(this.#site, calls, () => this.#draftPath());
  }

  head(key: string, signal: AbortSignal): Promise<ObjectHead | undefined> {
    return translated(`looking at ${shown(key)}`, signal, async () => {
      const found = await this.#find(key, signal, (full) => this.#places.locate(full));
      return found?.head;
    });
  }

  read(key: string, options: ReadOptions, signal: AbortSignal): Promise<ObjectRead | undefined> {
    return translated(`reading ${shown(key)}`, signal, async () => {
      const found = await this.#find(key, signal, (full) => this.#places.open(full));
      if (found === undefined) return undefined;
      const { head, fd } = found;
      if (options.token !== undefined && options.token !== head.token) {
        await this.#calls.close(fd);
        throw new StoreFailure(
          'changed',
          `${shown(key)} is no longer the write that was asked for; look again`,
        );
      }
      const body = new Body(this.#calls, fd, head, options.range, signal);
      return { head, body: { [Symbol.asyncIterator]: () => body.pieces() }, bytes: () => body.bytes() };
    });
  }

  write(request: WriteRequest, signal: AbortSignal): Promise<Written | Conflict> {
    return translated(`writing ${shown(request.key)}`, signal, async () => {
      const verb = request.condition.kind === 'absent' ? 'create' : 'replace';
      this.#demand(verb, request.condition);
      const key = this.#fullKey(request.key);
      demandFits(request.key, request.metadata);
      demandOneBody(request.key, request.body);
      await this.#startWriting();
      const draft = await this.#writeDraft(request.body);
      try {
        const token = await this.#commits.write(key, draft, request.metadata, request.condition, signal);
        if (token === undefined) return await this.#dropDraft(draft);
        const sha256 = request.sha256 ?? createHash('sha256').update(request.body).digest('hex');
        return { kind: 'written', token, digests: { sha256 } };
      } catch (cause) {
        await this.#dropDraft(draft).catch(() => undefined);
        throw cause;
      } finally {
        await this.#calls.close(draft.fd);
      }
    });
  }

  startUpload(request: UploadRequest, signal: AbortSignal): Promise<Upload> {
    return translated(`starting the upload of ${shown(request.key)}`, signal, async () => {
      const key = this.#fullKey(request.key);
      demandFits(request.key, request.metadata);
      demandParts(request);
      await this.#startWriting();
      return { ...request, id: await this.#uploads.start(key, request) };
    });
  }

  writePart(upload: Upload, part: UploadPart, signal: AbortSignal): Promise<PartReceipt> {
    return translated(`writing part ${part.index} of ${shown(upload.key)}`, signal, async () => {
      await this.#startWriting();
      return await this.#uploads.writePart(upload, part);
    });
  }

  completeUpload(
    upload: Upload,
    receipts: readonly PartReceipt[],
    commit: { readonly condition: Condition; readonly metadata: ObjectMetadata },
    signal: AbortSignal,
  ): Promise<Written | Conflict> {
    return translated(`completing the upload of ${shown(upload.key)}`, signal, async () => {
      this.#demand('complete', commit.condition);
      const key = this.#fullKey(upload.key);
      demandFits(upload.key, commit.metadata);
      await this.#startWriting();
      const draft = await this.#uploads.finish(upload, receipts);
      try {
        const token = await this.#commits.write(key, draft, commit.metadata, commit.condition, signal);
        if (token === undefined) return { kind: 'conflict' };
        await this.#uploads.remove(upload.id);
        return { kind: 'written', token, digests: {} };
      } finally {
        await this.#calls.close(draft.fd);
      }
    });
  }

  abortUpload(upload: Pick<Upload, 'id' | 'key'>, signal: AbortSignal): Promise<void> {
    return translated(`giving up the upload of ${shown(upload.key)}`, signal, async () => {
      await this.#startWriting();
      await this.#uploads.remove(upload.id);
    });
  }

  async *listUploads(signal: AbortSignal): AsyncGenerator<readonly UploadEntry[]> {
    const pages = this.#uploads.list(this.#prefix);
    await translated('listing uploads', signal, () => this.#site.open());
    yield* translatedPages('listing uploads', signal, pages);
  }

  remove(key: string, token: Token, signal: AbortSignal): Promise<Removed | Conflict> {
    return translated(`removing ${shown(key)}`, signal, async () => {
      this.#demand('remove', { kind: 'match', token });
      const full = this.#fullKey(key);
      await this.#startWriting();
      const isRemoved = await this.#commits.remove(full, token, signal);
      return { kind: isRemoved ? 'removed' : 'conflict' };
    });
  }

  list(request: ListRequest, signal: AbortSignal): AsyncIterable<readonly ListEntry[]> {
    const parts = {
      site: this.#site,
      folders: this.#folders,
      places: this.#places,
      commits: this.#commits,
      locks: this.#locks,
      calls: this.#calls,
      onSkipped: this.#onSkipped,
      settle: (key: string, signal: AbortSignal) => this.#settle(key, signal),
      prefix: this.#prefix,
    };
    return translatedPages('listing', signal, listing(parts, request, signal));
  }

  sameWrite(recorded: Token, seen: Token): boolean {
    return recorded === seen;
  }

  async close(): Promise<void> {
    await this.#started?.catch(() => undefined);
    await this.#retired.close();
    await this.#locks.stop();
  }

  /** Where the object is, and what is known of it; waits out the moment in which it is being replaced. */
  async #find<F extends Found & { readonly fd?: number }>(
    key: string,
    signal: AbortSignal,
    look: (fullKey: string) => Promise<F | undefined>,
  ): Promise<(F & { readonly head: ObjectHead }) | undefined> {
    const full = this.#fullKey(key);
    await this.#site.open();
    let misses = 0;
    for (;;) {
      signal.throwIfAborted();
      const found = await look(full);
      if (found !== undefined) {
        misses = 0;
        const metadata = await this.#metadataOf(full, found);
        if (metadata) return { ...found, head: { ...listEntry(key, found.stat), metadata } };
      } else if (await this.#commits.isAside(full)) {
        await this.#settle(full, signal);
      } else if (misses++ === 0) {
        // That moment may have ended between the two looks, and nothing stands aside any more: look again.
      } else {
        // Absence is an answer only while the folder is the one it was.
        await this.#site.verify();
        return undefined;
      }
    }
  }

  /** Undefined when the file was replaced so quickly that its metadata are gone: look again. */
  async #metadataOf(
    fullKey: string,
    found: Found & { readonly fd?: number },
  ): Promise<ObjectMetadata | undefined> {
    try {
      const metadata = await this.#metadata.read(fullKey, markOf(found.stat));
      if (metadata !== undefined || (await this.#isStill(fullKey, found))) return metadata ?? noMetadata;
    } catch (cause) {
      if (found.fd !== undefined) await this.#calls.close(found.fd);
      throw cause;
    }
    if (found.fd !== undefined) await this.#calls.close(found.fd);
    return undefined;
  }

  async #isStill(key: string, found: Found): Promise<boolean> {
    if (!this.#site.isPrepared) return true;
    const now = await this.#places.locate(key);
    return now !== undefined && markOf(now.stat) === markOf(found.stat);
  }

  /** Putting back what a crash left aside is a write, even when only a reader finds it. */
  async #settle(fullKey: string, signal: AbortSignal): Promise<void> {
    await this.#startWriting();
    await this.#commits.settle(fullKey, signal);
  }

  async #startWriting(): Promise<void> {
    this.#started ??= this.#start();
    try {
      await this.#started;
    } catch (cause) {
      this.#started = undefined;
      throw cause;
    }
    await this.#site.verify();
  }

  async #start(): Promise<void> {
    await this.#site.prepare();
    await this.#locks.start();
    await this.#commits.mendAll(new AbortController().signal);
    await discardOrphans(this.#site, this.#calls, this.#locks.ownerId);
  }

  /** What a dead process left: names it had taken away, drafts, replaced bodies. */
  async #mend(dead: Owner): Promise<void> {
    await this.#commits.mendOf(dead.id);
    await this.#retired.mend(dead.id);
    await discardDraftsOf(this.#site, this.#calls, dead.id);
  }

  async #writeDraft(body: Uint8Array): Promise<Draft> {
    const path = this.#draftPath();
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

  async #dropDraft(draft: Draft): Promise<Conflict> {
    await unless(['ENOENT'], this.#calls.unlink(draft.path));
    return { kind: 'conflict' };
  }

  #draftPath(): string {
    return this.#site.own('tmp', `${this.#locks.ownerId}.${this.#drafts++}`);
  }

  #fullKey(key: string): string {
    const bytes = Buffer.byteLength(key);
    if (key.length === 0 || !key.isWellFormed() || bytes > maxKeyBytes) {
      throw new StoreFailure(
        'invalid',
        `a key must be valid Unicode of 1 to ${maxKeyBytes} bytes in UTF-8; this one has ${bytes}`,
      );
    }
    return this.#prefix + key;
  }

  #demand(verb: 'create' | 'replace' | 'complete' | 'remove', condition: Condition): void {
    if (this.capabilities[verb] !== 'none') return;
    throw new StoreFailure(
      'unsupported',
      `the folder ${this.#site.root} cannot promise "${verb}" on the condition "${condition.kind}"`,
    );
  }
}

const allConditional: Capabilities = {
  create: 'conditional',
  replace: 'conditional',
  complete: 'conditional',
  remove: 'conditional',
  tags: true,
  tokenIsContentDigest: false,
};

async function* translatedPages<T>(
  doing: string,
  signal: AbortSignal,
  pages: AsyncGenerator<T>,
): AsyncGenerator<T> {
  try {
    for (;;) {
      const answer = await translated(doing, signal, () => pages.next());
      if (answer.done) return;
      yield answer.value;
    }
  } finally {
    await pages.return(undefined);
  }
}

function shown(key: string): string {
  return JSON.stringify(key);
}
