import assert from 'node:assert/strict';
import { test } from 'node:test';
import { childOf, escapeXml, leavesOf, parseXml } from './xml.ts';

const whole =
  '\uFEFF<?xml version="1.0"?>\n<!-- a > b --><x:R xmlns:x="urn:x" a=\'1 "&gt;"\' b = "2>"><A>1&lt;2</A><B c="d"/>' +
  '<C><D> &#x1F600;&#65;&amp;lt; </D>\n<E></E ></C><F><![CDATA[<a>&amp;]]></F></x:R>\n<!-- end -->';

test('elements, attributes and text', () => {
  const root = parseXml(whole)!;
  assert.equal(root.name, 'R');
  assert.deepEqual(root.attributes, { 'xmlns:x': 'urn:x', a: '1 ">"', b: '2>' });
  assert.deepEqual(
    root.children.map(({ name, text }) => [name, text]),
    [
      ['A', '1<2'],
      ['B', ''],
      ['C', ''],
      ['F', '<a>&amp;'],
    ],
  );
  assert.deepEqual(childOf(root, 'B')?.attributes, { c: 'd' });
  assert.equal(childOf(root, 'G'), undefined);
  assert.deepEqual({ ...leavesOf(root) }, { A: '1<2', B: '', D: ' \u{1F600}A&lt; ', E: '', F: '<a>&amp;' });
});

test('whatever is cut off is no document', () => {
  const text = whole.slice(0, whole.indexOf('\n<!-- end'));
  assert.ok(parseXml(text));
  for (let end = 0; end < text.length; end++)
    assert.equal(parseXml(text.slice(0, end)), undefined, String(end));
});

test('what is not well-formed is no document', () => {
  const broken = [
    '<a></b>',
    '<a></aa>',
    '<aa></a>',
    '<a><b></a></b>',
    '<a/><b/>',
    '<a></a>b',
    'b<a></a>',
    '</a>',
    '<a b></a>',
    '<a b=1></a>',
    '<a b="<"></a>',
    '<>a</>',
    '< a></ a>',
    '<a><</a>',
    '<a><!-- </a>',
    '<![CDATA[a]]>',
    '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
    '{"a":1}',
    '',
  ];
  for (const text of broken) assert.equal(parseXml(text), undefined, text);
  assert.equal(parseXml('<a>'.repeat(100_000) + '</a>'.repeat(100_000)), undefined);
});

test('names that objects have anyway are names like others', () => {
  const fields = leavesOf(parseXml('<a><__proto__>1</__proto__><constructor>2</constructor></a>')!);
  assert.deepEqual(Object.entries(fields), [
    ['__proto__', '1'],
    ['constructor', '2'],
  ]);
  assert.equal(leavesOf(parseXml('<a/>')!)['toString'], undefined);
});

test('what was escaped comes back', () => {
  const text = `<&>"'&amp;`;
  assert.equal(parseXml(`<a>${escapeXml(text)}</a>`)?.text, text);
  assert.equal(parseXml('<a>&nbsp;&#x110000;</a>')?.text, '&nbsp;&#x110000;', 'unknown entities stay');
});
