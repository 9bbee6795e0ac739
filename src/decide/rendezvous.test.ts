import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Random } from '../testing/simulation/random.ts';
import { logOf, rendezvous } from './rendezvous.ts';

type Weights = Readonly<Record<string, number>>;

const chooser = (weights: Weights) => rendezvous(new Map(Object.entries(weights)));
const keysOf = (count: number) => Array.from({ length: count }, (_, i) => `photos/2026/${i}.jpg`);
const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);

/** That `order` is how the ranking begins: each place is drawn by weight from those that are left. */
function chanceOf(order: readonly string[], weights: Weights): number {
  let left = sum(Object.values(weights));
  let chance = 1;
  for (const site of order) {
    chance *= weights[site]! / left;
    left -= weights[site]!;
  }
  return chance;
}

function orders(sites: readonly string[], length: number): string[][] {
  if (length === 0) return [[]];
  return sites.flatMap((first) => {
    const others = sites.filter((site) => site !== first);
    return orders(others, length - 1).map((rest) => [first, ...rest]);
  });
}

/** How likely `site` is among the first `copies`. */
function shareOf(site: string, weights: Weights, copies: number): number {
  const beginnings = orders(Object.keys(weights), copies);
  return sum(beginnings.filter((one) => one.includes(site)).map((one) => chanceOf(one, weights)));
}

/** Within five standard deviations of a binomial count. */
function assertShare(count: number, total: number, share: number, what: string): void {
  const sigma = Math.sqrt(total * share * (1 - share));
  assert.ok(Math.abs(count - total * share) <= 5 * sigma, `${what}: ${count} of ${total}, expected ${share}`);
}

/** Every order of the sites comes as often as independent exponential draws would bring it. */
function assertOrders(keys: readonly string[], weights: Weights): void {
  const choose = chooser(weights);
  const sites = Object.keys(weights);
  const seen = new Map<string, number>();
  for (const key of keys) {
    const order = choose(key, sites.length).join();
    seen.set(order, (seen.get(order) ?? 0) + 1);
  }
  const terms = orders(sites, sites.length).map((order) => {
    const expected = keys.length * chanceOf(order, weights);
    return ((seen.get(order.join()) ?? 0) - expected) ** 2 / expected;
  });
  const freedom = terms.length - 1;
  const bound = freedom + 5 * Math.sqrt(2 * freedom);
  assert.ok(sum(terms) < bound, `chi-square ${sum(terms)} over ${freedom} degrees of freedom`);
}

describe('shares', () => {
  const random = new Random('keys');
  const looks: Readonly<Record<string, readonly string[]>> = {
    'in a row': keysOf(100_000),
    'of random characters': Array.from({ length: 100_000 }, () => random.id()),
    'that differ at their beginning': Array.from({ length: 100_000 }, (_, i) => `${i}/${'x'.repeat(200)}`),
  };
  for (const [look, keys] of Object.entries(looks)) {
    test(`keys ${look}: sites of equal weight`, () => assertOrders(keys, { a: 1, b: 1, c: 1, d: 1, e: 1 }));
    test(`keys ${look}: sites of several weights`, () =>
      assertOrders(keys, { a: 1, b: 2, c: 3, d: 1, e: 0.5 }));
  }

  test('of many sites each has its share', () => {
    const weights = Object.fromEntries(Array.from({ length: 32 }, (_, i) => [`site-${i}`, 1 + (i % 4)]));
    const choose = chooser(weights);
    const firsts = keysOf(100_000).map((key) => choose(key, 1)[0]!);
    for (const site of Object.keys(weights)) {
      const count = firsts.filter((one) => one === site).length;
      assertShare(count, firsts.length, shareOf(site, weights, 1), site);
    }
  });
});

describe('when the sites change, only the site that changed gains or loses keys, and as many as it should', () => {
  const keys = keysOf(10_000);

  /** Tries twenty random worlds; `change` gives the weights of one site before and after (0: away). */
  function tryChanges(
    seed: string,
    change: (random: Random) => readonly [before: number, after: number],
  ): void {
    for (let world = 0; world < 20; world++) {
      const random = new Random(`${seed}-${world}`);
      const others = Object.fromEntries(
        Array.from({ length: random.between(3, 6) }, (_, i) => [`s${i}`, random.between(1, 9) / 2]),
      );
      const [before, after] = change(random);
      const copies = random.between(1, 4);
      const choose = [before, after].map((weight) => chooser({ ...others, changed: weight }));
      let moved = 0;
      for (const key of keys) {
        const [old, now] = choose.map((one) => one(key, copies)) as [string[], string[]];
        const gone = old.filter((site) => !now.includes(site));
        const come = now.filter((site) => !old.includes(site));
        if (gone.length + come.length === 0) continue;
        moved += 1;
        assert.deepEqual(
          after > before ? come : gone,
          ['changed'],
          `${seed}-${world}: ${key} moved needlessly`,
        );
        assert.equal(old.length, now.length);
        assert.equal(gone.length, 1);
      }
      const shares = [before, after].map((weight) =>
        weight === 0 ? 0 : shareOf('changed', { ...others, changed: weight }, copies),
      );
      assertShare(moved, keys.length, Math.abs(shares[1]! - shares[0]!), `${seed}-${world}`);
    }
  }

  test('a site joins', () => tryChanges('joins', (random) => [0, random.between(1, 9) / 2]));
  test('a site leaves', () => tryChanges('leaves', (random) => [random.between(1, 9) / 2, 0]));
  test('a weight grows', () => tryChanges('grows', (random) => [1, 1 + random.between(1, 9) / 3]));
  test('a weight shrinks', () => tryChanges('shrinks', (random) => [1, 1 / random.between(2, 9)]));

  test('one more copy is added to those that are there', () => {
    const choose = chooser({ a: 1, b: 2, c: 3, d: 4 });
    for (const key of keys) {
      for (const copies of [1, 2, 3])
        assert.deepEqual(choose(key, copies + 1).slice(0, copies), choose(key, copies));
    }
  });
});

test('the order in which sites are named does not count', () => {
  const there = chooser({ a: 1, b: 2, c: 3 });
  const back = chooser({ c: 3, b: 2, a: 1 });
  for (const key of keysOf(1_000)) assert.deepEqual(there(key, 3), back(key, 3));
});

test('all weights doubled are the same weights', () => {
  const once = chooser({ a: 1, b: 2, c: 3 });
  const twice = chooser({ a: 2, b: 4, c: 6 });
  for (const key of keysOf(1_000)) assert.deepEqual(once(key, 3), twice(key, 3));
});

test('a site of weight 0 takes nothing, and copies that nobody can take are not made', () => {
  const choose = chooser({ a: 1, b: 0, c: 1 });
  for (const key of keysOf(1_000)) assert.deepEqual(choose(key, 3).sort(), ['a', 'c']);
});

// Computed apart, in Python with 40 digits. Should they change, so does the place of nearly every key in the world.
test('keys stay where they are from release to release', () => {
  const even = chooser({ aws: 1, gcp: 1, azure: 1, nas: 1, minio: 1 });
  const uneven = chooser({ aws: 1, gcp: 2, azure: 0.5, nas: 3, minio: 1 });
  const known: readonly [key: string, even: string, uneven: string][] = [
    ['a', 'minio aws azure nas gcp', 'minio nas aws gcp azure'],
    ['photos/2026/1.jpg', 'gcp minio nas aws azure', 'gcp minio nas aws azure'],
    ['grüße/😀', 'azure minio gcp nas aws', 'gcp nas azure minio aws'],
  ];
  for (const [key, ofEven, ofUneven] of known) {
    assert.equal(even(key, 5).join(' '), ofEven);
    assert.equal(uneven(key, 5).join(' '), ofUneven);
  }
});

test('the logarithm is the natural one', () => {
  const random = new Random('logarithm');
  const edges = [2 ** -53, 0.5, Math.SQRT1_2, 1 - 2 ** -53, 0.25, 2 ** -20];
  for (const u of [
    ...edges,
    ...Array.from({ length: 20_000 }, () => (random.between(0, 2 ** 31) + 0.5) / 2 ** 31),
  ]) {
    const expected = Math.log(u);
    assert.ok(
      Math.abs(logOf(u) - expected) <= 1e-15 * Math.abs(expected),
      `${u}: ${logOf(u)}, not ${expected}`,
    );
  }
});
