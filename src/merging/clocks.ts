import { type Clock, decodeClock, encodeClock } from './clock.ts';
import { at, Malformed } from './crdt/state.ts';
import { isTyped, type TypedPaths, within } from './crdt/types.ts';
import { isObject, type Json, parsePointer, pointerTo } from './json.ts';
import type { Clocks } from './rule.ts';
import { type Node, nodeOf, sameClock, stateNode } from './tree.ts';

/**
 * A clock stands where it is not that of the object around it: `clock` of a value, `-clock` of a removal,
 * `made|cover` of an object, of which either may be empty.
 */
export function clocksOfNode(root: Node): Clocks {
  const clocks: Record<string, string> = {};
  const walk = (node: Node, path: readonly string[], around: Clock | undefined): void => {
    if (!node.inner) {
      if (node.cover && !sameClock(node.cover, around)) clocks[pointerTo(path)] = encodeClock(node.cover);
      return;
    }
    if (node.state !== undefined) return;
    if (node.cover || !sameClock(node.made, around)) clocks[pointerTo(path)] = encodeObject(node);
    const inherited = node.made ?? around;
    for (const [key, member] of node.members) walk(member, [...path, key], inherited);
  };
  walk(root, [], undefined);
  return clocks;
}

function encodeObject({ made, cover }: Node): string {
  return `${made ? encodeClock(made) : ''}|${cover ? encodeClock(cover) : ''}`;
}

/** Clocks by path: what stands at one, and what is below. */
interface Marks {
  text: string | undefined;
  readonly below: Map<string, Marks>;
}

function marksOf(clocks: Clocks): Marks {
  const root: Marks = { text: undefined, below: new Map() };
  for (const [pointer, text] of Object.entries(clocks)) {
    const path = parsePointer(pointer);
    if (!path) throw new Malformed(`has a clock at "${pointer}", which is no JSON pointer`);
    let marks = root;
    for (const key of path) {
      const next = marks.below.get(key) ?? { text: undefined, below: new Map() };
      marks.below.set(key, next);
      marks = next;
    }
    marks.text = text;
  }
  return root;
}

/** Throws `Malformed` when the clocks are those of another document. */
export function nodeWithClocks(document: Json, clocks: Clocks, types: TypedPaths): Node {
  return nodeWith(document, marksOf(clocks), undefined, types);
}

const noMarks: Marks = { text: undefined, below: new Map() };

function nodeWith(value: Json, marks: Marks, around: Clock | undefined, types: TypedPaths): Node {
  if (isTyped(types)) return stateNode(value, types);
  if (!isObject(value)) {
    const cover = marks.text === undefined ? around : parsed(marks.text);
    if (!cover || cover.gone || marks.below.size > 0) throw otherDocument();
    return nodeOf({ cover, value });
  }
  const { made, cover } =
    marks.text === undefined ? { made: around, cover: undefined } : parsedObject(marks.text);
  const inherited = made ?? around;
  const members = new Map<string, Node>();
  for (const [key, member] of value) {
    const below = marks.below.get(key) ?? noMarks;
    members.set(
      key,
      at(key, () => nodeWith(member, below, inherited, within(types, key))),
    );
  }
  for (const [key, mark] of marks.below) if (!value.has(key)) members.set(key, removedNode(mark));
  const node = nodeOf({ made, cover, members });
  if (!node.inner || node.members.size !== members.size) throw otherDocument();
  return node;
}

function removedNode({ text, below }: Marks): Node {
  const cover = text === undefined ? undefined : parsed(text);
  if (!cover?.gone || below.size > 0) throw otherDocument();
  return nodeOf({ cover });
}

function parsedObject(text: string) {
  const [made = '', cover = '', ...more] = text.split('|');
  if (!text.includes('|') || more.length > 0) throw otherDocument();
  return { made: made === '' ? undefined : parsed(made), cover: cover === '' ? undefined : parsed(cover) };
}

function parsed(text: string): Clock {
  const clock = decodeClock(text);
  if (!clock) throw new Malformed(`has a clock that is none: "${text.slice(0, 80)}"`);
  return clock;
}

function otherDocument(): Malformed {
  return new Malformed('has clocks that are those of another document');
}
