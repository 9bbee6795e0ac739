import { decodeEntities, type XmlElement } from './xml.ts';

/** The leaves of one entry of a list, in their order. Entries that are written alike share `paths`. */
export interface XmlRow {
  /** Names from the entry down, as `Owner/ID`, and the attributes: `Name Encoded="true"`. */
  readonly paths: readonly string[];
  /** Decoded. */
  readonly values: readonly string[];
}

/** Of several with one path the last. */
export function valueAt({ paths, values }: XmlRow, path: string): string | undefined {
  return values[paths.lastIndexOf(path)];
}

/** How an entry is written: `marks` with leaves between them, that is all. */
interface Layout {
  readonly paths: readonly string[];
  /** As many empty texts: what an empty tag leaves. */
  readonly blank: readonly string[];
  /** One for each leaf with room for text: what stands before it, and its place in `paths`, or -1. */
  readonly marks: readonly { readonly text: string; readonly column: number }[];
  readonly end: string;
}

/**
 * Takes the entries out of a long list while it is read. An entry that repeats the tags of the one before it, to the
 * letter, is read without looking at them one by one; any other takes the long way, and is the next one's pattern.
 */
export class XmlRows {
  readonly name: string;
  /** How many elements an entry stands in. */
  readonly depth: number;
  readonly rows: XmlRow[] = [];
  readonly #isWanted: (path: string) => boolean;
  #layout: Layout | undefined;

  constructor(name: string, depth: number, isWanted: (path: string) => boolean) {
    this.name = name;
    this.depth = depth;
    this.#isWanted = isWanted;
  }

  /** Where the entry ends that begins at `start`; undefined when it is not written like the one before it. */
  take(text: string, start: number): number | undefined {
    const layout = this.#layout;
    if (layout === undefined) return undefined;
    const values = layout.blank.slice();
    let at = start;
    for (const mark of layout.marks) {
      if (!text.startsWith(mark.text, at)) return undefined;
      const from = at + mark.text.length;
      at = text.indexOf('<', from);
      if (at < 0) return undefined;
      if (mark.column >= 0) values[mark.column] = decodeEntities(text.slice(from, at));
    }
    if (!text.startsWith(layout.end, at)) return undefined;
    this.rows.push({ paths: layout.paths, values });
    return at + layout.end.length;
  }

  /** An entry as the long way has read it; `source` is how it was written. */
  add(entry: XmlElement, source: string): void {
    const leaves = leavesOf(entry, '');
    const wanted = leaves.filter(({ path }) => this.#isWanted(path));
    const row = { paths: wanted.map(({ path }) => path), values: wanted.map(({ text }) => text) };
    this.rows.push(row);
    this.#layout = layoutOf(source, leaves, row.paths, this.#isWanted);
  }
}

interface Leaf {
  readonly path: string;
  readonly text: string;
}

function leavesOf(element: XmlElement, above: string): Leaf[] {
  return element.children.flatMap((child) => {
    const path = above + child.name;
    if (child.children.length > 0) return leavesOf(child, `${path}/`);
    const attributes = Object.entries(child.attributes).map(([name, value]) => ` ${name}="${value}"`);
    return [{ path: path + attributes.join(''), text: child.text }];
  });
}

/** More than tags and text: an attribute, a comment, CDATA. */
const notPlain = /<[^>]*[^\w:./<>\s-]/;
const tags = /<(\/?)[^>]*>/g;

function layoutOf(
  source: string,
  leaves: readonly Leaf[],
  paths: readonly string[],
  isWanted: (path: string) => boolean,
): Layout | undefined {
  if (notPlain.test(source)) return undefined;
  const marks: { text: string; column: number }[] = [];
  let [mark, end, leaf, column] = ['', 0, 0, 0];
  let isOpen = false;
  for (const { 0: tag, 1: slash, index } of source.matchAll(tags)) {
    const isEmpty = tag.endsWith('/>');
    const isText = isOpen && slash === '/';
    const path = isEmpty || isText ? leaves[leaf++]?.path : undefined;
    const place = path !== undefined && isWanted(path) ? column++ : -1;
    if (isText) marks.push({ text: mark, column: place });
    mark = isText ? tag : mark + source.slice(end, index) + tag;
    isOpen = !isEmpty && slash === '';
    end = index + tag.length;
  }
  const blank = paths.map(() => '');
  return leaf === leaves.length && column === paths.length ? { paths, blank, marks, end: mark } : undefined;
}
