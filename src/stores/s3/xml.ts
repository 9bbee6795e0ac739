import { XMLParser } from 'fast-xml-parser';

/** The repeated elements of S3's answers; their inside is flat, and is not worth a tree. */
const repeated: ReadonlySet<string> = new Set(['Contents', 'Upload', 'Tag']);

// Entities are decoded here and not by the parser, which leaves out the numeric ones, and values stay text:
// a key `1e5` is no number. Skipping the inside of entries makes a page of 1,000 four times as fast.
const parser = new XMLParser({
  parseTagValue: false,
  trimValues: false,
  processEntities: false,
  jPath: false,
  removeNSPrefix: true,
  ignoreDeclaration: true,
  stopNodes: ['ListBucketResult.Contents', 'ListMultipartUploadsResult.Upload', 'Tagging.TagSet.Tag'],
  isArray: (name) => repeated.has(name),
});

/** Leaf elements of one entry by name. */
export type XmlEntry = Readonly<Record<string, string>>;

/** One answer of S3. */
export class XmlAnswer {
  readonly root: string;
  readonly #fields: Readonly<Record<string, unknown>>;

  constructor(root: string, fields: Readonly<Record<string, unknown>>) {
    this.root = root;
    this.#fields = fields;
  }

  /** The text of a direct child; undefined when it is absent or no text. */
  text(name: string): string | undefined {
    const value = this.#fields[name];
    return typeof value === 'string' ? decodeEntities(value) : undefined;
  }

  entries(name: 'Contents' | 'Upload' | 'Tag'): XmlEntry[] {
    const parent = name === 'Tag' ? this.#fields['TagSet'] : this.#fields;
    const raw = isFields(parent) ? parent[name] : undefined;
    return Array.isArray(raw) ? raw.map((text) => leavesOf(String(text))) : [];
  }
}

/** Undefined when the text is not whole XML with one root element: then it is no answer of S3. */
export function parseXml(text: string): XmlAnswer | undefined {
  // The parser takes most of what is not XML, and what is cut off, without complaint.
  const trimmed = text.trimEnd();
  if (!trimmed.endsWith('>') || !/^\s*(?:\uFEFF)?</.test(text)) return undefined;
  let parsed: unknown;
  try {
    parsed = parser.parse(trimmed);
  } catch {
    return undefined;
  }
  if (!isFields(parsed)) return undefined;
  const [root, ...more] = Object.keys(parsed).filter((name) => !name.startsWith('?') && name !== '#text');
  if (root === undefined || more.length > 0 || !closes(trimmed, root)) return undefined;
  const fields = parsed[root];
  return new XmlAnswer(root, isFields(fields) ? fields : {});
}

export function escapeXml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (unit) => `&#${unit.charCodeAt(0)};`);
}

function closes(text: string, root: string): boolean {
  const end = text.slice(text.lastIndexOf('<'));
  return end.startsWith('</') ? end.replace(/^<\/(?:[^:>]*:)?/, '').startsWith(root) : end.endsWith('/>');
}

const leaf = /<([^\s/>]+)[^>]*>([^<]*)<\//g;

function leavesOf(raw: string): XmlEntry {
  const fields: Record<string, string> = {};
  for (const [, name, text] of raw.matchAll(leaf)) fields[name!] = decodeEntities(text!);
  return fields;
}

const entity = /&(?:#x([0-9a-f]{1,6})|#([0-9]{1,7})|(amp|lt|gt|quot|apos));/gi;
const named: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

/** In one pass: `&amp;lt;` is `&lt;`. */
function decodeEntities(text: string): string {
  if (!text.includes('&')) return text;
  return text.replaceAll(entity, (all, hex?: string, decimal?: string, name?: string) => {
    if (name !== undefined) return named[name] ?? all;
    const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16);
    return code <= 0x10ffff ? String.fromCodePoint(code) : all;
  });
}

function isFields(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
