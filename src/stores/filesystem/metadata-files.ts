import { createHash } from 'node:crypto';
import { StoreFailure } from '../../model/failure.ts';
import type { ObjectMetadata } from '../../model/metadata.ts';
import { type FileCalls, unless } from './calls.ts';
import type { SiteFolder } from './site-folder.ts';

/** What one metadata file holds: the newest body first, then the one that it replaces. */
interface MetadataRecord {
  readonly key: string;
  readonly bodies: readonly { readonly mark: string; readonly metadata: ObjectMetadata }[];
}

/** SHA-256 of the key in hex: fit for a name on every disk. */
export function hashOf(key: string): string {
  return createHash('sha256').update(key).digest('hex');
}

/**
 * Metadata stand beside the bodies in files of their own, one per key. Each entry names its body by ino, size
 * and mtime, and is durable before the body gets its name. The entry of the replaced body stays, so that
 * either pair is whole at every instant; and a file that somebody else put there matches neither.
 */
export class MetadataFiles {
  readonly #site: SiteFolder;
  readonly #calls: FileCalls;
  readonly #draftPath: () => string;

  constructor(site: SiteFolder, calls: FileCalls, draftPath: () => string) {
    this.#site = site;
    this.#calls = calls;
    this.#draftPath = draftPath;
  }

  /** The metadata of the body with this mark; undefined when none are known of it. */
  async read(key: string, mark: string): Promise<ObjectMetadata | undefined> {
    if (!this.#site.isPrepared) return undefined;
    const record = await this.#readRecord(key);
    return record?.bodies.find((body) => body.mark === mark)?.metadata;
  }

  /** Durable when it resolves. `replaced` names the body that the new one is going to replace. */
  async write(
    key: string,
    mark: string,
    metadata: ObjectMetadata,
    replaced: string | undefined,
  ): Promise<void> {
    if (isEmpty(metadata)) return;
    const kept = replaced === undefined ? [] : await this.#entriesOf(key, replaced);
    const record: MetadataRecord = { key, bodies: [{ mark, metadata }, ...kept] };
    const draft = this.#draftPath();
    try {
      await this.#site.writeFile(draft, Buffer.from(JSON.stringify(record)));
      await this.#putInPlace(draft, hashOf(key));
    } catch (cause) {
      await unless(['ENOENT'], this.#calls.unlink(draft)).catch(() => undefined);
      throw cause;
    }
  }

  /** After the body is gone. Not made durable: an entry without its body means nothing. */
  async forget(key: string): Promise<void> {
    await unless(['ENOENT'], this.#calls.unlink(this.#pathOf(hashOf(key))));
  }

  async #entriesOf(key: string, mark: string): Promise<MetadataRecord['bodies']> {
    const bytes = await unless(['ENOENT'], this.#calls.readFile(this.#pathOf(hashOf(key))));
    const record = bytes === undefined ? undefined : parsed(bytes);
    return record?.bodies.filter((body) => body.mark === mark) ?? [];
  }

  async #readRecord(key: string): Promise<MetadataRecord | undefined> {
    const path = this.#pathOf(hashOf(key));
    const bytes = await unless(['ENOENT'], this.#calls.readFile(path));
    if (bytes === undefined) return undefined;
    const record = parsed(bytes);
    if (record?.key === key) return record;
    throw new StoreFailure(
      'corrupt',
      `the metadata file ${path} of ${JSON.stringify(key)} is damaged; restore it, or delete it to go on without`,
    );
  }

  async #putInPlace(draft: string, hash: string): Promise<void> {
    await this.#calls.rename(draft, this.#pathOf(hash));
    await this.#site.syncPath(this.#site.own('meta', hash.slice(0, 1)));
  }

  #pathOf(hash: string): string {
    return this.#site.own('meta', hash.slice(0, 1), `${hash}.json`);
  }
}

function isEmpty(metadata: ObjectMetadata): boolean {
  const { user, tags, ...fields } = metadata;
  return [user, tags, fields].every((group) => Object.keys(group).length === 0);
}

function parsed(bytes: Buffer): MetadataRecord | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is MetadataRecord {
  if (typeof value !== 'object' || value === null) return false;
  return 'key' in value && typeof value.key === 'string' && 'bodies' in value && Array.isArray(value.bodies);
}
