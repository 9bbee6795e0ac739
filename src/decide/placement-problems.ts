import { entryName } from '../model/entry.ts';
import { type Pattern, patternProblem } from '../model/pattern.ts';
import type { GeoRule, Place, Placement, RuleName, Spread, Territory } from '../model/placement.ts';
import { liesIn, ruleText, sitesOf } from './residency.ts';
import { partProblem } from './shard-key.ts';

export interface PlacementProblem {
  /** An error: nothing runs. A warning: it runs, and does what is said. */
  readonly level: 'error' | 'warning';
  /** Below `placement` in the configuration. */
  readonly path: readonly (string | number)[];
  /** What, why, and what to do. */
  readonly text: string;
}

type Report = (level: PlacementProblem['level'], path: readonly (string | number)[], text: string) => void;

/** `around`: the bus, the ledger and the workers, through which names and bodies pass. */
export function placementProblems(
  placement: Placement,
  sites: readonly Place[],
  around: readonly Place[],
): PlacementProblem[] {
  const problems: PlacementProblem[] = [];
  const report: Report = (level, path, text) => problems.push({ level, path, text });
  if (placement.kind === 'shard') {
    const names = sites.map(({ name }) => name);
    checkSpread(placement, names, names, 'the dataset', (level, path, text) =>
      report(level, ['shard', ...path], text),
    );
  } else if (placement.kind === 'geo') checkGeo(placement, sites, around, report);
  return problems;
}

function checkGeo(
  { rules, otherwise }: Extract<Placement, { kind: 'geo' }>,
  sites: readonly Place[],
  around: readonly Place[],
  report: Report,
): void {
  if (rules.length === 0) {
    report(
      'error',
      ['geo'],
      '`geo` has no rule, so it says nothing: write one, or use `placement: everywhere`',
    );
  }
  const territories: [RuleName, Territory][] = [...rules.entries()];
  if (otherwise && otherwise !== 'everywhere') territories.push(['otherwise', otherwise]);
  for (const [rule, territory] of territories) {
    const at = typeof rule === 'number' ? ['geo', rule] : [rule];
    checkTerritory(territory, rule, sites, (level, path, text) => report(level, [...at, ...path], text));
  }
  for (const [index, rule] of rules.entries()) {
    checkConditions(rule, index, report);
    checkReachable(rules, index, report);
  }
  const catchAll = rules.findIndex((rule) => covers(rule, {}));
  if (catchAll !== -1 && otherwise !== undefined) {
    report(
      'error',
      ['otherwise'],
      `\`otherwise\` is never reached: ${ruleText(catchAll)} matches every key; drop one of them`,
    );
  }
  checkAround(territories, around, report);
  checkUnknownSites(territories, sites, report);
}

function checkTerritory(territory: Territory, rule: RuleName, sites: readonly Place[], report: Report): void {
  const { jurisdictions, sites: named, copies } = territory;
  const who = ruleText(rule);
  if (!jurisdictions && !named) {
    report(
      'error',
      [],
      `${who} names neither jurisdictions nor sites, so no site may hold its keys: name either`,
    );
    return;
  }
  for (const [index, one] of (jurisdictions ?? []).entries()) {
    if (sites.some((site) => site.jurisdictions.includes(one))) continue;
    const known = [...new Set(sites.flatMap((site) => site.jurisdictions))];
    const meant = known.find((other) => other.trim().toLowerCase() === one.trim().toLowerCase());
    const hint = meant
      ? `; write "${meant}": names are compared exactly`
      : `; known are: ${known.join(', ') || 'none'}`;
    report(
      'error',
      ['jurisdictions', index],
      `${who} names the jurisdiction "${one}", in which no site lies${hint}`,
    );
  }
  for (const [index, name] of (named ?? []).entries()) {
    const site = sites.find((one) => one.name === name);
    if (!site) report('error', ['sites', index], unknownSite(who, name, sites));
    else if (jurisdictions && !liesIn(site, jurisdictions)) {
      const where = site.jurisdictions.join(', ') || 'an unknown jurisdiction';
      report(
        'error',
        ['sites', index],
        `${who} names the site ${name}, which lies in ${where} and not in ${jurisdictions.join(' or ')}, so it may not hold the keys: drop the site, or mend its jurisdiction`,
      );
    }
  }
  const allowed = sitesOf(territory, sites);
  if (copies !== undefined)
    checkSpread(
      { ...territory, copies },
      allowed,
      sites.map(({ name }) => name),
      who,
      report,
    );
  else {
    for (const field of ['by', 'weights'] as const) {
      if (territory[field])
        report(
          'error',
          [field],
          `${who} gives \`${field}\` without \`copies\`, so nothing is chosen by it: add \`copies\`, or drop it`,
        );
    }
    if (allowed.length === 1) report('warning', [], oneCopy(who));
  }
}

function checkSpread(
  { copies, by, weights = {} }: Spread,
  allowed: readonly string[],
  known: readonly string[],
  who: string,
  report: Report,
): void {
  for (const [name, weight] of Object.entries(weights)) {
    const path = ['weights', name];
    if (!known.includes(name))
      report(
        'error',
        path,
        unknownSite(
          who,
          name,
          known.map((one) => ({ name: one })),
        ),
      );
    else if (!(weight === 0 || (weight >= 1e-6 && weight <= 1e6))) {
      report(
        'error',
        path,
        `the weight ${weight} of ${name} is no share: give a number from 0.000001 to 1000000, or 0 for a site that shall take nothing`,
      );
    }
  }
  const takers = allowed.filter((name) => weights[name] !== 0);
  if (!Number.isSafeInteger(copies) || copies < 1) {
    report(
      'error',
      ['copies'],
      `\`copies\` is ${copies}, which is no number of sites: give a whole number from 1`,
    );
  } else if (copies > takers.length) {
    const text = `${who} wants ${copies} copies, but only ${takers.length} of its sites may take one (${takers.join(', ') || 'none'}): add sites, or lower \`copies\``;
    report('error', ['copies'], text);
  } else if (copies === 1) report('warning', ['copies'], oneCopy(who));
  if (typeof by !== 'object') return;
  const problem = 'part' in by ? partProblem(by.part) : metadataNameProblem(by.metadata);
  if (problem) report('error', ['by', 'part' in by ? 'part' : 'metadata'], problem);
}

function checkConditions(rule: GeoRule, index: number, report: Report): void {
  const at = ['geo', index];
  const { match, metadata = {}, tags = {} } = rule;
  const problem = match === undefined ? undefined : patternProblem(match);
  if (problem) report('error', [...at, 'match'], problem);
  else if (match?.startsWith('/')) {
    const text = `${ruleText(index)} matches only keys that begin with a slash, and few do: write "${match.slice(1)}" unless yours are such`;
    report('warning', [...at, 'match'], text);
  }
  for (const name of Object.keys(metadata)) {
    const problem = metadataNameProblem(name);
    if (problem) report('error', [...at, 'metadata', name], problem);
  }
  if (match === undefined && Object.keys(metadata).length + Object.keys(tags).length === 0) {
    const text = `${ruleText(index)} has no condition: give \`match\`, \`metadata\` or \`tags\`, or write it as \`otherwise\` beside \`geo\``;
    report('error', at, text);
  }
}

function metadataNameProblem(name: string): string | undefined {
  if (name === entryName) return `the metadata entry "${entryName}" is Isobar's own: choose one of yours`;
  if (/^[a-z0-9._-]+$/.test(name)) return undefined;
  return `no object has a metadata entry "${name}": names are lower-case letters, digits, "-", "_" and "."; write it so`;
}

function checkReachable(rules: readonly GeoRule[], index: number, report: Report): void {
  const before = rules.slice(0, index).findIndex((earlier) => covers(earlier, rules[index]!));
  if (before === -1) return;
  const text = `${ruleText(index)} is never reached: ${ruleText(before)} matches all of its keys, and the first that matches decides; put it before ${ruleText(before)}, or drop it`;
  report('error', ['geo', index], text);
}

/** Everything that `b` matches, `a` matches too; false also where that cannot easily be told. */
function covers(a: GeoRule, b: GeoRule): boolean {
  return (
    coversKeys(a.match ?? '**', b.match ?? '**') &&
    coversEntries(a.metadata, b.metadata) &&
    coversEntries(a.tags, b.tags)
  );
}

function coversKeys(a: Pattern, b: Pattern): boolean {
  if (a === b) return true;
  const literal = /^([^*?{}\\]*)\*\*$/.exec(a)?.[1];
  return literal !== undefined && b.startsWith(literal);
}

function coversEntries(
  a: Readonly<Record<string, string>> = {},
  b: Readonly<Record<string, string>> = {},
): boolean {
  return Object.entries(a).every(([name, value]) => Object.hasOwn(b, name) && b[name] === value);
}

function checkAround(
  territories: readonly [RuleName, Territory][],
  around: readonly Place[],
  report: Report,
): void {
  const residencies = territories.filter(([, { jurisdictions }]) => jurisdictions);
  if (residencies.length === 0) return;
  for (const place of around) {
    if (place.jurisdictions.length === 0) {
      const text = `${place.name} has no jurisdiction, while ${ruleText(residencies[0]![0])} says where data may be: give it one`;
      report('error', [], text);
      continue;
    }
    const outside = residencies.filter(([, { jurisdictions }]) => !liesIn(place, jurisdictions!));
    if (outside.length === 0) continue;
    const rules = outside.map(([rule]) => ruleText(rule)).join(', ');
    const text = `${place.name} lies in ${place.jurisdictions.join(', ')}, where no data may stay by ${rules}: what passes through it is there for a moment; if the law forbids that too, move it`;
    report('warning', [], text);
  }
}

function checkUnknownSites(
  territories: readonly [RuleName, Territory][],
  sites: readonly Place[],
  report: Report,
): void {
  const [first] = territories.filter(([, { jurisdictions }]) => jurisdictions);
  if (!first) return;
  for (const { name, jurisdictions } of sites) {
    if (jurisdictions.length > 0) continue;
    const text = `the site ${name} has no jurisdiction, so ${ruleText(first[0])} and every other that names some keep it empty: give it one, or name it in no such rule`;
    report('warning', [], text);
  }
}

function unknownSite(who: string, name: string, sites: readonly { readonly name: string }[]): string {
  return `${who} names the site ${name}, which the dataset does not have: its sites are ${sites.map((one) => one.name).join(', ')}`;
}

function oneCopy(who: string): string {
  return `${who} places each key at one site: when that is lost, so are they; allow a second one if you can`;
}
