import { entryOn } from '../../model/entry.ts';
import { keyHash, reservedPrefix } from '../../model/key.ts';
import type { ObjectMetadata } from '../../model/metadata.ts';
import type { SiteId, Version } from '../../model/version.ts';
import type { Token } from '../../ports/object-store.ts';
import type { MemoryBucket, StoredObject } from '../../stores/memory/memory-bucket.ts';
import { damagedId, idsInMerge } from './bodies.ts';

/** One thing that a user did to a key: a body that stands nowhere else, or a deletion. */
export interface Act {
  readonly id: string;
  readonly key: string;
  readonly kind: 'put' | 'rm' | 'native-put' | 'native-rm';
  /** Absent for deletions. */
  readonly body?: string;
  acknowledged: boolean;
  /** Its user was told that it failed, or nothing: it may take effect at any time. */
  failed: boolean;
  /** Its user still waits: it may take effect once more. */
  open: boolean;
  /** Another act on the key was under way at the same time. */
  mingled: boolean;
  /** When it took effect, another act on the key through Isobar was under way, and may rightly be ordered after it. */
  overlapped: boolean;
}

/** One act took effect, or was asked for, at a site right on top of another: whoever made it had that before him. */
export interface Edge {
  readonly site: SiteId;
  readonly key: string;
  readonly from: string;
  readonly to: string;
  /** Only asked for, or `from` was being made still, or made natively and nobody can know on top of what. */
  readonly loose: boolean;
}

type Made = Pick<Version, 'dot' | 'operation'>;

/**
 * What the users did and what stood where, seen at the buckets themselves; it knows nothing of the engine but the public
 * form of the metadata entry and of tombstones.
 */
export class History {
  readonly acts = new Map<string, Act>();
  readonly violations: string[] = [];
  /** Nothing is under way but what users do now. */
  resting = false;
  /** Acts whose body stood at some site. */
  readonly effective = new Set<string>();
  readonly #placed = new Map<string, Set<SiteId>>();
  readonly #bodies = new Map<string, string>();
  readonly #buckets: ReadonlyMap<SiteId, MemoryBucket>;
  readonly #trace: (line: string) => void;
  /** The token that the ledger knows of a key at a site. */
  readonly #known: (site: SiteId, key: string) => Token | undefined;
  /** Whose bodies an object held, by site and token. */
  readonly #tokens = new Map<string, readonly string[]>();
  #edges: Edge[] = [];
  /** The native deletion or write that is being carried out. */
  #native: Act | undefined;
  #takingBack = false;

  constructor(
    buckets: ReadonlyMap<SiteId, MemoryBucket>,
    known: (site: SiteId, key: string) => Token | undefined,
    trace: (line: string) => void,
  ) {
    this.#buckets = buckets;
    this.#known = known;
    this.#trace = trace;
    for (const [site, bucket] of buckets) {
      bucket.onChange = (key, before, after) => this.#changed(site, key, before, after);
    }
  }

  get sites(): readonly SiteId[] {
    return [...this.#buckets.keys()];
  }

  begin(act: Pick<Act, 'id' | 'key' | 'kind' | 'body'>): Act {
    const others = [...this.acts.values()].filter(({ key, open }) => key === act.key && open);
    for (const other of others) other.mingled = true;
    const mingled = others.length > 0;
    const begun = { ...act, acknowledged: false, failed: false, open: true, mingled, overlapped: false };
    this.acts.set(act.id, begun);
    if (act.body !== undefined) this.#bodies.set(act.body, act.id);
    return begun;
  }

  /** Runs a native client's own request: what changes meanwhile is its doing. */
  natively<T>(act: Act, work: () => T): T {
    this.#native = act;
    try {
      return work();
    } finally {
      this.#native = undefined;
    }
  }

  /** A site loses power: what it takes back never happened. */
  takingBack(work: () => void): void {
    this.#takingBack = true;
    work();
    this.#takingBack = false;
  }

  /** A conditional request of Isobar's own set out from a site's very state: a user's act on top of it, if not a copy. */
  asked(site: SiteId, key: string, token: Token, metadata: ObjectMetadata | undefined): void {
    if (key.startsWith(reservedPrefix) || !this.#isUnderWay(key)) return;
    const made = metadata ? entryOn(key, metadata)?.version : this.#tombstoneAt(site, key);
    if (made?.dot.site === site)
      this.#onTopOf(site, key, this.#tokens.get(`${site} ${token}`), made.operation);
  }

  /** A deletion was asked for at a site, on top of what the ledger knew there; its removal may never have set out. */
  buried(site: SiteId, body: Uint8Array): void {
    const { key, version } = JSON.parse(Buffer.from(body).toString()) as { key: string; version: Made };
    const known = version.dot.site === site ? this.#known(site, key) : undefined;
    if (known !== undefined)
      this.#onTopOf(site, key, this.#tokens.get(`${site} ${known}`), version.operation);
  }

  violate(what: string): void {
    this.#trace(`VIOLATION ${what}`);
    this.violations.push(what);
  }

  /** The acts whose bodies this is, or that it is nobody's. */
  idsOf(body: Uint8Array): readonly string[] {
    const text = Buffer.from(body).toString();
    const id = this.#bodies.get(text);
    if (id !== undefined) return [id];
    const merged = idsInMerge(text);
    return merged?.every((one) => this.acts.has(one)) ? merged : [damagedId];
  }

  /** Somebody made `id` or wrote over it, having it before him. */
  overwritten(id: string): boolean {
    return this.#edges.some((edge) => edge.from === id);
  }

  /** The same, and nothing excuses that it is there again. */
  surelyOverwritten(id: string): boolean {
    return this.#edges.some((edge) => edge.from === id && !edge.loose);
  }

  /** Where an act's body has stood. */
  sitesOf(id: string): number {
    return this.#placed.get(id)?.size ?? 0;
  }

  /** Acts whose bodies are kept below `.isobar/losers/` at any site. */
  kept(): Set<string> {
    const kept = new Set<string>();
    for (const bucket of this.#buckets.values()) {
      for (const { key, body } of bucket.objects(`${reservedPrefix}losers/`)) {
        if (!key.startsWith(`${reservedPrefix}losers/`)) break;
        for (const id of this.idsOf(body)) kept.add(id);
      }
    }
    return kept;
  }

  /** What users find at a site: by key, whose body, and all that was set beside it. */
  contents(site: SiteId): Map<string, { readonly ids: readonly string[]; readonly all: string }> {
    const found = new Map<string, { ids: readonly string[]; all: string }>();
    for (const { key, body, metadata, etag } of this.#buckets.get(site)!.objects()) {
      if (key.startsWith(reservedPrefix)) continue;
      const { user, ...rest } = metadata;
      const { isobar: _, ...own } = user;
      found.set(key, { ids: this.idsOf(body), all: JSON.stringify([etag, own, rest]) });
    }
    return found;
  }

  #changed(
    site: SiteId,
    key: string,
    before: StoredObject | undefined,
    after: StoredObject | undefined,
  ): void {
    if (key.startsWith(reservedPrefix)) return;
    const from = before && this.idsOf(before.body);
    const to = after && this.idsOf(after.body);
    this.#trace(`${key} @${site}: ${from ?? 'nothing'} -> ${to ?? 'nothing'}`);
    if (this.#takingBack) {
      this.#takeBack(site, key, to ?? []);
      return;
    }
    if (before && from && this.#known(site, key) !== String(before.generation)) this.#loosen(site, from);
    const made = this.#madeHere(site, key, after);
    for (const id of to ?? []) this.#takesEffect(id, site);
    if (to) this.#tokens.set(`${site} ${after!.generation}`, to);
    if (made !== undefined) {
      const isNews = this.#native !== undefined && !this.#isSeen(site, key, before, this.#native);
      for (const id of from ?? []) {
        const loose = isNews || (this.acts.get(id)?.open ?? false);
        if (id !== made) this.#edges.push({ site, key, from: id, to: made, loose });
      }
      return;
    }
    // A copy that was under way when the key was deleted may still land; it must be gone in the end.
    if (from === undefined || to?.length !== 1 || to[0] === damagedId) return;
    if (this.#edges.some((edge) => edge.site === site && edge.from === to[0] && !edge.loose))
      this.violate(`${key} at ${site} went back to ${to[0]}, which had been overwritten there`);
  }

  #takeBack(site: SiteId, key: string, to: readonly string[]): void {
    for (const id of to) {
      const undone = this.#edges.findLastIndex(
        (one) => one.site === site && one.key === key && one.from === id,
      );
      if (undone >= 0) this.#edges.splice(undone, 1);
    }
  }

  #onTopOf(site: SiteId, key: string, below: readonly string[] | undefined, operation: string): void {
    const to = `asked for ${operation}`;
    for (const from of below ?? []) this.#edges.push({ site, key, from, to, loose: true });
  }

  /** It is gone before anybody saw it: what it was made on top of may rightly come back. */
  #loosen(site: SiteId, gone: readonly string[]): void {
    const isNative = (id: string) => gone.includes(id) && this.acts.get(id)?.kind.startsWith('native');
    this.#edges = this.#edges.map((edge) =>
      edge.site === site && isNative(edge.to) ? { ...edge, loose: true } : edge,
    );
  }

  #takesEffect(id: string, site: SiteId): void {
    this.#placed.set(id, (this.#placed.get(id) ?? new Set()).add(site));
    const act = this.acts.get(id);
    if (!act || this.effective.has(id)) return;
    this.effective.add(id);
    for (const other of this.acts.values()) {
      if (other !== act && other.key === act.key && other.open && !other.kind.startsWith('native'))
        act.overlapped = true;
    }
  }

  #isUnderWay(key: string): boolean {
    return [...this.acts.values()].some((act) => act.key === key && isMaking(act));
  }

  /** The act that did this at this very site; undefined when it was brought from another, or merged. */
  #madeHere(site: SiteId, key: string, after: StoredObject | undefined): string | undefined {
    if (this.#native) return this.#native.id;
    if (after) {
      const [id, ...others] = this.idsOf(after.body);
      const act = this.acts.get(id!);
      if (others.length > 0 || !act || !isMaking(act)) return undefined;
      return entryOn(key, after.metadata)?.version.dot.site === site ? id : undefined;
    }
    const version = this.#tombstoneAt(site, key);
    if (!version) return 'a removal without a tombstone';
    return version.dot.site === site ? `deletion ${version.operation}` : undefined;
  }

  #tombstoneAt(site: SiteId, key: string): Made | undefined {
    const tombstone = this.#buckets.get(site)!.object(`${reservedPrefix}tombstones/${keyHash(key)}`);
    return tombstone && (JSON.parse(Buffer.from(tombstone.body).toString()) as { version: Made }).version;
  }

  /** A native deletion leaves nothing to see where a copy was under way that lands after it. */
  #isSeen(site: SiteId, key: string, before: StoredObject | undefined, act: Act): boolean {
    if (act.kind === 'native-rm' && !this.resting) return false;
    return before !== undefined && this.#known(site, key) === String(before.generation);
  }
}

/** It may take effect still, or once more. */
function isMaking({ kind, open, failed }: Act): boolean {
  return !kind.startsWith('native') && (open || failed);
}
