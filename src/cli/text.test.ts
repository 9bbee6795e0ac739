import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytesText, countText, printable, spanText, table, timeText, unprintable } from './text.ts';

test('keys on one line: the table of docs/cli.md', () => {
  const pairs: [string, string][] = [
    ['a/b c.txt', 'a/b c.txt'],
    ['grüße/日本/🎉', 'grüße/日本/🎉'],
    ['a\nb\rc\td', 'a\\nb\\rc\\td'],
    ['a\\nb', 'a\\\\nb'],
    ['\u001b[31mred\u007f', '\\x1b[31mred\\x7f'],
    ['\u0000\u0085', '\\x00\\x85'],
    ['abc\u202ecba', 'abc\\u{202e}cba'],
    ['\u2028\u2029\ufeff', '\\u{2028}\\u{2029}\\u{feff}'],
    [' a b  ', '\\x20a b\\x20\\x20'],
    ['', ''],
  ];
  for (const [key, shown] of pairs) {
    assert.equal(printable(key), shown);
    assert.equal(unprintable(shown), key);
  }
});

test('every character comes back', () => {
  let all = '';
  for (let code = 0; code < 0x3000; code++) all += String.fromCodePoint(code);
  assert.equal(unprintable(printable(all)), all);
  assert.ok(!/[\p{Cc}\p{Zl}\p{Zp}]/u.test(printable(all)));
});

test('figures', () => {
  assert.deepEqual([0, 1023, 1024, 1536, 10_240, 300 * 2 ** 20, 5 * 2 ** 40].map(bytesText), [
    '0 B',
    '1023 B',
    '1.00 KiB',
    '1.50 KiB',
    '10.0 KiB',
    '300 MiB',
    '5.00 TiB',
  ]);
  assert.deepEqual([0, 340, 12_000, 185_000, 7_800_000, 356_400_000].map(spanText), [
    '0.0 s',
    '0.3 s',
    '12 s',
    '3 min 5 s',
    '2 h 10 min',
    '4 d 3 h',
  ]);
  assert.deepEqual([countText(1, 'key'), countText(1_234_567, 'key')], ['1 key', '1,234,567 keys']);
  assert.equal(timeText(1_700_000_000_999), '2023-11-14 22:13:20Z');
  assert.deepEqual(
    table(
      [
        ['a', '1'],
        ['bbb', '22'],
      ],
      [1],
    ),
    ['a     1', 'bbb  22'],
  );
});
