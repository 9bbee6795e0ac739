import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytes, randomDocument } from '../testing/merging.ts';
import { Random } from '../testing/simulation/random.ts';
import { canonical, NotJson, parseJson, parsePointer, pointerTo } from './json.ts';
import { limits } from './rule.ts';

const canon = (source: string) => canonical(parseJson(bytes(source)));

// The example of RFC 8785, 3.2.2 to 3.2.4.
const rfc = String.raw`{
  "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
  "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
  "literals": [null, true, false],
  "\ud83d\ude00": 1, "\ufb33": 2, "\u20ac": 3, "\r": 4, "1": 5, "\u0080": 6, "\u00f6": 7
}`;

test('the form is that of RFC 8785, sorted by UTF-16 units', () => {
  const keys = [
    '\\r',
    '1',
    'literals',
    'numbers',
    'string',
    '\u0080',
    '\u00f6',
    '\u20ac',
    '\u{1f600}',
    '\ufb33',
  ];
  const form = canon(rfc);
  const places = keys.map((key) => form.indexOf(`"${key}":`));
  assert.deepEqual(
    places,
    [...places].sort((a, b) => a - b),
  );
  // 333333333.33333329 is no double: RFC 8785 forbids such numbers, here they stay as they were written.
  assert.match(form, /"numbers":\[333333333\.33333329,1e\+30,4\.5,0\.002,1e-27\]/);
  assert.match(form, /"string":"€\$\\u000f\\nA'B\\"\\\\\\\\\\"\/"/);
});

const numbers: Readonly<Record<string, string>> = {
  '1.0': '1',
  '-0': '0',
  '0.10': '0.1',
  '1e21': '1e+21',
  '100000000000000000000': '100000000000000000000',
  '123456789012345678': '123456789012345678',
  '12345678901234567890': '12345678901234567890',
  '9007199254740993': '9007199254740993',
  '1e400': '1e400',
  '-1E400': '-1E400',
  '1e-400': '1e-400',
  '0.1000000000000000055511151231257827': '0.1000000000000000055511151231257827',
  '5e-324': '5e-324',
  '0e999999999999999999': '0',
};

for (const [source, form] of Object.entries(numbers)) {
  test(`${source} is written as ${form}: its value never changes`, () => assert.equal(canon(source), form));
}

test('numbers of any length are read in time', () => {
  const zeros = '0'.repeat(2_000_000);
  assert.equal(canon(`1${zeros}1`), `1${zeros}1`);
  assert.equal(canon(`1e1${zeros}`), `1e1${zeros}`);
});

const refused: Readonly<Record<string, readonly [source: string, why: RegExp]>> = {
  'a key twice': ['{"a":{"b":1,"b":2}}', /at "\/a".*"b" stands there twice/],
  'a key twice, once escaped': [String.raw`{"a":1,"\u0061":2}`, /stands there twice/],
  'half of a surrogate pair': [String.raw`["\ud800"]`, /at "\/0".*half of a surrogate pair/],
  'half of a surrogate pair in a key': [String.raw`{"\udc00":1}`, /half of a surrogate pair/],
  'a comma too many': ['[1,]', /a value is missing/],
  'a member without key': ['{1:2}', /a key is missing/],
  'more after the end': ['{} {}', /more follows/],
  'a control character': ['"\u0001"', /control character/],
  'a leading zero': ['01', /more follows/],
  'a bare word': ['nul', /unknown/],
  'an unknown escape': [String.raw`"\x41"`, /escape is unknown/],
  'a byte order mark': ['\ufeff{}', /unknown/],
  nothing: ['', /a value is missing/],
  'an end missing': ['[[1]', /does not end/],
};

for (const [what, [source, why]] of Object.entries(refused)) {
  test(`${what} is refused, with the place`, () => {
    assert.throws(
      () => parseJson(bytes(source)),
      (error) => error instanceof NotJson && why.test(error.message),
    );
  });
}

test('what is not UTF-8, too deep or too long is refused; the limits themselves are taken', () => {
  assert.throws(() => parseJson(Uint8Array.of(0x22, 0xff, 0x22)), /not UTF-8/);
  const nested = (depth: number) => bytes('['.repeat(depth) + ']'.repeat(depth));
  assert.ok(parseJson(nested(limits.depth)));
  assert.throws(() => parseJson(nested(limits.depth + 1)), /deeper than 200/);
  assert.throws(() => parseJson(nested(1_000_000)), /deeper than 200/);
  const long = (size: number) => bytes(`"${'x'.repeat(size - 2)}"`);
  assert.ok(parseJson(long(limits.bodyBytes)));
  assert.throws(() => parseJson(long(limits.bodyBytes + 1)), /more than the 8388608 that are merged/);
});

test('__proto__ and constructor are keys like any other', () => {
  assert.equal(canon('{"constructor":1,"__proto__":{"x":1}}'), '{"__proto__":{"x":1},"constructor":1}');
});

test('what JSON.parse takes is taken, with the same meaning; what it refuses is refused (20,000 texts)', () => {
  const random = new Random('json');
  const units = [
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    '"',
    '\\',
    '0',
    '1',
    '-',
    '.',
    'e',
    'true',
    'null',
    'a',
    ' ',
    '\n',
    '\u00e9',
  ];
  for (let round = 0; round < 20_000; round++) {
    let source = JSON.stringify(randomDocument(random), null, random.between(0, 3));
    for (let edits = random.between(0, 3); edits > 0; edits--) {
      const at = random.between(0, source.length + 1);
      source = source.slice(0, at) + random.pick(units) + source.slice(at + random.between(0, 2));
    }
    const mine = outcome(() => JSON.parse(canon(source)));
    const theirs = outcome(() => JSON.parse(source, withoutMinusZero));
    if (mine === 'refused' && theirs !== 'refused' && hasTwice(source)) continue;
    assert.deepEqual(mine, theirs, source);
  }
});

/** RFC 8785 writes it as 0. */
function withoutMinusZero(_: string, value: unknown): unknown {
  return value === 0 ? 0 : value;
}

function outcome(read: () => unknown): unknown {
  try {
    return read();
  } catch {
    return 'refused';
  }
}

/** Whether refused for a key that stands twice, which JSON.parse lets pass. */
function hasTwice(source: string): boolean {
  try {
    parseJson(bytes(source));
    return false;
  } catch (error) {
    return error instanceof NotJson && error.message.includes('twice');
  }
}

test('pointers are those of RFC 6901', () => {
  for (const path of [[], [''], ['a/b', 'm~n', ' ', '__proto__'], ['~1', '/']]) {
    assert.deepEqual(parsePointer(pointerTo(path)), path);
  }
  assert.equal(pointerTo(['a/b', 'm~n']), '/a~1b/m~0n');
  for (const none of ['a', '/~2', '/~']) assert.equal(parsePointer(none), undefined);
});
