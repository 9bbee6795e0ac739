import { StoreFailure } from '../model/failure.ts';
import type { SiteId } from '../model/version.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import type { World } from '../ports/world.ts';

export interface StrongSettings {
  /** Bodies up to this size ride in the head; larger ones are staged first. */
  readonly inlineBytes: number;
  /** Of a body that is staged or projected; more where a store demands it. */
  readonly partSizeBytes: number;
  /** An operation sends nothing to heads later than twice this after it first looked at them. */
  readonly timeoutMs: number;
  /** Looking and trying again, at one site and in all. */
  readonly rounds: number;
  /** Before trying again: up to this long, doubled each time. */
  readonly pauseMs: number;
  /** What is removed is remembered so long: longer than any request is under way, and than clocks differ. */
  readonly graceMs: number;
  /** Between the end of a removal and its collection: longer than twice `timeoutMs` and a request under way. */
  readonly fenceMs: number;
}

export const defaultStrongSettings: StrongSettings = {
  inlineBytes: 64 * 1024,
  partSizeBytes: 8 * 1024 * 1024,
  timeoutMs: 15_000,
  rounds: 12,
  pauseMs: 20,
  graceMs: 24 * 60 * 60 * 1000,
  fenceMs: 60_000,
};

/** What is told to whoever watches. Never changes what happens. */
export interface StrongEvents {
  /** Another principal wrote the native key: while that happens, nothing is linearizable. It was adopted as `tag`. */
  readonly breach?: (event: { site: SiteId; key: string; tag: string }) => void;
  /** Work in the background failed at a site; repairing the key tries it again. */
  readonly failed?: (event: { site: SiteId; key: string; error: unknown }) => void;
}

export interface StrongShell {
  readonly sites: ReadonlyMap<SiteId, ObjectStore>;
  readonly world: World;
  /** Letters, digits, `-` and `_`. */
  readonly writer: string;
  readonly settings: StrongSettings;
  readonly events: StrongEvents;
  /** What goes on after its operation has answered. */
  readonly background: Set<Promise<unknown>>;
}

/** `unsupported` where the register cannot be had over these sites. */
export function assertSites(sites: ReadonlyMap<SiteId, ObjectStore>): void {
  if (sites.size !== 3 && sites.size !== 5) {
    throw new StoreFailure(
      'unsupported',
      `strong consistency needs three or five sites, and there are ${sites.size}: with three one may be gone, with five two`,
    );
  }
  for (const [site, { capabilities }] of sites) {
    const weak = (['create', 'replace'] as const).filter((verb) => capabilities[verb] !== 'conditional');
    if (weak.length === 0) continue;
    const promises = weak.map((verb) => `"${verb}" is ${capabilities[verb]}`).join(', ');
    throw new StoreFailure(
      'unsupported',
      `${site} cannot promise compare-and-set (its capability ${promises}), and strong consistency rests on it: ` +
        'put another store in its place, or use consistency: eventual',
    );
  }
}
