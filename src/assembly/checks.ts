import type { SiteConfig } from '../config/sites.ts';
import { StoreFailure } from '../model/failure.ts';
import type { ObjectMetadata } from '../model/metadata.ts';
import type { SiteId } from '../model/version.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import type { World } from '../ports/world.ts';
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
  denied:
    'give the credentials the permission named above; docs/permissions.md lists the least that each cloud needs',
  misplaced:
    'create the bucket, container or folder, or correct its name, region and endpoint in the configuration',
  full: 'free space or raise the quota',
};

/** Slower or faster by more than this, and last-writer-wins between native writes goes wrong. */
const mostSkewMs = 5_000;

/** Tries everything that replication needs of one site, in order; what fails early skips what rests on it. */
export async function checkSite(
  site: SiteId,
  config: SiteConfig,
  world: World,
  report: (check: SiteCheck) => void,
  signal: AbortSignal,
): Promise<void> {
  const store = await openStore(config);
  const tell = (check: string, status: SiteCheck['status'], detail: string, remedy?: string) =>
    report({ site, check, status, detail, ...(remedy === undefined ? {} : { remedy }) });
  const tryTo = async (check: string, action: () => Promise<string>): Promise<boolean> => {
    try {
      tell(check, 'ok', await action());
      return true;
    } catch (failure) {
      signal.throwIfAborted();
      const code = failure instanceof StoreFailure ? failure.code : 'unavailable';
      tell(check, 'failed', failure instanceof Error ? failure.message : String(failure), remedies[code]);
      return false;
    }
  };
  try {
    const listed = await tryTo('list', () => canList(store, signal));
    if (!listed)
      return skipRest(tell, ['write', 'read', 'metadata', 'conditions', 'uploads', 'delete', 'clock']);
    const probe = new SiteProbe(store, world, signal);
    if (!(await tryTo('write', () => probe.write()))) {
      return skipRest(tell, ['read', 'metadata', 'conditions', 'uploads', 'delete', 'clock']);
    }
    await tryTo('read', () => probe.read());
    tell(...probe.metadata());
    tell(...probe.clock());
    await tryTo('uploads', () => probe.uploads());
    await tryTo('delete', () => probe.remove());
    await checkConditions(store, world, config, tell, signal);
  } finally {
    await store.close();
  }
}

type Tell = (check: string, status: SiteCheck['status'], detail: string, remedy?: string) => void;

function skipRest(tell: Tell, checks: readonly string[]): void {
  for (const check of checks) tell(check, 'skipped', 'an earlier check failed');
}

async function canList(store: ObjectStore, signal: AbortSignal): Promise<string> {
  for await (const page of store.list({ pageSize: 1 }, signal)) {
    return page.length > 0
      ? 'reachable, credentials accepted, listing allowed'
      : 'reachable, listing allowed; the site is empty';
  }
  return 'reachable, credentials accepted, listing allowed; the site is empty';
}

const sample: ObjectMetadata = {
  contentType: 'text/plain',
  cacheControl: 'no-cache',
  user: { isobar: 'probe', note: 'Grüße' },
  tags: { purpose: 'isobar doctor' },
};

/** One small object, taken through everything. */
class SiteProbe {
  readonly #store: ObjectStore;
  readonly #world: World;
  readonly #signal: AbortSignal;
  readonly #key: string;
  #metadataBack: ObjectMetadata | undefined;
  #skewMs = 0;

  constructor(store: ObjectStore, world: World, signal: AbortSignal) {
    this.#store = store;
    this.#world = world;
    this.#signal = signal;
    this.#key = `.isobar/probe/${world.uniqueId()}`;
  }

  async write(): Promise<string> {
    const request = {
      key: this.#key,
      body: Buffer.from('isobar'),
      metadata: sample,
      condition: { kind: 'absent' },
    } as const;
    await this.#store.write(request, this.#signal);
    return 'objects can be written';
  }

  async read(): Promise<string> {
    const read = await this.#store.read(this.#key, {}, this.#signal);
    const text = read && Buffer.from(await read.bytes()).toString();
    if (!read || text !== 'isobar') throw new StoreFailure('corrupt', 'what was written does not read back');
    this.#metadataBack = read.head.metadata;
    this.#skewMs = read.head.lastModifiedMs - this.#world.nowMs();
    return 'objects can be read';
  }

  metadata(): [string, SiteCheck['status'], string, string?] {
    const back = this.#metadataBack;
    const lost = back ? lostFields(sample, back) : ['everything'];
    if (lost.length === 0)
      return ['metadata', 'ok', 'content type, user metadata and tags come back as written'];
    const remedy =
      'check that the credentials may read and write tags; a compatible server may not keep them at all';
    return [
      'metadata',
      lost.includes('isobar') ? 'failed' : 'warning',
      `does not come back: ${lost.join(', ')}`,
      remedy,
    ];
  }

  clock(): [string, SiteCheck['status'], string, string?] {
    const seconds = (this.#skewMs / 1000).toFixed(1);
    if (Math.abs(this.#skewMs) <= mostSkewMs)
      return ['clock', 'ok', `within ${mostSkewMs / 1000} s of this machine's`];
    return [
      'clock',
      'warning',
      `${seconds} s off this machine's`,
      'synchronise the clock of this machine (NTP): it orders concurrent writes',
    ];
  }

  async uploads(): Promise<string> {
    const { minPartBytes: partSizeBytes } = this.#store.limits;
    const request = { key: this.#key, size: 1, partSizeBytes, metadata: sample };
    const upload = await this.#store.startUpload(request, this.#signal);
    await this.#store.writePart(upload, { index: 0, bytes: Buffer.from('x') }, this.#signal);
    for await (const _ of this.#store.listUploads(this.#signal)) break;
    await this.#store.abortUpload(upload, this.#signal);
    return 'uploads in parts can be begun, listed and aborted';
  }

  async remove(): Promise<string> {
    const head = await this.#store.head(this.#key, this.#signal);
    if (head) await this.#store.remove(this.#key, head.token, this.#signal);
    return 'objects can be deleted';
  }
}

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
