import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { GeoRule, Place } from '../model/placement.ts';
import { placer } from './placement.ts';

// Every rule is tried with keys that match it and with all their near misses. Who matches is told by a matcher of its
// own, written from the words of docs/placement.md: alternatives written out, then character by character.

/** By the rule's pattern: keys that match it and none before. */
const samples: readonly [pattern: string, keys: readonly string[]][] = [
  ['eu/**', ['eu/a', 'eu/2026/Grüße.pdf', 'eu/']],
  ['customers/*/münchen/**', ['customers/acme/münchen/x.json', 'customers//münchen/']],
  ['{de,fr}-??/**', ['de-by/x', 'fr-75/a/b']],
  ['logs/????-??-??.gz', ['logs/2026-11-21.gz']],
  ['**/*.secret', ['x/key.secret', 'key.secret', 'a/b/.secret']],
  ['a.b+c/[x]/(y)/^$|', ['a.b+c/[x]/(y)/^$|']],
  ['\\*star\\{a,b\\}/**', ['*star{a,b}/x']],
  ['exact/key', ['exact/key']],
  ['ångström/K/**', ['ångström/K/é', 'ångström/K/']],
  ['emoji-😀/?', ['emoji-😀/😀', 'emoji-😀/x']],
];

const nearMisses: Readonly<Record<string, (key: string) => readonly string[]>> = {
  case: (key) => [key.toUpperCase(), key.toLowerCase(), ...eachChar(key, swapCase)],
  'a slash more': (key) => [
    `/${key}`,
    `${key}/`,
    `//${key}`,
    ...eachChar(key, (c) => (c === '/' ? '//' : c)),
  ],
  'a slash less': (key) => eachChar(key, (c) => (c === '/' ? '' : c)),
  'another slash': (key) =>
    ['\\', '∕', '／', '%2F', '%2f', ':'].flatMap((slash) => eachChar(key, (c) => (c === '/' ? slash : c))),
  'unicode form': (key) => ['NFC', 'NFD', 'NFKC', 'NFKD'].map((form) => key.normalize(form)),
  'unseen character': (key) =>
    ['\n', '\r\n', '\0', ' ', '\t', '\u200b', '\ufeff', '\u00ad', '\u2028'].flatMap((c) => [
      `${key}${c}`,
      `${c}${key}`,
      ...eachChar(key, (other) => `${other}${c}`),
    ]),
  prefix: (key) => ['x', '.', './', '../', 'eu', '-'].map((text) => `${text}${key}`),
  suffix: (key) => ['x', '.', '/.', '/..', '~', '-'].map((text) => `${key}${text}`),
  'a character less': (key) => [...key].map((_, index) => [...key].toSpliced(index, 1).join('')),
  'a character twice': (key) => eachChar(key, (c) => `${c}${c}`),
  'percent-encoding': (key) => [encodeURI(key), encodeURIComponent(key), ...eachChar(key, percentEncoded)],
  'look-alike': (key) => eachChar(key, (c) => lookAlikes[c] ?? c),
  'dot segments': (key) =>
    eachChar(key, (c) => (c === '/' ? '/./' : c)).concat(eachChar(key, (c) => (c === '/' ? '/x/../' : c))),
};

const lookAlikes: Readonly<Record<string, string>> = {
  a: 'а',
  e: 'е',
  o: 'о',
  c: 'с',
  x: 'х',
  u: 'ս',
  K: 'K',
  '.': '․',
  '-': '‐',
  '*': '∗',
};

/** `key` with each of its characters in turn replaced by what `change` makes of it. */
function eachChar(key: string, change: (char: string) => string): string[] {
  const chars = [...key];
  return chars.map((char, index) => chars.with(index, change(char)).join(''));
}

function swapCase(char: string): string {
  return char === char.toUpperCase() ? char.toLowerCase() : char.toUpperCase();
}

function percentEncoded(char: string): string {
  return Buffer.from(char).reduce((text, byte) => `${text}%${byte.toString(16)}`, '');
}

type Piece = string | { readonly wild: '?' | '*' | '**' | '**/' };

/** Alternatives written out, one list of pieces each. */
function readings(pattern: string): Piece[][] {
  const choice = /^((?:\\.|[^{\\])*)\{([^}]*)\}(.*)$/su.exec(pattern);
  if (choice) return choice[2]!.split(',').flatMap((one) => readings(`${choice[1]}${one}${choice[3]}`));
  const pieces = pattern.matchAll(/\\(.)|(?<=^|\/)(\*\*\/)|(\*\*)|([*?])|(.)/gsu);
  return [
    [...pieces].map(([, escaped, anyDepth, deep, wild, plain]) =>
      escaped || plain
        ? (escaped ?? plain!)
        : { wild: (anyDepth ?? deep ?? wild) as '?' | '*' | '**' | '**/' },
    ),
  ];
}

function fits(pieces: readonly Piece[], chars: readonly string[]): boolean {
  const [piece, ...rest] = pieces;
  if (piece === undefined) return chars.length === 0;
  if (typeof piece === 'string') return chars[0] === piece && fits(rest, chars.slice(1));
  if (piece.wild === '?') return chars.length > 0 && chars[0] !== '/' && fits(rest, chars.slice(1));
  if (piece.wild === '**/') {
    return fits(rest, chars) || chars.some((char, i) => char === '/' && fits(rest, chars.slice(i + 1)));
  }
  const slash = chars.indexOf('/');
  const most = piece.wild === '**' || slash === -1 ? chars.length : slash;
  return Array.from({ length: most + 1 }, (_, taken) => taken).some((taken) =>
    fits(rest, chars.slice(taken)),
  );
}

function matchesByTheBook(pattern: string, key: string): boolean {
  return readings(pattern).some((pieces) => fits(pieces, [...key]));
}

const rules: readonly GeoRule[] = samples.map(([match], index) => ({ match, jurisdictions: [`J${index}`] }));
const sites: readonly Place[] = [
  ...rules.map((_, index) => ({ name: `s${index}`, jurisdictions: [`J${index}`] })),
  { name: 'rest', jurisdictions: ['R'] },
  { name: 'unknown', jurisdictions: [] },
];
const open = placer({ kind: 'geo', rules, otherwise: { jurisdictions: ['R'] } }, sites);
const closed = placer({ kind: 'geo', rules }, sites);

/** Places `key` and holds that against the book; whether it was rule `index` that matched. */
function tryKey(key: string, index: number): boolean {
  const rule = samples.findIndex(([pattern]) => matchesByTheBook(pattern, key));
  const home = rule === -1 ? 'rest' : `s${rule}`;
  const verdict = open.place(key, {});
  const shown = JSON.stringify(key);
  assert.deepEqual(
    verdict,
    { kind: 'placed', allowed: [home], assigned: [home], rule: rule === -1 ? 'otherwise' : rule },
    shown,
  );
  assert.equal(closed.place(key, {}).kind, rule === -1 ? 'nowhere' : 'placed', shown);
  for (const { name } of sites) {
    assert.equal(open.mayHold(name, key, {}), name === home, `${shown} at ${name}`);
    assert.equal(closed.mayHold(name, key, {}), name === home && rule !== -1, `${shown} at ${name}`);
  }
  return rule === index;
}

describe('a key that nearly matches a rule is placed by the next one that it matches', () => {
  const missed = new Map<string, number>();
  for (const [index, [pattern, keys]] of samples.entries()) {
    test(pattern, (t) => {
      let tried = 0;
      let misses = 0;
      for (const key of keys) {
        assert.ok(tryKey(key, index), `${key} matches ${pattern}`);
        for (const [kind, make] of Object.entries(nearMisses)) {
          for (const near of new Set(make(key))) {
            if (near === key) continue;
            tried += 1;
            if (tryKey(near, index)) continue;
            misses += 1;
            missed.set(kind, (missed.get(kind) ?? 0) + 1);
          }
        }
      }
      t.diagnostic(`${tried} near keys, ${misses} of which miss`);
      assert.ok(misses > 20);
    });
  }

  test('every kind of near miss missed', () => {
    for (const kind of Object.keys(nearMisses)) assert.ok((missed.get(kind) ?? 0) > 0, kind);
  });
});

test('the book itself', () => {
  const says: readonly [pattern: string, key: string, matches: boolean][] = [
    ['eu/**', 'eu/', true],
    ['eu/**', 'eu', false],
    ['**/x', 'x', true],
    ['**/x', 'a/b/x', true],
    ['**/x', 'ax', false],
    ['a*c', 'a/c', false],
    ['a**c', 'a/c', true],
    ['{a,b}/?', 'b/x', true],
    ['{a,b}/?', 'c/x', false],
    ['\\*', 'x', false],
  ];
  for (const [pattern, key, matches] of says)
    assert.equal(matchesByTheBook(pattern, key), matches, `${pattern} ${key}`);
});

describe('metadata and tags that nearly match', () => {
  const value = 'Zürich, EU';
  const near = [
    value.toUpperCase(),
    value.toLowerCase(),
    value.normalize('NFD'),
    ` ${value}`,
    `${value} `,
    `${value}\n`,
    value.replace(' ', ''),
    encodeURIComponent(value),
    `"${value}"`,
    '',
    'Zürich',
    `${value}2`,
  ];
  for (const field of ['user', 'tags'] as const) {
    const condition = field === 'user' ? { metadata: { residency: value } } : { tags: { residency: value } };
    const { place, mayHold } = placer(
      { kind: 'geo', rules: [{ ...condition, sites: ['s0'] }], otherwise: { sites: ['rest'] } },
      sites,
    );
    const ruleFor = (entries: Record<string, string>) => {
      const attributes = { user: {}, tags: {}, [field]: entries };
      const verdict = place('k', attributes);
      assert.ok(verdict.kind === 'placed');
      assert.equal(mayHold('s0', 'k', attributes), verdict.rule === 0);
      assert.equal(mayHold('rest', 'k', attributes), verdict.rule !== 0);
      return verdict.rule;
    };
    test(field, () => {
      assert.equal(ruleFor({ residency: value }), 0);
      for (const other of near)
        assert.equal(ruleFor({ residency: other }), 'otherwise', JSON.stringify(other));
      for (const name of ['Residency', 'residency ', 'residenc', 'residency2'])
        assert.equal(ruleFor({ [name]: value }), 'otherwise', name);
      assert.equal(ruleFor({}), 'otherwise');
    });
  }

  test('an entry named like what every object has is not there unless it is', () => {
    const rule = { metadata: { constructor: 'x' }, sites: ['s0'] };
    const { place } = placer({ kind: 'geo', rules: [rule], otherwise: { sites: ['rest'] } }, sites);
    const ruleFor = (user: Record<string, string>) => (place('k', { user }) as { rule: unknown }).rule;
    assert.equal(ruleFor({}), 'otherwise');
    assert.equal(ruleFor({ constructor: 'x' }), 0);
  });

  test('a jurisdiction that nearly is the one', () => {
    for (const jurisdiction of ['eu', 'EU ', ' EU', 'EU-DE', 'E', 'ЕU', 'EU\n', '']) {
      const place = [{ name: 'a', jurisdictions: [jurisdiction] }];
      const { mayHold } = placer({ kind: 'geo', rules: [{ match: '**', jurisdictions: ['EU'] }] }, place);
      assert.equal(mayHold('a', 'k', {}), false, JSON.stringify(jurisdiction));
    }
  });
});
