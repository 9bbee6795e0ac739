import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { GeoRule, Place, Placement } from '../model/placement.ts';
import { placementProblems } from './placement-problems.ts';

const sites: readonly Place[] = [
  { name: 'fra', jurisdictions: ['EU', 'DE'] },
  { name: 'par', jurisdictions: ['EU'] },
  { name: 'iad', jurisdictions: ['US'] },
  { name: 'nas', jurisdictions: ['EU'] },
];
const home: readonly Place[] = ['the bus', 'the ledger', 'the worker'].map((name) => ({
  name,
  jurisdictions: ['EU'],
}));
const shard = (more: object): Placement => ({ kind: 'shard', copies: 2, ...more });
const geo = (rules: readonly GeoRule[], more: object = {}): Placement => ({ kind: 'geo', rules, ...more });
const eu: GeoRule = { match: 'eu/**', jurisdictions: ['EU'] };

type Expected = readonly [placement: Placement, path: string, text: RegExp];

/** Each placement has exactly this one problem. */
function assertEach(level: 'error' | 'warning', cases: readonly Expected[]): void {
  for (const [placement, path, text] of cases) {
    const problems = placementProblems(placement, sites, home);
    assert.equal(problems.length, 1, JSON.stringify({ placement, problems }));
    assert.equal(problems[0]!.level, level);
    assert.equal(problems[0]!.path.join('.'), path);
    assert.match(problems[0]!.text, text);
  }
}

test('what is in order has no problem', () => {
  const fine: readonly Placement[] = [
    { kind: 'everywhere' },
    shard({}),
    shard({ copies: 3, by: { part: '{tenant}/**' }, weights: { fra: 2.5, iad: 0 } }),
    shard({ by: { metadata: 'tenant' } }),
    geo([eu]),
    geo([{ match: 'eu/de/**', jurisdictions: ['EU'], copies: 2 }, eu], { otherwise: 'everywhere' }),
    geo([{ match: 'eu/**', metadata: { a: 'x' }, sites: ['fra', 'iad'] }, eu], {
      otherwise: { sites: ['fra', 'iad'] },
    }),
    geo([
      { tags: { a: 'x' }, sites: ['fra', 'par'] },
      { tags: { a: 'y' }, sites: ['fra', 'par'] },
    ]),
    geo([{ match: 'eu/*', sites: ['fra', 'par'] }, eu]),
  ];
  for (const placement of fine) assert.deepEqual(placementProblems(placement, sites, home), []);
});

test('copies, weights and shard keys', () => {
  assertEach('error', [
    [shard({ copies: 5 }), 'shard.copies', /wants 5 copies, but only 4 .*fra, par, iad, nas.*lower/],
    [shard({ copies: 4, weights: { iad: 0 } }), 'shard.copies', /only 3 .*fra, par, nas/],
    [shard({ copies: 0 }), 'shard.copies', /`copies` is 0/],
    [shard({ copies: 1.5 }), 'shard.copies', /`copies` is 1.5/],
    [shard({ copies: Number.NaN }), 'shard.copies', /`copies` is NaN/],
    [shard({ weights: { lon: 1 } }), 'shard.weights.lon', /names the site lon, .* fra, par, iad, nas/],
    [shard({ weights: { fra: -1 } }), 'shard.weights.fra', /the weight -1 of fra/],
    [shard({ weights: { fra: Number.NaN } }), 'shard.weights.fra', /the weight NaN/],
    [shard({ weights: { fra: 1e7 } }), 'shard.weights.fra', /the weight 10000000/],
    [shard({ by: { part: 'tenants/**' } }), 'shard.by.part', /names no segment/],
    [shard({ by: { metadata: 'Tenant' } }), 'shard.by.metadata', /lower-case/],
    [shard({ by: { metadata: 'isobar' } }), 'shard.by.metadata', /Isobar's own/],
    [geo([{ ...eu, copies: 4 }]), 'geo.0.copies', /rule 1 wants 4 copies, but only 3 .*fra, par, nas/],
    [geo([{ ...eu, by: 'key' }]), 'geo.0.by', /`by` without `copies`/],
    [geo([{ ...eu, weights: { fra: 2 } }]), 'geo.0.weights', /`weights` without `copies`/],
  ]);
  assertEach('warning', [
    [shard({ copies: 1 }), 'shard.copies', /at one site: when that is lost/],
    [geo([{ match: 'us/**', sites: ['iad'] }]), 'geo.0', /rule 1 places each key at one site/],
  ]);
});

test('where a rule lets keys be', () => {
  assertEach('error', [
    [geo([]), 'geo', /no rule/],
    [geo([{ match: 'a' }]), 'geo.0', /neither jurisdictions nor sites/],
    [geo([eu], { otherwise: { copies: 2 } }), 'otherwise', /`otherwise` names neither/],
    [geo([{ match: 'a', sites: ['fra', 'par', 'lon'] }]), 'geo.0.sites.2', /rule 1 names the site lon/],
    [geo([{ ...eu, sites: ['fra', 'par', 'iad'] }]), 'geo.0.sites.2', /iad, which lies in US and not in EU/],
    [
      geo([eu, { match: 'a', jurisdictions: ['EU', 'eu '] }]),
      'geo.1.jurisdictions.1',
      /rule 2 .*"eu ".*write "EU"/,
    ],
    [
      geo([{ match: 'a', jurisdictions: ['EU', 'CH'] }]),
      'geo.0.jurisdictions.1',
      /"CH".*known are: EU, DE, US/,
    ],
  ]);
});

test('conditions', () => {
  assertEach('error', [
    [geo([{ match: 'eu/{a', jurisdictions: ['EU'] }]), 'geo.0.match', /does not close a brace/],
    [geo([{ match: '', jurisdictions: ['EU'] }]), 'geo.0.match', /empty pattern/],
    [geo([{ jurisdictions: ['EU'] }]), 'geo.0', /no condition/],
    [geo([{ metadata: {}, jurisdictions: ['EU'] }]), 'geo.0', /no condition/],
    [
      geo([{ metadata: { Residency: 'EU' }, jurisdictions: ['EU'] }]),
      'geo.0.metadata.Residency',
      /lower-case/,
    ],
  ]);
  assertEach('warning', [
    [geo([{ match: '/eu/**', jurisdictions: ['EU'] }]), 'geo.0.match', /write "eu\/\*\*"/],
  ]);
});

test('rules that are never reached', () => {
  const all: GeoRule = { match: '**', jurisdictions: ['EU'] };
  const tagged: GeoRule = { ...eu, tags: { a: '1' } };
  assertEach('error', [
    [geo([all, eu]), 'geo.1', /rule 2 is never reached: rule 1 .*put it before/],
    [geo([eu, { ...eu, match: 'eu/de/**' }]), 'geo.1', /rule 2 is never reached: rule 1/],
    [geo([eu, { ...eu, match: 'eu/*.{a,b}' }]), 'geo.1', /never reached/],
    [geo([eu, tagged]), 'geo.1', /never reached/],
    [geo([tagged, { ...tagged, tags: { a: '1', b: '2' } }]), 'geo.1', /never reached/],
    [geo([all], { otherwise: 'everywhere' }), 'otherwise', /`otherwise` is never reached: rule 1/],
  ]);
  const reached: readonly (readonly GeoRule[])[] = [
    [tagged, eu],
    [tagged, { ...tagged, tags: { a: '2' } }],
    [eu, { ...eu, match: 'eu2/**' }],
    [eu, { ...eu, match: '{eu,us}/**' }],
    [
      { ...eu, match: 'e?/**' },
      { ...eu, match: 'e?x/**' },
    ],
    [{ ...eu, metadata: { m: '1' } }, tagged],
  ];
  for (const rules of reached) assert.deepEqual(placementProblems(geo(rules), sites, home), []);
});

describe('what data pass through, with a residency rule in force', () => {
  const around = (jurisdictions: readonly string[]) => [{ name: 'the bus', jurisdictions }];

  test('an unknown jurisdiction is an error', () => {
    const [problem, ...others] = placementProblems(geo([eu]), sites, around([]));
    assert.equal(problem!.level, 'error');
    assert.match(problem!.text, /the bus has no jurisdiction, while rule 1 .*give it one/);
    assert.equal(others.length, 0);
    const otherwise = { jurisdictions: ['EU'] };
    const later = geo([{ match: 'a', sites: ['fra', 'par'] }], { otherwise });
    assert.match(placementProblems(later, sites, around([]))[0]!.text, /`otherwise` says/);
  });

  test('one outside of a rule is said', () => {
    const us: GeoRule = { match: 'us/**', jurisdictions: ['US', 'EU'] };
    const [problem, ...others] = placementProblems(geo([eu, us]), sites, around(['US']));
    assert.equal(problem!.level, 'warning');
    assert.match(problem!.text, /the bus lies in US, where no data may stay by rule 1:/);
    assert.equal(others.length, 0);
  });

  test('without one it may be anywhere', () => {
    for (const placement of [shard({}), geo([{ match: 'a', sites: ['fra', 'iad'] }])]) {
      assert.deepEqual(placementProblems(placement, sites, around([])), []);
    }
  });

  test('a site of unknown jurisdiction stays empty', () => {
    const more = [...sites, { name: 'usb', jurisdictions: [] }];
    const [problem, ...others] = placementProblems(geo([eu]), more, home);
    assert.equal(problem!.level, 'warning');
    assert.match(problem!.text, /the site usb has no jurisdiction/);
    assert.equal(others.length, 0);
    const named = geo([{ ...eu, sites: ['fra', 'par', 'usb'] }]);
    assert.match(
      placementProblems(named, more, home)[0]!.text,
      /usb, which lies in an unknown jurisdiction and not in EU/,
    );
  });
});
