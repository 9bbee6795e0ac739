import { entryOn } from '../../model/entry.ts';
import { keyHash, reservedPrefix } from '../../model/key.ts';
import type { ObjectMetadata } from '../../model/metadata.ts';
import type { SiteId, Version } from '../../model/version.ts';
import type { Token } from '../../ports/object-store.ts';
import type { MemoryBucket, StoredObject } from '../../stores/memory/memory-bucket.ts';

/** One thing that a user did to a key: a body that stands nowhere else, or a deletion. */
export interface Act {
  readonly id: string;
  readonly key: string;
  readonly kind: 'put' | 'rm' | 'native-put' | 'native-rm';
  /** Absent for deletions. */
  readonly body?: string;
  acknowledged: boolean;
  /** Its user still waits: it may take effect once more. */
  open: boolean;
  /** When it took effect, another act on the key through Isobar was under way, and may rightly be ordered after it. */
  overlapped: boolean;
}

/** One act took effect, or was asked for, at a site right on top of another: whoever made it had that before him. */
interface Edge {
  readonly site: SiteId;
  readonly key: string;
  readonly from: string;
  readonly to: string;
  /** Only asked for, or `from` was being made still, or made natively and nobody can know on top of what. */
  readonly loose: boolean;
}

type Made = Pick<Version, 'dot' | 'operation'>;

/** A body that no user wrote: damaged on the way. */
const damagedId = '?';

/**
 * What the users did and what stood where, seen at the buckets themselves: written from docs/guarantees.md, knowing
 * nothing of the engine but the public form of the metadata entry and of tombstones.
 */
export class History {
  readonly acts = new Map<string, Act>();
  readonly violations: string[] = [];
  /** Nothing is under way but what users do now. */
  resting = false;
  /** Acts whose body stood at some site. */
  readonly effective = new Set<string>();
  readonly #bodies = new Map<string, string>();
  readonly #buckets: ReadonlyMap<SiteId, MemoryBucket>;
  /** By site and token. */
  readonly #tokens = new Map<string, string>();
  #edges: Edge[] = [];
  /** The native deletion or write that is being carried out. */
  #native: Act | undefined;
  #takingBack = false;

  readonly #trace: (line: string) => void;
  /** The token that the ledger knows of a key at a site. */
  readonly #known: (site: SiteId, key: string) => Token | undefined;

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

  begin(act: Omit<Act, 'acknowledged' | 'open' | 'overlapped'>): Act {
    const begun = { ...act, acknowledged: false, open: true, overlapped: false };
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
    const from = this.#tokens.get(`${site} ${token}`);
    if (from === undefined || key.startsWith(reservedPrefix)) return;
    const made = metadata ? entryOn(key, metadata)?.version : this.#tombstoneAt(site, key);
    if (made?.dot.site !== site) return;
    const to = `asked for ${made.operation}`;
    this.#edges.push({ site, key, from, to, loose: true });
  }

  /** A deletion was asked for at a site, on top of what the ledger knew there; its removal may never have set out. */
  buried(site: SiteId, body: Uint8Array): void {
    const { key, version } = JSON.parse(Buffer.from(body).toString()) as { key: string; version: Made };
    const known = version.dot.site === site ? this.#known(site, key) : undefined;
    const from = known === undefined ? undefined : this.#tokens.get(`${site} ${known}`);
    if (from !== undefined) this.#edges.push({ site, key, from, to: version.operation, loose: true });
  }

  violate(what: string): void {
    this.#trace(`VIOLATION ${what}`);
    this.violations.push(what);
  }

  /** The act whose body this is, or that it is nobody's. */
  idOf(body: Uint8Array): string {
    return this.#bodies.get(Buffer.from(body).toString()) ?? damagedId;
  }

  /** Somebody made `id` or wrote over it, having it before him. */
  overwritten(id: string): boolean {
    return this.#edges.some((edge) => edge.from === id);
  }

  /** Bodies kept below `.isobar/losers/` at any site. */
  kept(): Set<string> {
    const kept = new Set<string>();
    for (const bucket of this.#buckets.values()) {
      for (const { key, body } of bucket.objects(`${reservedPrefix}losers/`)) {
        if (!key.startsWith(`${reservedPrefix}losers/`)) break;
        kept.add(this.idOf(body));
      }
    }
    return kept;
  }

  /** What users find at a site: by key, the body with everything that was set beside it. */
  contents(site: SiteId): Map<string, { readonly id: string; readonly beside: string }> {
    const found = new Map<string, { id: string; beside: string }>();
    for (const { key, body, metadata } of this.#buckets.get(site)!.objects()) {
      if (key.startsWith(reservedPrefix)) continue;
      const { user, ...rest } = metadata;
      const { isobar: _, ...own } = user;
      found.set(key, { id: this.idOf(body), beside: JSON.stringify([own, rest]) });
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
    const from = before && this.idOf(before.body);
    const to = after && this.idOf(after.body);
    this.#trace(`${key} @${site}: ${from ?? 'nothing'} -> ${to ?? 'nothing'}`);
    if (this.#takingBack) {
      const undone = this.#edges.findLastIndex(
        (edge) => edge.site === site && edge.key === key && edge.from === to,
      );
      if (undone >= 0) this.#edges.splice(undone, 1);
      return;
    }
    if (before && this.#known(site, key) !== String(before.generation)) this.#loosen(site, from!);
    if (to !== undefined) this.#takesEffect(to);
    if (to !== undefined) this.#tokens.set(`${site} ${after!.generation}`, to);
    const made = this.#madeHere(site, key, after);
    if (made !== undefined) {
      if (from !== undefined && from !== made) {
        const isNews = this.#native !== undefined && !this.#isSeen(site, key, before!, this.#native);
        const loose = isNews || (this.acts.get(from)?.open ?? false);
        this.#edges.push({ site, key, from, to: made, loose });
      }
      return;
    }
    // A copy that was under way when the key was deleted may still land; it must be gone in the end.
    if (from === undefined || to === undefined || to === damagedId) return;
    if (this.#edges.some((edge) => edge.site === site && edge.from === to && !edge.loose))
      this.violate(`${key} at ${site} went back to ${to}, which had been overwritten there`);
  }

  /** It is gone before anybody saw it: what it was made on top of may rightly come back. */
  #loosen(site: SiteId, to: string): void {
    if (!this.acts.get(to)?.kind.startsWith('native')) return;
    this.#edges = this.#edges.map((edge) =>
      edge.site === site && edge.to === to ? { ...edge, loose: true } : edge,
    );
  }

  #takesEffect(id: string): void {
    const act = this.acts.get(id);
    if (!act || this.effective.has(id)) return;
    this.effective.add(id);
    const { key } = act;
    for (const other of this.acts.values()) {
      if (other !== act && other.key === key && other.open && !other.kind.startsWith('native'))
        act.overlapped = true;
    }
  }

  /** The act that did this at this very site; undefined when it was brought from another. */
  #madeHere(site: SiteId, key: string, after: StoredObject | undefined): string | undefined {
    if (this.#native) return this.#native.id;
    if (after) {
      const entry = entryOn(key, after.metadata);
      return entry?.version.dot.site === site ? this.idOf(after.body) : undefined;
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
  #isSeen(site: SiteId, key: string, before: StoredObject, act: Act): boolean {
    if (act.kind === 'native-rm' && !this.resting) return false;
    return this.#known(site, key) === String(before.generation);
  }

  /** Every site shows what each of these left behind. */
  expect(acts: readonly Act[]): void {
    for (const site of this.#buckets.keys()) {
      const contents = this.contents(site);
      for (const { id, key, body } of acts) {
        const held = contents.get(key)?.id;
        if (held !== (body === undefined ? undefined : id))
          this.violate(`${site} shows ${held ?? 'nothing'} for ${key}, where ${id} was the last`);
      }
    }
  }

  /** After everything has come to rest: what docs/guarantees.md promises. */
  judge(): void {
    const sites = [...this.#buckets.keys()];
    const contents = sites.map((site) => this.contents(site));
    const keys = new Set(contents.flatMap((content) => [...content.keys()]));
    const final = new Set<string>();
    for (const key of [...keys].sort()) {
      const held = contents.map((content) => content.get(key));
      for (const one of held) if (one) final.add(one.id);
      if (new Set(held.map((one) => JSON.stringify(one))).size > 1) {
        const each = sites.map((site, i) => `${site}: ${JSON.stringify(held[i] ?? null)}`);
        this.violate(`${key} differs: ${each.join(', ')}`);
      }
    }
    const kept = this.kept();
    for (const id of final) {
      if (id === damagedId) this.violate('a body that nobody wrote stands at a site');
      else if (this.#edges.some((edge) => edge.from === id && !edge.loose))
        this.violate(`${id} came back after it had been overwritten or deleted`);
    }
    for (const { id, key, body, kind, acknowledged, overlapped } of this.acts.values()) {
      if (body === undefined) continue;
      const wasThere = this.effective.has(id);
      if (acknowledged && !wasThere)
        this.violate(`${id} (${kind} of ${key}) was acknowledged and never stood anywhere`);
      if (wasThere && !overlapped && !final.has(id) && !kept.has(id) && !this.overwritten(id))
        this.violate(`${id} (${kind} of ${key}) is lost: nobody wrote over it, and it is not kept`);
    }
  }
}
