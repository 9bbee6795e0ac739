import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseXml, type XmlElement } from './xml.ts';
import { valueAt, XmlRows } from './xml-rows.ts';

const entries = {
  plain: '<E><K>a</K><O><I>1</I><N>n</N></O><S>5</S></E>',
  entities: '<E><K>a&amp;lt;&#34;</K><O><I>&quot;</I><N>n</N></O><S/></E>',
  spaced: '<E>\n  <K>a > b</K>\n  <O>\n<I></I><N />\n</O><S > 5 </S ></E >',
  repeated: '<E><K>a</K><K>b</K><S>5</S><T><G>1</G></T><T><G>2</G></T></E>',
  attributes: '<E><K encoded="true" x=\'>\'>a%41</K><S>5</S></E>',
  sections: '<E><K><![CDATA[<S>6</S>]]></K><!-- <S>7</S> --><S>5</S></E>',
  mixed: '<E>text<K>a</K>more<S>5</S></E>',
  prefixed: '<x:E><x:K>a</x:K><S>5</S></x:E>',
  bare: '<E>text</E>',
  nothing: '<E/>',
  unlike: '<E><S>5</S><K>a</K></E>',
};
const all = Object.values(entries);

const pageOf = (texts: readonly string[], between = '') =>
  `<?xml version="1.0"?><L><Name>n</Name>${texts.join(between)}<!-- <E> --><Next>m</Next></L>`;

function read(text: string, isWanted = (_: string) => true) {
  const rows = new XmlRows('E', 1, isWanted);
  const root = parseXml(text, rows);
  return (
    root && { root, rows: rows.rows.map(({ paths, values }) => paths.map((path, i) => [path, values[i]])) }
  );
}

/** What the tree says: written apart from the code that it checks. */
function leaves(element: XmlElement, above = ''): [string, string][] {
  const found: [string, string][] = [];
  for (const { name, attributes, children, text } of element.children) {
    const about = Object.entries(attributes).map(([key, value]) => ` ${key}="${value}"`);
    const path = `${above}${name}${about.join('')}`;
    if (children.length === 0) found.push([path, text]);
    else found.push(...leaves({ name, attributes, children, text }, `${above}${name}/`));
  }
  return found;
}

test('rows are what the tree has, whichever entry stands before', () => {
  for (const first of all) {
    for (const second of all) {
      const text = pageOf([first, second, second, first, first], '\n');
      const tree = parseXml(text)!;
      const found = read(text)!;
      const expected = tree.children.filter(({ name }) => name === 'E').map((entry) => leaves(entry));
      assert.deepEqual(found.rows, expected, text);
      assert.deepEqual(
        found.root.children,
        tree.children.filter(({ name }) => name !== 'E'),
      );
      const few = read(text, (path) => path === 'K' || path === 'O/N')!;
      const wanted = expected.map((row) => row.filter(([path]) => path === 'K' || path === 'O/N'));
      assert.deepEqual(few.rows, wanted, text);
    }
  }
});

test('an entry that repeats the one before it is read at once', () => {
  for (const name of ['plain', 'entities', 'spaced', 'repeated', 'mixed', 'prefixed', 'unlike'] as const) {
    const rows = new XmlRows('E', 0, () => true);
    const source = entries[name];
    rows.add(parseXml(source)!, source);
    assert.equal(rows.take(`?${source}<`, 1), source.length + 1, name);
  }
});

test('a page that is cut off anywhere is none', () => {
  const text = pageOf([entries.plain, entries.plain, entries.plain, entries.entities, entries.entities]);
  for (let end = 0; end < text.length; end++) assert.equal(read(text.slice(0, end)), undefined, String(end));
});

test('a page with one character more, less or other is none, or what the tree says', () => {
  const text = pageOf([entries.plain, entries.plain, entries.plain]);
  for (let at = 0; at < text.length; at++) {
    for (const [gone, more] of [
      [1, ''],
      [0, '<'],
      [0, '/'],
      [1, '>'],
      [1, 'x'],
      [1, '&'],
    ] as const) {
      const broken = text.slice(0, at) + more + text.slice(at + gone);
      const tree = parseXml(broken);
      const found = read(broken);
      assert.equal(found === undefined, tree === undefined, broken);
      const expected = tree?.children.filter(({ name }) => name === 'E').map((entry) => leaves(entry));
      assert.deepEqual(found?.rows, expected, broken);
    }
  }
});

test('of leaves with one path the last counts', () => {
  const rows = new XmlRows('E', 1, () => true);
  parseXml(pageOf([entries.repeated, entries.repeated]), rows);
  assert.deepEqual(
    rows.rows.map((row) => [valueAt(row, 'K'), valueAt(row, 'T/G'), valueAt(row, 'X')]),
    [
      ['b', '2', undefined],
      ['b', '2', undefined],
    ],
  );
});
