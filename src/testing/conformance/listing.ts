import assert from 'node:assert/strict';
import type { ListRequest } from '../../ports/object-store.ts';
import {
  assertDigests,
  assertRemoved,
  byBytes,
  entriesOf,
  inLanes,
  keysOf,
  pagesOf,
  text,
} from './observe.ts';
import { type Scratch, Skipped, type Subject } from './subject.ts';

export function listingTests(subject: Subject): void {
  orderTests(subject);
  pagingTests(subject);
  boundaryTests(subject);
  reservedTests(subject);
  changeTests(subject);
}

/** Puts one object per name and answers their full keys in the order of a listing. */
async function fill(scratch: Scratch, names: readonly string[]): Promise<string[]> {
  const keys = names.map((name) => scratch.key(name)).filter((key) => !scratch.refuses(key));
  await inLanes(keys.length, 8, async (i) => {
    await scratch.put(keys[i]!, text(keys[i]!));
  });
  return keys.sort(byBytes);
}

async function assertListed(
  scratch: Scratch,
  request: ListRequest,
  expected: readonly string[],
): Promise<void> {
  assert.deepEqual(await keysOf(scratch, request), expected, JSON.stringify(request));
}

/** Around the places where UTF-8 and UTF-16 disagree: U+E000 to U+FFFF come before the astral characters. */
const unicodeNames = [
  '\u{7F}',
  'z',
  'é',
  '\u{7FF}',
  '\u{800}',
  '\u{D7FF}',
  '\u{E000}',
  '\u{F8FF}',
  '\u{FF5E}',
  '\u{FFFD}',
  '\u{10000}',
  '\u{1F600}',
  '\u{1F600}a',
  '\u{1F601}',
  '\u{10FFFD}',
  '\u{FFFD}\u{10000}',
  '\u{10000}\u{FFFD}',
];
const treeNames = ['a', 'a!', 'a-b', 'a.txt', 'a/', 'a/b', 'a/b/c', 'a/b.txt', 'a0', 'A', 'a b', 'aa', 'B/x'];

function orderTests(subject: Subject): void {
  subject.test('keys are listed in the order of their UTF-8 bytes', [], async (scratch) => {
    const keys = await fill(scratch, unicodeNames);
    await assertListed(scratch, { prefix: scratch.prefix }, keys);
    await assertListed(scratch, { prefix: scratch.prefix, pageSize: 2 }, keys);
  });

  subject.test('bounds follow the UTF-8 order as well', [], async (scratch) => {
    const keys = await fill(scratch, unicodeNames);
    const { prefix } = scratch;
    for (const bound of ['\u{D7FF}', '\u{E000}', '\u{FFFD}', '\u{10000}', '\u{1F600}'].map((name) =>
      scratch.key(name),
    )) {
      await assertListed(
        scratch,
        { prefix, after: bound, pageSize: 3 },
        keys.filter((key) => byBytes(key, bound) > 0),
      );
      await assertListed(
        scratch,
        { prefix, until: bound, pageSize: 3 },
        keys.filter((key) => byBytes(key, bound) <= 0),
      );
    }
  });

  subject.test('a, a.txt, a/ and a/b stand beside one another, in order', [], async (scratch) => {
    if (scratch.opened.keysAreFiles)
      throw new Skipped('the server keeps keys as files: a cannot stand beside a/b');
    const keys = await fill(scratch, treeNames);
    await assertListed(scratch, { prefix: scratch.prefix }, keys);
    await assertListed(scratch, { prefix: scratch.prefix, pageSize: 2 }, keys);
    const below = scratch.key('a/');
    await assertListed(
      scratch,
      { prefix: below },
      keys.filter((key) => key.startsWith(below)),
    );
    await assertListed(
      scratch,
      { prefix: scratch.key('a') },
      keys.filter((key) => key.startsWith(scratch.key('a'))),
    );
  });

  subject.test('folders are ordered among files by their whole keys: a-b/x, a/x, a0', [], async (scratch) => {
    const keys = await fill(scratch, ['a/x', 'a/y/z', 'a-b/x', 'a.b/x', 'a0', 'a0x/y', 'b']);
    await assertListed(scratch, { prefix: scratch.prefix, pageSize: 2 }, keys);
    const after = scratch.key('a/x');
    await assertListed(scratch, { prefix: scratch.prefix, after }, keys.slice(keys.indexOf(after) + 1));
  });
}

function pagingTests(subject: Subject): void {
  subject.test('an empty listing has no entries and ends', [], async (scratch) => {
    await assertListed(scratch, { prefix: scratch.key('nothing') }, []);
    await assertListed(scratch, { prefix: scratch.prefix, pageSize: 1 }, []);
  });

  subject.test(
    'a listing of many pages is complete and in order, whatever the page size',
    [],
    async (scratch) => {
      const keys = await fill(
        scratch,
        Array.from({ length: 25 }, (_, i) => `${i % 3 === 0 ? 'x/' : ''}key ${i}`),
      );
      for (const pageSize of [1, 4, 5, 24, 25, 26]) {
        const pages = await pagesOf(scratch.store, { prefix: scratch.prefix, pageSize }, scratch.signal);
        assert.deepEqual(
          pages.flat().map((entry) => entry.key),
          keys,
          `in pages of ${pageSize}`,
        );
        if (pageSize <= 5)
          assert.ok(pages.length > 2, `25 keys in pages of ${pageSize} came as ${pages.length} pages`);
      }
    },
  );

  subject.test('an entry tells size, token, time and digests as head does', [], async (scratch) => {
    const { store, signal } = scratch;
    const [key] = await fill(scratch, ['entry']);
    const [entry] = await entriesOf(store, { prefix: key! }, signal);
    const head = await store.head(key!, signal);
    assert.ok(entry && head);
    assert.equal(entry.size, Buffer.byteLength(key!));
    assert.ok(store.sameWrite(entry.token, head.token));
    assert.ok(Math.abs(entry.lastModifiedMs - head.lastModifiedMs) < 1_000);
    assertDigests(entry.digests, text(key!));
    assert.equal(
      entry.metadata !== undefined,
      store.limits.listsMetadata,
      'metadata where the limits promise it',
    );
  });

  subject.test('50 listings left after their first page leak nothing', [], async (scratch) => {
    const keys = await fill(scratch, ['a', 'b', 'c', 'd', 'e', 'f']);
    await inLanes(50, 4, async () => {
      for await (const page of scratch.store.list({ prefix: scratch.prefix, pageSize: 2 }, scratch.signal)) {
        assert.ok(page.length > 0);
        break;
      }
    });
    await assertListed(scratch, { prefix: scratch.prefix }, keys);
  });
}

function boundaryTests(subject: Subject): void {
  const names = ['b', 'd', 'd/1', 'd/2', 'f', 'h'];
  const bounds = [...names, 'a', 'c', 'd/', 'd/1x', 'g', 'z', ''];

  subject.test('after is exclusive and until is inclusive, on keys and between them', [], async (scratch) => {
    const keys = await fill(
      scratch,
      scratch.opened.keysAreFiles ? names.filter((name) => name !== 'd') : names,
    );
    const { prefix } = scratch;
    for (const bound of bounds.map((name) => scratch.key(name))) {
      await assertListed(
        scratch,
        { prefix, after: bound, pageSize: 2 },
        keys.filter((key) => key > bound),
      );
      await assertListed(
        scratch,
        { prefix, until: bound, pageSize: 2 },
        keys.filter((key) => key <= bound),
      );
    }
  });

  subject.test('after and until together bound a range; an empty one has no entries', [], async (scratch) => {
    const keys = await fill(scratch, ['a', 'b', 'c', 'd', 'e', 'f', 'g']);
    const { prefix } = scratch;
    const range = (from: string, to: string) => ({
      prefix,
      after: scratch.key(from),
      until: scratch.key(to),
      pageSize: 2,
    });
    await assertListed(scratch, range('b', 'e'), keys.slice(2, 5));
    await assertListed(scratch, range('a', 'g'), keys.slice(1));
    await assertListed(scratch, range('c', 'c'), []);
    await assertListed(scratch, range('e', 'b'), []);
    await assertListed(scratch, range('bb', 'cc'), keys.slice(2, 3));
  });

  subject.test('adjoining ranges cover every key exactly once, without a prefix too', [], async (scratch) => {
    const keys = await fill(scratch, ['a', 'b', 'c', 'd', 'e', 'f', 'g']);
    const cuts = [scratch.prefix, scratch.key('b'), scratch.key('dd'), scratch.key('z')];
    const found: string[] = [];
    for (let i = 1; i < cuts.length; i++) {
      found.push(...(await keysOf(scratch, { after: cuts[i - 1]!, until: cuts[i]!, pageSize: 2 })));
    }
    assert.deepEqual(found, keys);
  });

  subject.test('bounds outside of the prefix', [], async (scratch) => {
    const keys = await fill(scratch, ['m/1', 'm/2', 'm/3', 'n', 'l']);
    const prefix = scratch.key('m/');
    const inside = keys.filter((key) => key.startsWith(prefix));
    await assertListed(scratch, { prefix, after: scratch.key('a') }, inside);
    await assertListed(scratch, { prefix, after: scratch.key('n') }, []);
    await assertListed(scratch, { prefix, until: scratch.key('l') }, []);
    await assertListed(scratch, { prefix, until: scratch.key('z') }, inside);
  });

  subject.test('a prefix is a beginning of characters, not a folder, and may be odd', [], async (scratch) => {
    const names = ['it', 'item 1', 'item+1', 'item%201', 'items/x', 'ITEM', '\u{1F600}x', '\u{1F601}x'];
    const keys = await fill(scratch, names);
    for (const name of ['it', 'item', 'item ', 'item+', 'item%20', 'items/', '\u{1F600}', 'item 1', 'no']) {
      const prefix = scratch.key(name);
      await assertListed(
        scratch,
        { prefix, pageSize: 2 },
        keys.filter((key) => key.startsWith(prefix)),
      );
    }
  });
}

function reservedTests(subject: Subject): void {
  subject.test('keys below .isobar/ are hidden unless the prefix begins with it', [], async (scratch) => {
    const { store, signal } = scratch;
    const own = `.isobar/${scratch.prefix}`;
    const hidden = [`${own}a`, `${own}b`, `${own}c`];
    const shown = [`.isobar-${scratch.prefix}x`, `.isobas/${scratch.prefix}x`, `.a/${scratch.prefix}x`].sort(
      byBytes,
    );
    for (const key of [...hidden, ...shown]) await scratch.put(key, text('x'));
    const ours = (keys: readonly string[]) => keys.filter((key) => key.includes(scratch.prefix));
    for (const prefix of ['', '.', '.isobar', undefined]) {
      for (const pageSize of [2, 1_000]) {
        const request = prefix === undefined ? { pageSize } : { prefix, pageSize };
        const expected = shown.filter((key) => key.startsWith(prefix ?? ''));
        assert.deepEqual(ours(await keysOf(scratch, request)), expected, JSON.stringify(request));
      }
    }
    assert.deepEqual(ours(await keysOf(scratch, { after: '.isobar/', until: '.isobar/~' })), []);
    assert.deepEqual(ours(await keysOf(scratch, { prefix: '.isobar/' })), hidden);
    assert.deepEqual(await keysOf(scratch, { prefix: own, pageSize: 1 }), hidden);
    assert.equal((await store.head(hidden[0]!, signal))?.size, 1, 'and by its own key it is there');
  });
}

function changeTests(subject: Subject): void {
  subject.test('a key removed between two pages hides no other key', ['remove'], async (scratch) => {
    const { store, prefix, signal } = scratch;
    const keys = await fill(scratch, ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']);
    const found: string[] = [];
    let removed: string | undefined;
    for await (const page of store.list({ prefix, pageSize: 2 }, signal)) {
      found.push(...page.map((entry) => entry.key));
      const last = page.at(-1);
      if (removed !== undefined || last === undefined) continue;
      assertRemoved(await store.remove(last.key, last.token, signal));
      removed = last.key;
    }
    assert.deepEqual(found, keys, 'all that stood when the listing began');
    assert.deepEqual(
      await keysOf(scratch, { prefix }),
      keys.filter((key) => key !== removed),
    );
  });
}
