import { isReserved } from '../model/key.ts';
import type {
  Attributes,
  Place,
  Placement,
  PlacementChange,
  Rebalance,
  Verdict,
} from '../model/placement.ts';
import type { SiteId } from '../model/version.ts';
import { rendezvous } from './rendezvous.ts';
import { type Zone, zonesOf } from './residency.ts';
import { shardKeyOf } from './shard-key.ts';

/**
 * `key` is always a user's, also for what stands below `.isobar/` and holds a body of it (losers, staged and parked
 * bodies, uploads), and `attributes` are that body's own. Both functions throw on reserved keys: they carry no rule.
 */
export interface Placer {
  place(key: string, attributes: Attributes): Verdict;
  /** For the planner, and again right before every write. False also where metadata would have to be known. */
  mayHold(site: SiteId, key: string, attributes: Attributes): boolean;
}

/** Compiles once; throws on what `placementProblems` calls a mistake in a pattern. `sites`: nearest first. */
export function placer(placement: Placement, sites: readonly Place[]): Placer {
  const zones = zonesOf(placement, sites);
  const spreads = new Map(zones.all.map((zone) => [zone, spreadOver(zone)]));
  return {
    place: (key, attributes) => {
      demandUserKey(key);
      const zone = zones.of(key, attributes);
      return zone.kind === 'zone' ? spreads.get(zone)!(key, attributes) : zone;
    },
    mayHold: (site, key, attributes) => {
      demandUserKey(key);
      const zone = zones.of(key, attributes);
      return zone.kind === 'zone' && zone.sites.includes(site);
    },
  };
}

function spreadOver({ rule, sites, spread }: Zone): (key: string, attributes: Attributes) => Verdict {
  const everywhere: Verdict = { kind: 'placed', allowed: sites, assigned: sites, rule };
  if (!spread) return () => everywhere;
  const { copies, by = 'key', weights = {} } = spread;
  const choose = rendezvous(new Map(sites.map((site) => [site, weights[site] ?? 1])));
  const shardKey = shardKeyOf(by);
  return (key, attributes) => {
    const text = shardKey(key, attributes);
    if (typeof text !== 'string') return text;
    const chosen = choose(text, copies);
    if (chosen.length === 0) return unshared;
    return { kind: 'placed', allowed: sites, assigned: sites.filter((site) => chosen.includes(site)), rule };
  };
}

const unshared: Verdict = {
  kind: 'nowhere',
  because:
    'its placement gives no site a share: nothing is copied until `copies` is 1 or more, and a weight above 0',
};

function demandUserKey(key: string): void {
  if (isReserved(key))
    throw new Error(`${key} is Isobar's own: ask with the key of the user's whose body it holds`);
}

export function rebalancePlan(from: readonly SiteId[], to: readonly SiteId[]): Rebalance {
  return {
    add: to.filter((site) => !from.includes(site)),
    drop: from.filter((site) => !to.includes(site)),
    keep: from.filter((site) => to.includes(site)),
  };
}

/**
 * What a verdict asks of a key that stands at `held`: after a change of its attributes, of the policy, or a native write
 * at a site that may not hold it. A key that is placed nowhere stays where it is, since it may be the only copy.
 */
export function placementChange(held: readonly SiteId[], verdict: Verdict): PlacementChange {
  if (verdict.kind !== 'placed') return { kind: 'stay', at: held, because: verdict };
  const plan = rebalancePlan(held, verdict.assigned);
  return { kind: 'move', ...plan, forbidden: plan.drop.filter((site) => !verdict.allowed.includes(site)) };
}

/** A copy goes only when every site that should hold the key is verified to hold its newest version. */
export function mayDrop({ add, keep }: Rebalance, verified: ReadonlySet<SiteId>): boolean {
  const holders = [...add, ...keep];
  return holders.length > 0 && holders.every((site) => verified.has(site));
}
