import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Attributes, GeoRule, Place, Placement, Verdict } from '../model/placement.ts';
import { Random } from '../testing/simulation/random.ts';
import { mayDrop, placementChange, placer, rebalancePlan } from './placement.ts';

const sites: readonly Place[] = [
  { name: 'fra', jurisdictions: ['EU', 'DE'] },
  { name: 'par', jurisdictions: ['EU', 'FR'] },
  { name: 'dub', jurisdictions: ['EU'] },
  { name: 'iad', jurisdictions: ['US'] },
  { name: 'nas', jurisdictions: [] },
];
const names = sites.map(({ name }) => name);
const keys = Array.from({ length: 300 }, (_, i) => `t${i % 20}/photos/${i}`);
const geo = (rules: readonly GeoRule[], otherwise?: 'everywhere' | GeoRule): Placement => ({
  kind: 'geo',
  rules,
  ...(otherwise && { otherwise }),
});

function placed(verdict: Verdict) {
  assert.ok(verdict.kind === 'placed', verdict.kind);
  return verdict;
}

describe('everywhere and shard', () => {
  test('everywhere is every site', () => {
    const { place, mayHold } = placer({ kind: 'everywhere' }, sites);
    assert.deepEqual(place('k', {}), { kind: 'placed', allowed: names, assigned: names, rule: 'all' });
    assert.ok(names.every((name) => mayHold(name, 'k', {})));
    assert.equal(mayHold('elsewhere', 'k', {}), false);
  });

  test('a shard has its copies; every site may hold it, so that it can move', () => {
    const { place, mayHold } = placer({ kind: 'shard', copies: 2 }, sites);
    const pairs = new Set<string>();
    for (const key of keys) {
      const { allowed, assigned } = placed(place(key, {}));
      assert.deepEqual(allowed, names);
      assert.equal(assigned.length, 2);
      assert.deepEqual(
        assigned,
        names.filter((name) => assigned.includes(name)),
        'nearest first',
      );
      assert.ok(names.every((name) => mayHold(name, key, {})));
      pairs.add(assigned.join());
    }
    assert.equal(pairs.size, 10);
  });

  test('keys with one shard key stand together, others apart', () => {
    const { place } = placer({ kind: 'shard', copies: 1, by: { part: '{tenant}/**' } }, sites);
    const homes = new Map<string, Set<string>>();
    for (const key of keys) {
      const tenant = key.split('/')[0]!;
      homes.set(tenant, (homes.get(tenant) ?? new Set()).add(placed(place(key, {})).assigned.join()));
    }
    assert.ok([...homes.values()].every((home) => home.size === 1));
    assert.equal(new Set([...homes.values()].map((home) => [...home][0])).size, sites.length);
  });

  test('keys that do not match the part are spread: none becomes a hot shard', () => {
    const { place } = placer({ kind: 'shard', copies: 1, by: { part: '{tenant}/**' } }, sites);
    const homes = new Set(keys.map((key) => placed(place(key.replaceAll('/', '-'), {})).assigned[0]));
    assert.equal(homes.size, sites.length);
  });

  test('by metadata: needed, and not guessed; where it may be held does not depend on it', () => {
    const { place, mayHold } = placer({ kind: 'shard', copies: 1, by: { metadata: 'tenant' } }, sites);
    assert.deepEqual(place('k', {}), { kind: 'needs-metadata', missing: 'user' });
    assert.ok(mayHold('fra', 'k', {}));
    const homes = keys.map((key) => placed(place(key, { user: { tenant: 'acme' } })).assigned[0]);
    assert.equal(new Set(homes).size, 1);
  });

  test('weights: 0 empties a site, and a heavy one has more', () => {
    const { place } = placer({ kind: 'shard', copies: 1, weights: { fra: 0, iad: 8 } }, sites);
    const homes = keys.map((key) => placed(place(key, {})).assigned[0]);
    assert.ok(!homes.includes('fra'));
    assert.ok(homes.filter((home) => home === 'iad').length > keys.length / 2);
  });

  test('where no site has a share, a key is placed nowhere, and nothing is dropped', () => {
    const weights = Object.fromEntries(names.map((name) => [name, 0]));
    for (const spread of [{ copies: 2, weights }, { copies: 0 }]) {
      const verdict = placer({ kind: 'shard', ...spread }, sites).place('k', {});
      assert.equal(verdict.kind, 'nowhere');
      assert.equal(placementChange(names, verdict).kind, 'stay');
    }
  });
});

describe('geo', () => {
  const attributes: Attributes = { user: {}, tags: {} };

  test('the first rule that matches decides alone', () => {
    const { place } = placer(
      geo(
        [
          { match: 'eu/de/**', jurisdictions: ['DE'] },
          { match: 'eu/**', jurisdictions: ['EU'] },
          { match: '**/us/**', sites: ['iad', 'nas'] },
        ],
        { sites: ['par', 'fra'] },
      ),
      sites,
    );
    const expected: readonly [key: string, allowed: readonly string[], rule: unknown][] = [
      ['eu/de/x', ['fra'], 0],
      ['eu/us/x', ['fra', 'par', 'dub'], 1],
      ['us/x', ['iad', 'nas'], 2],
      ['x', ['fra', 'par'], 'otherwise'],
    ];
    for (const [key, allowed, rule] of expected) {
      assert.deepEqual(place(key, attributes), { kind: 'placed', allowed, assigned: allowed, rule }, key);
    }
  });

  test('a site lies in all its jurisdictions, one of unknown jurisdiction in none', () => {
    const { mayHold } = placer(
      geo([
        { match: 'de/**', jurisdictions: ['DE'] },
        { match: 'both/**', jurisdictions: ['FR', 'US'] },
      ]),
      sites,
    );
    const holders = (key: string) => names.filter((name) => mayHold(name, key, attributes));
    assert.deepEqual(holders('de/x'), ['fra']);
    assert.deepEqual(holders('both/x'), ['par', 'iad']);
  });

  test('jurisdictions and sites: both must hold', () => {
    const { place } = placer(
      geo([{ match: '**', jurisdictions: ['EU'], sites: ['nas', 'iad', 'par'] }]),
      sites,
    );
    assert.deepEqual(placed(place('k', attributes)).allowed, ['par']);
  });

  test('what no rule matches is placed nowhere, and so is what no site may hold', () => {
    const nowhere: readonly [Placement, RegExp][] = [
      [geo([{ match: 'eu/**', jurisdictions: ['EU'] }]), /no rule .* no `otherwise`/],
      [geo([{ match: '**', jurisdictions: ['CH'] }]), /no site may hold it by rule 1 /],
      [geo([{ match: '**', jurisdictions: [] }]), /by rule 1 /],
      [geo([{ match: '**', sites: [] }]), /by rule 1 /],
      [geo([{ match: '**' }]), /by rule 1 /],
      [geo([{ match: '**', copies: 1 }]), /by rule 1 /],
      [geo([{ match: 'eu/**', sites: ['fra'] }], {}), /by `otherwise` /],
      [geo([]), /no rule/],
    ];
    for (const [placement, because] of nowhere) {
      const { place, mayHold } = placer(placement, sites);
      const verdict = place('k', attributes);
      assert.ok(verdict.kind === 'nowhere', JSON.stringify(placement));
      assert.match(verdict.because, because);
      assert.ok(!names.some((name) => mayHold(name, 'k', attributes)));
    }
  });

  test('otherwise everywhere, where it is written', () => {
    const { place } = placer(geo([{ match: 'eu/**', jurisdictions: ['EU'] }], 'everywhere'), sites);
    assert.deepEqual(placed(place('k', attributes)).allowed, names);
    assert.deepEqual(placed(place('eu/k', attributes)).allowed, ['fra', 'par', 'dub']);
  });

  test('copies within a rule: some of the allowed sites, the same for a shard key', () => {
    const rule = { match: '**', jurisdictions: ['EU'], copies: 2, by: { part: '{tenant}/**' } };
    const { place, mayHold } = placer(geo([rule]), sites);
    const homes = new Map<string, string>();
    for (const key of keys) {
      const { allowed, assigned } = placed(place(key, attributes));
      assert.deepEqual(allowed, ['fra', 'par', 'dub']);
      assert.equal(assigned.length, 2);
      assert.ok(assigned.every((name) => allowed.includes(name)));
      assert.equal(mayHold('dub', key, attributes), true);
      const tenant = key.split('/')[0]!;
      assert.equal(homes.get(tenant) ?? assigned.join(), assigned.join());
      homes.set(tenant, assigned.join());
    }
    assert.equal(new Set(homes.values()).size, 3);
  });
});

describe('metadata that is not known', () => {
  const { place, mayHold } = placer(
    geo([
      { match: 'a/**', metadata: { residency: 'EU' }, tags: { kind: 'x' }, jurisdictions: ['EU'] },
      { match: '**', sites: ['iad'] },
    ]),
    sites,
  );

  test('a later rule is not taken in its place', () => {
    const needs: readonly [Attributes, 'user' | 'tags'][] = [
      [{}, 'user'],
      [{ user: { residency: 'EU' } }, 'tags'],
      [{ tags: { kind: 'x' } }, 'user'],
    ];
    for (const [attributes, missing] of needs) {
      assert.deepEqual(place('a/k', attributes), { kind: 'needs-metadata', missing });
      assert.ok(!names.some((name) => mayHold(name, 'a/k', attributes)));
    }
  });

  test('it is not asked for where it would not matter', () => {
    for (const attributes of [{ user: {} }, { tags: { kind: 'y' } }, { user: { residency: 'US' } }]) {
      assert.equal(placed(place('a/k', attributes)).rule, 1);
    }
    assert.equal(placed(place('b/k', {})).rule, 1);
    assert.equal(placed(place('a/k', { user: { residency: 'EU' }, tags: { kind: 'x' } })).rule, 0);
  });
});

test('what Isobar keeps for itself has no place of its own: the key of the user decides', () => {
  const { place, mayHold } = placer(geo([{ match: 'eu/**', jurisdictions: ['EU'] }], 'everywhere'), sites);
  for (const key of ['.isobar/losers/eu/x', '.isobar/uploads/1', '.isobar']) {
    assert.throws(() => place(key, {}), /Isobar's own/);
    assert.throws(() => mayHold('iad', key, {}), /Isobar's own/);
  }
  assert.equal(mayHold('iad', 'eu/x', {}), false);
});

test('what a key is assigned it may hold, whatever the rules', () => {
  const random = new Random('rules');
  const some = <T>(from: readonly T[]) => from.filter(() => random.chance(0.5));
  for (let world = 0; world < 300; world++) {
    const territory = () => ({
      ...(random.chance(0.7) && { jurisdictions: some(['EU', 'DE', 'US', 'CH']) }),
      ...(random.chance(0.5) && { sites: some(names) }),
      ...(random.chance(0.5) && { copies: random.between(1, 4) }),
    });
    const rules = Array.from({ length: random.between(1, 4) }, () => ({
      match: random.pick(['**', 't1/**', 't?/**', '*/photos/*', 'x/**']),
      ...(random.chance(0.3) && { metadata: { m: random.pick(['1', '2']) } }),
      ...territory(),
    }));
    const { place, mayHold } = placer(geo(rules, random.chance(0.5) ? territory() : 'everywhere'), sites);
    for (const key of keys.slice(0, 40)) {
      const attributes = random.pick<Attributes>([{}, { user: { m: '1' } }, { user: {} }]);
      const verdict = place(key, attributes);
      for (const name of names) {
        const allowed = verdict.kind === 'placed' && verdict.allowed.includes(name);
        assert.equal(mayHold(name, key, attributes), allowed);
        if (verdict.kind === 'placed' && verdict.assigned.includes(name)) assert.ok(allowed);
      }
    }
  }
});

describe('moving a key', () => {
  test('which sites gain, lose and keep it', () => {
    assert.deepEqual(rebalancePlan(['a', 'b'], ['b', 'c']), { add: ['c'], drop: ['a'], keep: ['b'] });
    assert.deepEqual(rebalancePlan(['a'], ['a']), { add: [], drop: [], keep: ['a'] });
    assert.deepEqual(rebalancePlan([], ['a']), { add: ['a'], drop: [], keep: [] });
  });

  test('metadata that move it to another jurisdiction: what it leaves is forbidden', () => {
    const { place } = placer(
      geo([{ metadata: { residency: 'EU' }, jurisdictions: ['EU'], copies: 2 }], 'everywhere'),
      sites,
    );
    const before = placed(place('k', { user: {} })).assigned;
    const after = placed(place('k', { user: { residency: 'EU' } }));
    const change = placementChange(before, after);
    assert.ok(change.kind === 'move');
    assert.deepEqual(change.add, []);
    assert.deepEqual(change.keep, after.assigned);
    assert.deepEqual(
      change.drop.toSorted(),
      names.filter((name) => !after.assigned.includes(name)).toSorted(),
    );
    assert.deepEqual(change.forbidden, ['iad', 'nas']);
  });

  test('a native write where the key may not be is moved, not lost', () => {
    const { place } = placer(geo([{ match: '**', jurisdictions: ['EU'], copies: 1 }]), sites);
    const verdict = placed(place('k', {}));
    assert.deepEqual(placementChange(['iad'], verdict), {
      kind: 'move',
      add: verdict.assigned,
      drop: ['iad'],
      keep: [],
      forbidden: ['iad'],
    });
  });

  test('what is placed nowhere, or cannot be told yet, stays where it is', () => {
    const { place } = placer(geo([{ match: 'a', metadata: { m: '1' }, jurisdictions: ['EU'] }]), sites);
    for (const verdict of [place('b', {}), place('a', {})]) {
      assert.deepEqual(placementChange(['iad'], verdict), { kind: 'stay', at: ['iad'], because: verdict });
    }
  });

  test('a copy goes only after every site that should hold the key is verified to', () => {
    const plan = rebalancePlan(['a', 'b'], ['b', 'c', 'd']);
    const drops = (...verified: string[]) => mayDrop(plan, new Set(verified));
    assert.equal(drops('b', 'c', 'd'), true);
    for (const verified of [[], ['c', 'd'], ['b', 'c'], ['b', 'd'], ['a', 'b', 'c']]) {
      assert.equal(drops(...verified), false, verified.join());
    }
    assert.equal(mayDrop(rebalancePlan(['a'], []), new Set(['a'])), false);
  });
});
