import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  bytesOfKey,
  keyAsNames,
  type NameRules,
  namesAsKey,
  oddNameBytes,
  oddPlace,
  type Place,
  plainPlace,
} from './names.ts';

const linux: NameRules = { windows: false, folds: false };
const windows: NameRules = { windows: true, folds: true };

const pathOf = (place: Place | undefined) => place && [...place.folder, place.name].join('/');
const plain = (key: string, rules = linux) => pathOf(plainPlace(key, rules));
const odd = (key: string) => pathOf(oddPlace(key))!.replace(/^\.isobar\/odd\//, '');

describe('ordinary keys are their own paths', () => {
  const keys = [
    'a',
    'a/b.txt',
    'README',
    'with blank',
    'Grüße/日本/🎉',
    '100%/a%20b',
    'a\\b',
    'new\nline',
    '12:30?.log',
    ' .hidden',
    'trailing. ',
    'con',
    '.isobar/site',
    '.isobarx',
    'a/.isobar/store/x',
    '...',
    'x'.repeat(255),
  ];
  for (const key of keys) test(JSON.stringify(key), () => assert.equal(plain(key), key));
});

describe('the table of docs/filesystem-store.md: keys without a plain path, and their odd one', () => {
  const rows: readonly (readonly [row: string, key: string, path: string, where: NameRules])[] = [
    ['empty segment at the end', 'photos/', 'photos%d/%f', linux],
    ['empty segment at the start', '/a', '%d/a', linux],
    ['empty segment inside', 'a//b', 'a%d/%d/b', linux],
    ['dot', './a', '%2E%d/a', linux],
    ['two dots', '../a', '.%2E%d/a', linux],
    ['NUL', 'a\0b', 'a%00b', linux],
    ['segment over 255 bytes', `${'y'.repeat(256)}`, longPath('y'.repeat(256)), linux],
    ['segment of 256 bytes in 3-byte characters', '語'.repeat(86), longPath('語'.repeat(86)), linux],
    ['our own folder', '.isobar/store/x', '.isobar%d/store%d/x', linux],
    ['our own folder', '.isobar/odd/x', '.isobar%d/odd%d/x', linux],
    ['our own folder', '.isobar', '.isobar', linux],
    ['Windows: reserved character', 'a:b', 'a%3Ab', windows],
    ['Windows: backslash', 'a\\b', 'a%5Cb', windows],
    ['Windows: control character', 'a\nb', 'a%0Ab', windows],
    ['Windows: trailing dot', 'a.', 'a%2E', windows],
    ['Windows: trailing blank', 'a ', 'a%20', windows],
    ['Windows: device name', 'aux.txt', '%61ux.txt', windows],
    ['Windows: device name', 'x/COM1', 'x%d/%43%4F%4D1', windows],
  ];
  for (const [row, key, path, where] of rows) {
    test(`${row}: ${JSON.stringify(key).slice(0, 40)}`, () => {
      assert.equal(plain(key, where), undefined);
      assert.equal(odd(key), path);
    });
  }

  const clashes: readonly (readonly [row: string, key: string, path: string])[] = [
    ['a file where a folder of that name stands', 'a', 'a'],
    ['a file below the name of a file', 'a/b', 'a%d/b'],
    ['capitals', 'Makefile', '%4Dakefile'],
    ['a percent sign', '%41', '%2541'],
    ['no ASCII', 'é', '%C3%A9'],
    ['decomposed', 'e\u0301', 'e%CC%81'],
  ];
  for (const [row, key, path] of clashes)
    test(`odd only at need: ${row}`, () => assert.equal(odd(key), path));
});

function longPath(segment: string): string {
  const bytes = Buffer.from(segment);
  const names: string[] = [];
  for (let at = 0; at + 60 <= bytes.length; at += 60) names.push(`${escaped(bytes.subarray(at, at + 60))}%c`);
  return [...names, escaped(bytes.subarray(bytes.length - (bytes.length % 60)))].join('/');
}

/** Independent of the code: only for bytes of which all or none are lower-case letters. */
function escaped(bytes: Buffer): string {
  return bytes[0]! < 0x80
    ? bytes.toString()
    : bytes
        .toString('hex')
        .toUpperCase()
        .replace(/../g, (hex) => `%${hex}`);
}

describe('over random keys', () => {
  const keys = randomKeys(20_000);

  test('no two keys have one odd path, not even on a disk that folds case', () => {
    const owners = new Map<string, string>();
    for (const key of keys) {
      const path = odd(key);
      const folded = path.toLowerCase();
      // Capitals stand only in the digits of escapes, so folding joins no two paths.
      assert.equal(owners.get(folded) ?? key, key, path);
      owners.set(folded, key);
      assert.match(path, /^[a-z0-9._%/A-F-]+$/);
    }
  });

  test('every odd path leads back to its key', () => {
    for (const key of keys) {
      const { folder, name } = oddPlace(key);
      const steps = [...folder.slice(2).map((step) => oddNameBytes(step, true)), oddNameBytes(name, false)];
      assert.ok(!steps.includes(undefined), key);
      assert.equal(steps.join(''), bytesOfKey(key));
    }
  });

  test('odd names fit every disk: at most 255 bytes, no device name, no dot or blank at the end', () => {
    for (const key of keys) {
      for (const name of odd(key).split('/')) {
        assert.ok(name.length > 0 && name.length <= 255, name);
        assert.doesNotMatch(name, /[. ]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/);
      }
    }
  });

  test('a folder of the odd tree never has the name of a file of it', () => {
    const files = new Set(keys.map(odd));
    for (const key of keys) {
      const folders = odd(key).split('/').slice(0, -1);
      folders.forEach((_, at) => {
        assert.ok(!files.has(folders.slice(0, at + 1).join('/')));
      });
    }
  });

  test('names for a key aside lead back to it', () => {
    for (const key of keys) assert.equal(namesAsKey(keyAsNames(key)), key);
  });
});

test('names that the table never makes are no keys', () => {
  const files = ['%41x%', 'A', 'a.', '%61', 'con', '%2F', '%', '%2e', 'x'.repeat(60), 'é', ''];
  for (const name of files) assert.equal(oddNameBytes(name, false), undefined, name);
  const folders = ['a', 'a%c', '%f', 'A%d', `${'x'.repeat(60)}%d`];
  for (const name of folders) assert.equal(oddNameBytes(name, true), undefined, name);
});

/** Mulberry32: the same keys on every run. */
function randomKeys(count: number): string[] {
  let state = 20261121;
  const random = (below: number) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
  const alphabet = [...'aaabcdAB/////...%%dcf \\:\n\0~é日🎉2E'];
  const word = (length: number) => Array.from({ length }, () => alphabet[random(alphabet.length)]).join('');
  const keys = new Set<string>();
  while (keys.size < count) {
    const kind = random(10);
    if (kind < 7) keys.add(word(1 + random(8)));
    else if (kind < 9) keys.add('x'.repeat(55 + random(10)) + word(1 + random(4)));
    else keys.add(word(random(200)) + ['con', 'aux.txt', '..', 'lpt1/'][random(4)]);
  }
  return [...keys];
}
