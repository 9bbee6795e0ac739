import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { StoreFailure } from '../../model/failure.ts';
import type {
  PartReceipt,
  Upload,
  UploadEntry,
  UploadPart,
  UploadRequest,
} from '../../ports/object-store.ts';
import { discard, type FileCalls, unless } from './calls.ts';
import type { Draft } from './commit.ts';
import { newFile, type SiteFolder } from './site-folder.ts';

const existingFile = constants.O_RDWR | (constants.O_NOFOLLOW ?? 0);
const pageSize = 500;

interface StartedUpload {
  readonly key: string;
  readonly size: number;
  readonly partSizeBytes: number;
  readonly startedMs: number;
}

/**
 * An upload is a folder of its own with one sparse file, into which every part is written where it belongs: the
 * finished body gets its name and is never copied.
 */
export class Uploads {
  readonly #site: SiteFolder;
  readonly #calls: FileCalls;
  readonly #draftPath: () => string;

  constructor(site: SiteFolder, calls: FileCalls, draftPath: () => string) {
    this.#site = site;
    this.#calls = calls;
    this.#draftPath = draftPath;
  }

  /** The id of a new upload. `key` is the full one. */
  async start(key: string, request: UploadRequest): Promise<string> {
    const id = randomBytes(16).toString('hex');
    const started: StartedUpload = {
      key,
      size: request.size,
      partSizeBytes: request.partSizeBytes,
      startedMs: Date.now(),
    };
    // Made aside and renamed: whatever stands below `uploads/` is whole.
    const draft = this.#draftPath();
    await this.#calls.mkdir(draft);
    await this.#site.writeFile(`${draft}/request.json`, Buffer.from(JSON.stringify(started)));
    const fd = await this.#calls.open(`${draft}/body`, newFile);
    try {
      await this.#calls.truncate(fd, request.size);
      await this.#calls.sync(fd);
    } finally {
      await this.#calls.close(fd);
    }
    await this.#site.syncPath(draft);
    await this.#calls.rename(draft, this.#site.own('uploads', id));
    await this.#site.syncPath(this.#site.own('uploads'));
    return id;
  }

  async writePart(upload: Upload, part: UploadPart): Promise<PartReceipt> {
    const expected = partLength(upload, part.index);
    if (part.bytes.length !== expected) {
      throw new StoreFailure(
        'invalid',
        `part ${part.index} of ${JSON.stringify(upload.key)} has ${part.bytes.length} bytes and should have ${expected}`,
      );
    }
    const fd = await this.#openBody(upload);
    try {
      await this.#calls.write(fd, part.bytes, part.index * upload.partSizeBytes);
      await this.#calls.syncData(fd);
    } finally {
      await this.#calls.close(fd);
    }
    return receiptOf(part.index, expected);
  }

  /** The finished body, durable; its `fd` must be closed. */
  async finish(upload: Upload, receipts: readonly PartReceipt[]): Promise<Draft> {
    const count = Math.ceil(upload.size / upload.partSizeBytes);
    const missing = Array.from({ length: count }, (_, index) => index).find(
      (index) => receipts[index] !== receiptOf(index, partLength(upload, index)),
    );
    if (missing !== undefined) throw lost(upload, `part ${missing} was not written`);
    const fd = await this.#openBody(upload);
    try {
      await this.#calls.sync(fd);
      return { path: this.#bodyPath(upload.id), fd };
    } catch (cause) {
      await this.#calls.close(fd);
      throw cause;
    }
  }

  /** After the body has its name, or when it is given up. Nothing to do is fine. */
  async remove(id: string): Promise<void> {
    if (!isId(id)) return;
    const draft = this.#draftPath();
    const moved = await unless(
      ['ENOENT'],
      this.#calls.rename(this.#site.own('uploads', id), draft).then(() => true),
    );
    if (moved) await discard(this.#calls, draft);
  }

  /** `prefix` is taken from the keys; uploads to other keys are not listed. */
  async *list(prefix: string): AsyncGenerator<readonly UploadEntry[]> {
    if (!this.#site.isPrepared) return;
    const { entries } = await this.#calls.names(this.#site.own('uploads'));
    let page: UploadEntry[] = [];
    for (const id of entries.sort().map((name) => name.slice(0, -1))) {
      const started = await this.#started(id);
      if (!started?.key.startsWith(prefix)) continue;
      page.push({ upload: { id, key: started.key.slice(prefix.length) }, startedMs: started.startedMs });
      if (page.length < pageSize) continue;
      yield page;
      page = [];
    }
    if (page.length > 0) yield page;
  }

  /** Undefined when it was ended meanwhile. */
  async #started(id: string): Promise<StartedUpload | undefined> {
    const bytes = await unless(['ENOENT', 'ENOTDIR'], this.#calls.readFile(this.#requestPath(id)));
    try {
      return bytes && (JSON.parse(bytes.toString('utf8')) as StartedUpload);
    } catch {
      return undefined;
    }
  }

  async #openBody(upload: Upload): Promise<number> {
    const path = isId(upload.id) ? this.#bodyPath(upload.id) : undefined;
    const fd = path && (await unless(['ENOENT', 'ENOTDIR'], this.#calls.open(path, existingFile)));
    if (fd === undefined || fd === '') throw lost(upload, 'it was completed, aborted or deleted');
    try {
      const stat = await this.#calls.fstat(fd);
      // A crash between naming the body and tidying up: the file is the object by now, and must not be touched.
      if (stat.nlink > 1n) throw lost(upload, 'it was completed');
      if (stat.size !== BigInt(upload.size)) throw lost(upload, 'its file has another size');
      return fd;
    } catch (cause) {
      await this.#calls.close(fd);
      throw cause;
    }
  }

  #bodyPath(id: string): string {
    return this.#site.own('uploads', id, 'body');
  }

  #requestPath(id: string): string {
    return this.#site.own('uploads', id, 'request.json');
  }
}

/** Ids come back from the ledger: nothing else may become a path. */
function isId(id: string): boolean {
  return /^[0-9a-f]{32}$/.test(id);
}

function partLength(upload: UploadRequest, index: number): number {
  return Math.max(0, Math.min(upload.partSizeBytes, upload.size - index * upload.partSizeBytes));
}

function receiptOf(index: number, length: number): PartReceipt {
  return `${index}:${length}`;
}

function lost(upload: Pick<Upload, 'key'>, why: string): StoreFailure {
  return new StoreFailure(
    'upload-lost',
    `the upload of ${JSON.stringify(upload.key)} cannot go on: ${why}; start again`,
  );
}
