import { matcherOf } from '../model/pattern.ts';
import type {
  Attributes,
  GeoRule,
  NeedsMetadata,
  Nowhere,
  Place,
  Placement,
  RuleName,
  Spread,
  Territory,
} from '../model/placement.ts';
import type { SiteId } from '../model/version.ts';

/** The sites that may hold the keys of one rule. Never empty. */
export interface Zone {
  readonly kind: 'zone';
  readonly rule: RuleName;
  readonly sites: readonly SiteId[];
  readonly spread?: Spread;
}

export interface Zones {
  readonly all: readonly Zone[];
  of(key: string, attributes: Attributes): Zone | Nowhere | NeedsMetadata;
}

/**
 * Where a key may be. The first rule that matches decides. A rule that only unknown metadata could tell apart makes the
 * answer `needs-metadata`, even where a later one would match: an earlier one might be stricter.
 */
export function zonesOf(placement: Placement, sites: readonly Place[]): Zones {
  if (placement.kind !== 'geo') {
    const spread = placement.kind === 'shard' ? { spread: placement } : {};
    const zone = { kind: 'zone', rule: 'all', sites: sites.map(({ name }) => name), ...spread } as const;
    return { all: [zone], of: () => zone };
  }
  const rules = placement.rules.map((rule, index) => ({
    holds: conditionOf(rule),
    zone: zoneOf(rule, index, sites),
  }));
  const otherwise = otherwiseOf(placement.otherwise, sites);
  return {
    all: [...rules.map(({ zone }) => zone), otherwise].filter((one) => one.kind === 'zone'),
    of: (key, attributes) => {
      for (const { holds, zone } of rules) {
        const answer = holds(key, attributes);
        if (answer === true) return zone;
        if (answer !== false) return answer;
      }
      return otherwise;
    },
  };
}

/** What needs no metadata is asked first. */
function conditionOf(rule: GeoRule): (key: string, attributes: Attributes) => boolean | NeedsMetadata {
  const matches = rule.match === undefined ? () => true : matcherOf(rule.match);
  const wanted = (['user', 'tags'] as const)
    .map((field) => ({
      field,
      entries: Object.entries((field === 'user' ? rule.metadata : rule.tags) ?? {}),
    }))
    .filter(({ entries }) => entries.length > 0);
  return (key, attributes) => {
    if (!matches(key)) return false;
    let missing: NeedsMetadata | undefined;
    for (const { field, entries } of wanted) {
      const known = attributes[field];
      if (known === undefined) missing ??= { kind: 'needs-metadata', missing: field };
      else if (!entries.every(([name, value]) => Object.hasOwn(known, name) && known[name] === value))
        return false;
    }
    return missing ?? true;
  };
}

function otherwiseOf(
  otherwise: 'everywhere' | Territory | undefined,
  sites: readonly Place[],
): Zone | Nowhere {
  if (otherwise === 'everywhere')
    return { kind: 'zone', rule: 'otherwise', sites: sites.map(({ name }) => name) };
  if (otherwise) return zoneOf(otherwise, 'otherwise', sites);
  const because =
    'no rule of the placement matches, and it has no `otherwise`: nothing is copied until a rule says where to';
  return { kind: 'nowhere', because };
}

function zoneOf(territory: Territory, rule: RuleName, sites: readonly Place[]): Zone | Nowhere {
  const allowed = sitesOf(territory, sites);
  if (allowed.length > 0) {
    const { copies, by, weights } = territory;
    const spread =
      copies === undefined ? {} : { spread: { copies, ...(by && { by }), ...(weights && { weights }) } };
    return { kind: 'zone', rule, sites: allowed, ...spread };
  }
  const because = `no site may hold it by ${ruleText(rule)} of the placement: nothing is copied until a site is added there, or the rule is changed`;
  return { kind: 'nowhere', because };
}

/** Fails closed: a territory that names nothing holds no site, and a site of unknown jurisdiction lies in none. */
export function sitesOf({ jurisdictions, sites: named }: Territory, sites: readonly Place[]): SiteId[] {
  if (!jurisdictions && !named) return [];
  return sites
    .filter((site) => !jurisdictions || liesIn(site, jurisdictions))
    .filter(({ name }) => !named || named.includes(name))
    .map(({ name }) => name);
}

export function liesIn(place: Place, jurisdictions: readonly string[]): boolean {
  return place.jurisdictions.some((one) => jurisdictions.includes(one));
}

/** As a person counts: from 1. */
export function ruleText(rule: RuleName): string {
  return typeof rule === 'number' ? `rule ${rule + 1}` : `\`${rule}\``;
}
