import type { XmlRows } from './xml-rows.ts';

/** An element of the XML that object stores answer with. Names are without their namespace prefix. */
export interface XmlElement {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: readonly XmlElement[];
  /** What stands in it, decoded; empty where it has children. */
  readonly text: string;
}

interface Open {
  /** As it is written, which its end must repeat. */
  readonly tag: string;
  /** Where it begins. */
  readonly start: number;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: XmlElement[];
  text: string;
}

/** An answer has five levels; more than this is an attack on whoever walks down. */
const deepest = 64;

const none: Readonly<Record<string, string>> = Object.freeze({});

/**
 * The root element; undefined for whatever is not one whole, well-formed document, such as an answer that was cut off.
 * No document types, and so no entities but XML's own: an answer of a store has none. What `rows` takes is not among
 * the children; it counts only where there is a root.
 */
export function parseXml(text: string, rows?: XmlRows): XmlElement | undefined {
  const open: Open[] = [];
  let root: XmlElement | undefined;
  let at = text.charCodeAt(0) === 0xfeff ? 1 : 0;
  for (;;) {
    const start = text.indexOf('<', at);
    const top = open.at(-1);
    if (start !== at) {
      const between = text.slice(at, start < 0 ? text.length : start);
      if (top) top.text += decodeEntities(between);
      else if (between.trim() !== '') return undefined;
    }
    if (start < 0) return open.length === 0 ? root : undefined;
    const taken = open.length === rows?.depth ? rows.take(text, start) : undefined;
    const next = text.charCodeAt(start + 1);
    if (taken !== undefined) at = taken;
    else if (next === slash) {
      const end = text.indexOf('>', start);
      if (!top || !text.startsWith(top.tag, start + 2)) return undefined;
      const isPlain = end === start + 2 + top.tag.length;
      if (!isPlain && (end < 0 || text.slice(start + 2, end).trimEnd() !== top.tag)) return undefined;
      open.pop();
      at = end + 1;
      root = closed(top, open, text, at, rows) ?? root;
    } else if (next === question || next === exclamation) {
      const end = passed(text, start, top);
      if (end === undefined) return undefined;
      at = end;
    } else {
      const tag = tagAt(text, start + 1);
      if (tag === undefined || (!top && root) || open.length >= deepest) return undefined;
      const element: Open = { tag: tag.name, start, attributes: tag.attributes, children: [], text: '' };
      at = tag.end;
      if (!tag.isEmpty) open.push(element);
      else root = closed(element, open, text, at, rows) ?? root;
    }
  }
}

/** Leaf elements below `element` by name, at any depth; of several with one name the last. */
export function leavesOf(element: XmlElement, into: Record<string, string> = Object.create(null)) {
  for (const child of element.children) {
    if (child.children.length > 0) leavesOf(child, into);
    else into[child.name] = child.text;
  }
  return into;
}

export function childOf(element: XmlElement | undefined, name: string): XmlElement | undefined {
  return element?.children.find((child) => child.name === name);
}

export function escapeXml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (unit) => `&#${unit.charCodeAt(0)};`);
}

const [exclamation, slash, question] = [0x21, 0x2f, 0x3f];

/** The root, when it was that which ended. */
function closed(
  { tag, start, attributes, children, text }: Open,
  open: readonly Open[],
  source: string,
  end: number,
  rows: XmlRows | undefined,
): XmlElement | undefined {
  const name = tag.slice(tag.indexOf(':') + 1);
  const element = { name, attributes, children, text: children.length > 0 ? '' : text };
  const parent = open.at(-1);
  if (!parent) return element;
  if (open.length === rows?.depth && name === rows.name) rows.add(element, source.slice(start, end));
  else parent.children.push(element);
  return undefined;
}

/** Where a declaration, an instruction, a comment or a CDATA section ends; undefined where none does, or a type begins. */
function passed(text: string, start: number, top: Open | undefined): number | undefined {
  const after = (opening: string, ending: string): number | undefined => {
    if (!text.startsWith(opening, start)) return undefined;
    const end = text.indexOf(ending, start + opening.length);
    return end < 0 ? undefined : end + ending.length;
  };
  const cdata = after('<![CDATA[', ']]>');
  if (cdata === undefined) return after('<?', '?>') ?? after('<!--', '-->');
  if (!top) return undefined;
  top.text += text.slice(start + 9, cdata - 3);
  return cdata;
}

const plainTag = /^[A-Za-z][A-Za-z0-9:_-]*$/;
const tagName = /[^\s<>/=&"'!?]+/y;
const attribute = /\s+([^\s<>/=&"']+)\s*=\s*(?:"([^<"]*)"|'([^<']*)')/y;
const tagEnd = /\s*(\/?)>/y;

function tagAt(text: string, start: number) {
  const close = text.indexOf('>', start);
  if (close < 0) return undefined;
  const plain = text.slice(start, close);
  if (plainTag.test(plain)) return { name: plain, attributes: none, isEmpty: false, end: close + 1 };
  const name = matchAt(tagName, text, start)?.[0];
  if (name === undefined) return undefined;
  let at = start + name.length;
  let attributes = none;
  for (;;) {
    const found = matchAt(attribute, text, at);
    if (!found) break;
    attributes = { ...attributes, [found[1]!]: decodeEntities(found[2] ?? found[3]!) };
    at += found[0].length;
  }
  const end = matchAt(tagEnd, text, at);
  return end ? { name, attributes, isEmpty: end[1] === '/', end: at + end[0].length } : undefined;
}

function matchAt(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

const entity = /&(?:#x([0-9a-f]{1,6})|#([0-9]{1,7})|(amp|lt|gt|quot|apos));/gi;
const named: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

/** In one pass: `&amp;lt;` is `&lt;`. */
export function decodeEntities(escaped: string): string {
  if (!escaped.includes('&')) return escaped;
  // Every ETag has two of one of these, and seldom anything else; what they become begins no entity.
  const text = escaped.replaceAll('&quot;', '"').replaceAll('&#34;', '"');
  if (!text.includes('&')) return text;
  return text.replaceAll(entity, (all, hex?: string, decimal?: string, name?: string) => {
    if (name !== undefined) return named[name] ?? all;
    const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16);
    return code <= 0x10ffff ? String.fromCodePoint(code) : all;
  });
}
