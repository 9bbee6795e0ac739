import type { SiteId } from '../model/version.ts';
import type { World } from '../ports/world.ts';

interface Sample {
  readonly atMs: number;
  readonly bytes: number;
}

const windowMs = 10_000;

/** Keys and bytes per second that reached each site in the last ten seconds. */
export class Rates {
  readonly #world: World;
  readonly #samples = new Map<SiteId, Sample[]>();

  constructor(world: World) {
    this.#world = world;
  }

  add(site: SiteId, bytes: number): void {
    const samples = this.#samples.get(site) ?? [];
    samples.push({ atMs: this.#world.nowMs(), bytes });
    this.#samples.set(site, samples);
  }

  of(site: SiteId): { keysPerSecond: number; bytesPerSecond: number; atMs: number } {
    const atMs = this.#world.nowMs();
    const recent = (this.#samples.get(site) ?? []).filter((sample) => atMs - sample.atMs <= windowMs);
    this.#samples.set(site, recent);
    const bytes = recent.reduce((sum, sample) => sum + sample.bytes, 0);
    return {
      keysPerSecond: recent.length / (windowMs / 1000),
      bytesPerSecond: bytes / (windowMs / 1000),
      atMs,
    };
  }
}
