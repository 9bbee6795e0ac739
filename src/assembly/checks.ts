import type { SiteConfig } from '../config/sites.ts';
import { StoreFailure } from '../model/failure.ts';
import { noMetadata, type ObjectMetadata } from '../model/metadata.ts';
import type { SiteId } from '../model/version.ts';
import type { ObjectHead, ObjectStore, Token } from '../ports/object-store.ts';
import type { World } from '../ports/world.ts';
import { type Deed, remedyOfRefusal } from './permissions.ts';
import { probeCapabilities } from './probe.ts';
import { openStore } from './stores.ts';

export interface SiteCheck {
  readonly site: SiteId;
  readonly check: string;
  readonly status: 'ok' | 'warning' | 'failed' | 'skipped';
  readonly detail: string;
  readonly remedy?: string;
}

const remedies: Record<string, string> = {
  unavailable: 'check the endpoint, the network and the proxy, then run doctor again',
  throttled: 'the site asks for fewer requests: lower limits.concurrency of the site',
  misplaced:
    'create the bucket, container or folder, or correct its name, region and endpoint in the configuration',
  full: 'free space or raise the quota',
};

/** Slower or faster by more than this, and last-writer-wins between native writes goes wrong. */
const mostSkewMs = 5_000;

type Tell = (check: string, status: SiteCheck['status'], detail: string, remedy?: string) => void;
type Finding = readonly [status: 'ok' | 'warning' | 'failed', detail: string, remedy?: string];

/** Tries everything that replication needs of one site, in order; what fails early skips what rests on it. */
export async function checkSite(
  site: SiteId,
  config: SiteConfig,
  world: World,
  report: (check: SiteCheck) => void,
  signal: AbortSignal,
): Promise<void> {
  const store = await openStore(config);
  const probe = new SiteProbe(store, world, signal);
  const tell: Tell = (check, status, detail, remedy) =>
    report({ site, check, status, detail, ...(remedy === undefined ? {} : { remedy }) });
  const tryTo = async (check: string, action: () => Promise<Finding>): Promise<boolean> => {
    try {
      tell(check, ...(await action()));
      return true;
    } catch (failure) {
      signal.throwIfAborted();
      const code = failure instanceof StoreFailure ? failure.code : 'unavailable';
      const remedy = code === 'denied' ? remedyOfRefusal(config.kind, probe.deed) : remedies[code];
      tell(check, 'failed', failure instanceof Error ? failure.message : String(failure), remedy);
      return false;
    }
  };
  const skip = (...checks: readonly string[]) => {
    for (const check of checks) tell(check, 'skipped', 'an earlier check failed');
  };
  try {
    if (!(await tryTo('list', () => probe.list())))
      return skip('write', 'read', 'clock', 'metadata', 'uploads', 'delete', 'conditions');
    if (!(await tryTo('write', () => probe.write())))
      return skip('read', 'clock', 'metadata', 'uploads', 'delete', 'conditions');
    const readable = await tryTo('read', () => probe.read());
    if (readable) tell('clock', ...probe.clock());
    else skip('clock', 'metadata');
    const rest = [
      readable && (await tryTo('metadata', () => probe.metadata())),
      await tryTo('uploads', () => probe.uploads()),
      await tryTo('delete', () => probe.remove()),
    ];
    if (rest.every(Boolean)) await checkConditions(store, world, config, tell, signal);
    else skip('conditions');
  } finally {
    await probe.clean();
    await store.close();
  }
}

const sample: ObjectMetadata = {
  contentType: 'text/plain',
  cacheControl: 'no-cache',
  user: { isobar: 'probe', note: 'Grüße' },
  tags: { purpose: 'isobar doctor' },
};

/** Two small objects, one plain and one with all there is to keep, taken through everything. */
class SiteProbe {
  readonly #store: ObjectStore;
  readonly #world: World;
  readonly #signal: AbortSignal;
  readonly #key: string;
  readonly #written = new Map<string, Token>();
  #skewMs = 0;
  /** What was tried last: a refusal is of that. */
  deed: Deed = 'list';

  constructor(store: ObjectStore, world: World, signal: AbortSignal) {
    this.#store = store;
    this.#world = world;
    this.#signal = signal;
    this.#key = `.isobar/probe/${world.uniqueId()}`;
  }

  async list(): Promise<Finding> {
    this.deed = 'list';
    for await (const page of this.#store.list({ pageSize: 1 }, this.#signal)) {
      if (page.length > 0) return ['ok', 'reachable, credentials accepted, listing allowed'];
    }
    return ['ok', 'reachable, credentials accepted, listing allowed; the site is empty'];
  }

  async write(): Promise<Finding> {
    this.deed = 'write';
    await this.#write(this.#key, noMetadata);
    return ['ok', 'objects can be written'];
  }

  async read(): Promise<Finding> {
    this.deed = 'read';
    const { lastModifiedMs } = await this.#read(this.#key);
    this.#skewMs = lastModifiedMs - this.#world.nowMs();
    return ['ok', 'objects can be read'];
  }

  clock(): Finding {
    const seconds = (this.#skewMs / 1000).toFixed(1);
    if (Math.abs(this.#skewMs) <= mostSkewMs)
      return ['ok', `within ${mostSkewMs / 1000} s of this machine's`];
    const remedy = 'synchronise the clock of this machine (NTP): it orders concurrent writes';
    return ['warning', `${seconds} s off this machine's`, remedy];
  }

  async metadata(): Promise<Finding> {
    const key = `${this.#key}-tagged`;
    this.deed = 'tag';
    await this.#write(key, sample);
    this.deed = 'read-tags';
    const lost = lostFields(sample, (await this.#read(key)).metadata);
    if (lost.length === 0) return ['ok', 'content type, user metadata and tags come back as written'];
    const status = lost.includes('isobar') ? 'failed' : 'warning';
    return [status, `does not come back: ${lost.join(', ')}`, 'a compatible server may not keep them at all'];
  }

  async uploads(): Promise<Finding> {
    const { minPartBytes: partSizeBytes } = this.#store.limits;
    const request = { key: `${this.#key}-parts`, size: 1, partSizeBytes, metadata: noMetadata };
    this.deed = 'write';
    const upload = await this.#store.startUpload(request, this.#signal);
    await this.#store.writePart(upload, { index: 0, bytes: Buffer.from('x') }, this.#signal);
    this.deed = 'abort-upload';
    await this.#store.abortUpload(upload, this.#signal);
    this.deed = 'list-uploads';
    for await (const _ of this.#store.listUploads(this.#signal)) break;
    return ['ok', 'uploads in parts can be begun, aborted and listed'];
  }

  async remove(): Promise<Finding> {
    this.deed = 'delete';
    for (const [key, token] of this.#written) {
      await this.#store.remove(key, token, this.#signal);
      this.#written.delete(key);
    }
    return ['ok', 'objects can be deleted'];
  }

  /** After a failure; what may not be deleted stays, and nobody minds a few bytes below `.isobar/probe/`. */
  async clean(): Promise<void> {
    await this.remove().catch(() => {});
  }

  async #write(key: string, metadata: ObjectMetadata): Promise<void> {
    const condition = { kind: 'absent' } as const;
    const done = await this.#store.write({ key, body, metadata, condition }, this.#signal);
    if (done.kind === 'written') this.#written.set(key, done.token);
  }

  async #read(key: string): Promise<ObjectHead> {
    const read = await this.#store.read(key, {}, this.#signal);
    const same = read && body.equals(await read.bytes());
    if (!same) throw new StoreFailure('corrupt', 'what was written does not read back');
    return read.head;
  }
}

const body = Buffer.from('isobar');

function lostFields(wrote: ObjectMetadata, back: ObjectMetadata): string[] {
  const lost: string[] = [];
  if (wrote.contentType !== back.contentType) lost.push('content type');
  if (wrote.cacheControl !== back.cacheControl) lost.push('cache control');
  for (const [name, value] of Object.entries(wrote.user)) if (back.user[name] !== value) lost.push(name);
  for (const [name, value] of Object.entries(wrote.tags))
    if (back.tags[name] !== value) lost.push(`tag ${name}`);
  return lost;
}

async function checkConditions(
  store: ObjectStore,
  world: World,
  config: SiteConfig,
  tell: Tell,
  signal: AbortSignal,
): Promise<void> {
  try {
    const found = await probeCapabilities(store, world, signal);
    const verbs = [
      ['create-condition', found.create, 'overwrite-without-condition'],
      ['replace-condition', found.replace, 'overwrite-without-condition'],
      ['upload-condition', found.complete, 'overwrite-without-condition'],
      ['delete-condition', found.remove, 'delete-without-condition'],
    ] as const;
    for (const [check, assurance, risk] of verbs) {
      if (assurance !== 'none') tell(check, 'ok', 'honoured');
      else if (config.accept.includes(risk))
        tell(check, 'warning', `ignored by this server; "${risk}" is accepted`);
      else {
        const remedy = `such changes are parked. Use a server that honours conditions, or accept the risk: accept: [${risk}]`;
        tell(check, 'failed', 'ignored by this server: a late writer could overwrite newer data', remedy);
      }
    }
    const note =
      'equal bodies share an ETag here: a native overwrite by the same bytes is told only by its time; no loss with bucket versioning';
    tell('token', 'ok', found.tokenIsContentDigest ? note : 'every write has a token of its own');
  } catch (failure) {
    signal.throwIfAborted();
    tell('conditions', 'failed', failure instanceof Error ? failure.message : String(failure));
  }
}
