import { childOf, leavesOf, parseXml as parse, type XmlElement } from '../http/xml.ts';
import type { XmlRows } from '../http/xml-rows.ts';

export { escapeXml } from '../http/xml.ts';

/** Leaf elements of one entry by name. */
export type XmlEntry = Readonly<Record<string, string>>;

/** One answer of S3. */
export class XmlAnswer {
  readonly #element: XmlElement;

  constructor(element: XmlElement) {
    this.#element = element;
  }

  get root(): string {
    return this.#element.name;
  }

  /** The text of a direct child; undefined when it is absent or no text. */
  text(name: string): string | undefined {
    const child = childOf(this.#element, name);
    return child?.children.length === 0 ? child.text : undefined;
  }

  entries(name: 'Contents' | 'Upload' | 'Tag'): XmlEntry[] {
    const parent = name === 'Tag' ? childOf(this.#element, 'TagSet') : this.#element;
    return (parent?.children ?? []).filter((child) => child.name === name).map((child) => leavesOf(child));
  }
}

/** Undefined when the text is not whole XML with one root element: then it is no answer of S3, and no row counts. */
export function parseXml(text: string, rows?: XmlRows): XmlAnswer | undefined {
  const root = parse(text, rows);
  return root && new XmlAnswer(root);
}
