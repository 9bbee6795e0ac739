import { createHash } from 'node:crypto';
import { StoreFailure } from '../../model/failure.ts';
import { maxKeyBytes } from '../../model/key.ts';
import type { ObjectMetadata } from '../../model/metadata.ts';
import type {
  Capabilities,
  Condition,
  Conflict,
  DriverStore,
  ListEntry,
  ListRequest,
  ObjectHead,
  ObjectRead,
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
import { boundedCalls } from './bounded-calls.ts';
import { type FileCalls, nodeCalls } from './calls.ts';
import { Commits } from './commit.ts';
import { Drafts } from './drafts.ts';
import { translated } from './failures.ts';
import { Folders } from './folders.ts';
import { demandFits, demandOneBody, demandParts, limits } from './limits.ts';
import { listing } from './listing.ts';
import { Locks } from './locks.ts';
import { Lookup } from './lookup.ts';
import { MetadataFiles } from './metadata-files.ts';
import type { Owner } from './owner.ts';
import { Places } from './places.ts';
import { type KeptFile, Retired } from './retired.ts';
import { type DiskTraits, SiteFolder } from './site-folder.ts';
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
/** One less than Node has I/O threads, unless UV_THREADPOOL_SIZE says otherwise. */
const callsAtOnce = 3;

/**
 * A folder as a store. Ordinary keys are relative paths, and files of other programs are objects.
 * Nothing is touched before the first call; a folder that is absent fails with `misplaced`, and is found again
 * when it is there. Conditions hold among all processes of Isobar that use the folder; other programs' writes are
 * never overwritten. docs/filesystem-store.md has the names, the limits and what is not promised.
 */
export function createFilesystemStore(
  config: FilesystemSiteConfig,
  options: FilesystemStoreOptions = {},
): DriverStore {
  return new FilesystemStore(config, options);
}

class FilesystemStore implements DriverStore {
  readonly limits = limits;
  capabilities: Capabilities;
  readonly #prefix: string;
  readonly #calls: FileCalls;
  readonly #site: SiteFolder;
  readonly #folders: Folders;
  readonly #places: Places;
  readonly #locks: Locks;
  readonly #drafts: Drafts;
  readonly #retired: Retired;
  readonly #commits: Commits;
  readonly #uploads: Uploads;
  readonly #lookup: Lookup;
  readonly #onSkipped: (skipped: Skipped) => void;
  #started: Promise<void> | undefined;

  constructor(config: FilesystemSiteConfig, options: FilesystemStoreOptions) {
    const calls = boundedCalls(options.calls ?? nodeCalls, callsAtOnce);
    this.capabilities = { ...allConditional, ...options.capabilities };
    this.#prefix = config.prefix ?? '';
    this.#calls = calls;
    this.#onSkipped = options.onSkipped ?? (() => undefined);
    this.#site = new SiteFolder(config.path, calls, options.traits ?? {});
    this.#folders = new Folders(this.#site, calls);
    this.#places = new Places(this.#site, this.#folders, calls);
    this.#drafts = new Drafts(this.#site, calls, () => this.#locks.ownerId);
    const newPath = () => this.#drafts.newPath();
    const metadata = new MetadataFiles(this.#site, calls, newPath);
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
      metadata,
      retired: this.#retired,
      calls,
    });
    this.#uploads = new Uploads(this.#site, calls, newPath);
    this.#lookup = new Lookup({
      site: this.#site,
      places: this.#places,
      commits: this.#commits,
      metadata,
      calls,
      settle: (key, signal) => this.#settle(key, signal),
    });
  }

  settle(found: Capabilities): void {
    this.capabilities = found;
  }

  head(key: string, signal: AbortSignal): Promise<ObjectHead | undefined> {
    return translated(`looking at ${shown(key)}`, signal, async () => {
      const found = await this.#lookup.locate(key, this.#fullKey(key), signal);
      return found?.head;
    });
  }

  read(key: string, options: ReadOptions, signal: AbortSignal): Promise<ObjectRead | undefined> {
    return translated(`reading ${shown(key)}`, signal, async () => {
      const found = await this.#lookup.open(key, this.#fullKey(key), signal);
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
      const draft = await this.#drafts.write(request.body);
      try {
        const token = await this.#commits.write(key, draft, request.metadata, request.condition, signal);
        if (token === undefined) {
          await this.#drafts.drop(draft);
          return { kind: 'conflict' };
        }
        const sha256 = request.sha256 ?? createHash('sha256').update(request.body).digest('hex');
        return { kind: 'written', token, digests: { sha256 } };
      } catch (cause) {
        await this.#drafts.drop(draft).catch(() => undefined);
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
    await this.#drafts.discardOrphans();
  }

  /** What a dead process left: names it had taken away, drafts, replaced bodies. */
  async #mend(dead: Owner): Promise<void> {
    await this.#commits.mendOf(dead.id);
    await this.#retired.mend(dead.id);
    await this.#drafts.discardOf(dead.id);
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
