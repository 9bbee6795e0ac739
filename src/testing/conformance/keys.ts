import assert from 'node:assert/strict';
import { noMetadata } from '../../model/metadata.ts';
import type { ListEntry } from '../../ports/object-store.ts';
import {
  assertAbsent,
  assertBody,
  assertConflict,
  assertFails,
  byBytes,
  entriesOf,
  headToken,
  inLanes,
  keysOf,
  text,
} from './observe.ts';
import { partSizeFor } from './parts.ts';
import { type Scratch, Skipped, type Subject } from './subject.ts';

const composed = 'é.txt'.normalize('NFC');
const decomposed = 'é.txt'.normalize('NFD');

/** Names that some server, file system or client is known to bend. */
const oddNames: Readonly<Record<string, string>> = {
  'a space': 'a b',
  'spaces at both ends': ' a ',
  'a plus': 'a+b',
  'an encoded slash': 'a%2Fb',
  'an encoded space': 'a%20b',
  'a lone percent sign': '100%',
  'a percent sign before no hex digits': 'a%zz',
  'a question mark': 'a?b=c',
  'a number sign': 'a#b',
  'an ampersand and an equals sign': 'a&b=c',
  'a semicolon and a colon': 'a;b:c',
  'an at sign, a comma and a dollar sign': '@a,$b',
  'single quotes': "it's",
  'double quotes': 'say "x"',
  'angle brackets': '<a>',
  'brackets, braces and a bar': '[a]{b}|c^`',
  'parentheses, a star and an exclamation mark': '(a)*!~',
  'a backslash': 'a\\b',
  'a newline': 'a\nb',
  'a carriage return': 'a\rb',
  'a tab': 'a\tb',
  'a control character': 'a\u0001b',
  'a delete character': 'a\u007Fb',
  'a dot segment': 'x/./y',
  'a dot-dot segment': 'x/../y',
  'an encoded dot-dot segment': 'x/%2e%2e/y',
  'a dot segment at the end': 'x/.',
  'a dot-dot segment at the end': 'x/..',
  'a segment of three dots': '.../x',
  'a trailing slash': 'folder/',
  'a double slash': 'x//y',
  'a double slash at the end': 'x//',
  'a trailing dot': 'name.',
  'a trailing dot in a segment': 'segment./x',
  'a leading dot': '.hidden',
  'a dash at the front': '-rf',
  'an emoji': 'a\u{1F600}b',
  'an emoji family': '\u{1F469}\u200D\u{1F469}\u200D\u{1F467}',
  'right-to-left text': 'שלום',
  'a byte order mark': '\uFEFFa',
  'a no-break space': 'a\u00A0b',
  'a line separator': 'a\u2028b',
  'a combining character, composed': composed,
  'a combining character, decomposed': decomposed,
  'a Windows device name': 'CON',
  'a Windows device name with an extension': 'nul.txt',
  'a name like an escape of a driver': '%x2e~0',
  'a name like a temporary file': '.tmp-1~',
  'upper case': 'README',
  'mixed case': 'Readme',
};

export function keyTests(subject: Subject): void {
  for (const [name, odd] of Object.entries(oddNames)) {
    subject.test(`a key with ${name}: written, read, listed and removed`, [], (scratch) =>
      roundTrip(scratch, scratch.key(odd)),
    );
  }
  subject.test(
    'a key with a leading slash: written, read, listed and removed',
    ['create', 'remove'],
    (scratch) => roundTrip(scratch, `/${scratch.key('a')}`),
  );
  subject.test(
    'a key with a leading dot-dot: written, read, listed and removed',
    ['create', 'remove'],
    (scratch) => roundTrip(scratch, `../${scratch.key('a')}`),
  );
  togetherTests(subject);
  lengthTests(subject);
}

/** Removal, and the conflict of a second creation, only where the store promises them. */
async function roundTrip(scratch: Scratch, key: string): Promise<void> {
  if (scratch.refuses(key)) return assertRefused(scratch, key);
  const { store, signal } = scratch;
  await scratch.put(key, text(key));
  if (scratch.assurance('create') !== 'none') {
    const request = { key, body: text('x'), metadata: noMetadata, condition: { kind: 'absent' } } as const;
    assertConflict(await store.write(request, signal));
  }
  assert.equal((await store.head(key, signal))?.key, key);
  await assertBody(scratch, key, text(key));
  assert.deepEqual(await keysOf(scratch, { prefix: key }), [key]);
  if (scratch.assurance('remove') === 'none') return;
  assert.equal((await store.remove(key, await headToken(scratch, key), signal)).kind, 'removed');
  await assertAbsent(scratch, key);
  assert.deepEqual(await keysOf(scratch, { prefix: key }), []);
}

/** Declared as refused: then `invalid`, for a write and for an upload alike. */
async function assertRefused(scratch: Scratch, key: string): Promise<void> {
  const { store, signal } = scratch;
  const before = await keysOf(scratch, { prefix: scratch.prefix });
  if (scratch.assurance('create') !== 'none') {
    const request = { key, body: text('x'), metadata: noMetadata, condition: { kind: 'absent' } } as const;
    await assertFails(store.write(request, signal), 'invalid');
  }
  await assertFails(
    store.startUpload(
      { key, size: 1, partSizeBytes: partSizeFor(store.limits), metadata: noMetadata },
      signal,
    ),
    'invalid',
  );
  assert.deepEqual(await keysOf(scratch, { prefix: scratch.prefix }), before, 'a refusal changes nothing');
}

function togetherTests(subject: Subject): void {
  subject.test('odd keys side by side are all different objects, listed in order', [], async (scratch) => {
    const keys = Object.values(oddNames)
      .filter((name) => !scratch.opened.keysAreFiles || !name.endsWith('/'))
      .map((name) => scratch.key(name))
      .filter((key) => !scratch.refuses(key));
    await assertDistinct(scratch, keys);
  });

  subject.test('keys that differ only in case are two objects', [], (scratch) =>
    assertDistinct(scratch, [
      scratch.key('Readme'),
      scratch.key('README'),
      scratch.key('DIR/x'),
      scratch.key('dir/x'),
    ]),
  );

  subject.test('NFC and NFD are two keys', [], (scratch) =>
    assertDistinct(scratch, [scratch.key(composed), scratch.key(decomposed)]),
  );

  subject.test('x/y, x//y, x/./y and x/z/../y are four keys', [], (scratch) =>
    assertDistinct(
      scratch,
      ['x/y', 'x//y', 'x/./y', 'x/z/../y'].map((name) => scratch.key(name)),
    ),
  );

  subject.test('a, a/ and a/b are three keys', [], (scratch) => {
    if (scratch.opened.keysAreFiles)
      throw new Skipped('the server keeps keys as files: a cannot stand beside a/b');
    return assertDistinct(
      scratch,
      ['a', 'a/', 'a/b', 'a/b/', 'a/b/c'].map((name) => scratch.key(name)),
    );
  });
}

async function assertDistinct(scratch: Scratch, wanted: readonly string[]): Promise<void> {
  const keys = wanted.filter((key) => !scratch.refuses(key));
  const bodyFor = (key: string) => text(`the body of ${JSON.stringify(key)}`);
  await inLanes(keys.length, 8, async (i) => {
    await scratch.put(keys[i]!, bodyFor(keys[i]!));
  });
  const listed = await entriesOf(scratch.store, { prefix: scratch.prefix, pageSize: 7 }, scratch.signal);
  const summary = (entries: readonly ListEntry[]) =>
    entries.map(({ key, size }) => `${JSON.stringify(key)} ${size}`);
  const expected = [...keys].sort(byBytes).map((key) => `${JSON.stringify(key)} ${bodyFor(key).length}`);
  assert.deepEqual(summary(listed), expected);
  await inLanes(keys.length, 8, (i) => assertBody(scratch, keys[i]!, bodyFor(keys[i]!)));
}

function lengthTests(subject: Subject): void {
  const longest = (scratch: Scratch) => Math.min(scratch.store.limits.maxKeyBytes, 1024);
  const padded = (scratch: Scratch, unit: string) => {
    const room = longest(scratch) - Buffer.byteLength(scratch.prefix);
    const key = scratch.prefix + unit.repeat(Math.floor(room / Buffer.byteLength(unit)));
    return key + 'x'.repeat(longest(scratch) - Buffer.byteLength(key));
  };

  subject.test('the longest key, in one segment', [], (scratch) => roundTrip(scratch, padded(scratch, 'k')));
  subject.test('the longest key, in segments of 50', [], (scratch) =>
    roundTrip(scratch, padded(scratch, `${'k'.repeat(49)}/`)),
  );
  subject.test('the longest key, of characters of three bytes', [], (scratch) =>
    roundTrip(scratch, padded(scratch, '\u20AC')),
  );
  subject.test('two of the longest keys that differ only in the last character', [], (scratch) => {
    const key = padded(scratch, 'k');
    return assertDistinct(scratch, [`${key.slice(0, -1)}1`, `${key.slice(0, -1)}2`]);
  });
  subject.test('a key one byte longer is refused as invalid', [], (scratch) => {
    const room = scratch.store.limits.maxKeyBytes + 1 - Buffer.byteLength(scratch.prefix);
    return assertRefused(scratch, scratch.prefix + 'k/'.repeat(room).slice(0, room));
  });
}
