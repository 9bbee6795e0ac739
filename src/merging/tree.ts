import { type Clock, compareClocks, isBefore, later, removalOf, writeOf } from './clock.ts';
import { at } from './crdt/state.ts';
import { isTyped, joinStates, normalState, type TypedPaths, typeHere, within } from './crdt/types.ts';
import { canonical, isObject, type Json, sameJson } from './json.ts';

/**
 * A document as a join semilattice: at every path the latest write wins, and a value that replaced a whole part
 * outdates everything older in it. Nothing that was outdated is kept but clocks, so a document and its clocks are
 * the whole state.
 */
export interface Node {
  /** Of the latest value other than an object, or removal, at this path: it outdates what is older here and below. */
  readonly cover: Clock | undefined;
  /** Undefined in objects, and where the path was removed. */
  readonly value: Json | undefined;
  /** When it was made an object. */
  readonly made: Clock | undefined;
  readonly members: ReadonlyMap<string, Node>;
  /** At a typed path: merged by its type, outdated by nothing. */
  readonly state: Json | undefined;
  /** The latest write here or below. */
  readonly written: Clock | undefined;
  readonly holdsState: boolean;
  /** An object or a typed state, as opposed to a value or nothing. */
  readonly inner: boolean;
}

interface Parts {
  readonly cover?: Clock | undefined;
  readonly value?: Json | undefined;
  readonly made?: Clock | undefined;
  readonly members?: ReadonlyMap<string, Node>;
  readonly state?: Json | undefined;
}

const noMembers: ReadonlyMap<string, Node> = new Map();

/** Whoever writes below a path says that it is an object: the later of that and of a value there counts. */
export function nodeOf({ cover, value, made, members = noMembers, state }: Parts): Node {
  let inside = made;
  let holdsState = state !== undefined;
  for (const member of members.values()) {
    inside = later(inside, member.written);
    holdsState ||= member.holdsState;
  }
  const written = later(inside, cover && writeOf(cover));
  const inner = holdsState || (inside !== undefined && !isBefore(inside, cover));
  const rest = { cover, state, written, holdsState, inner };
  if (!inner) return { ...rest, value, made: undefined, members: noMembers };
  const left = cover === undefined ? { made, members } : outdate(made, members, cover);
  return { ...rest, value: undefined, ...left };
}

function outdate(made: Clock | undefined, members: ReadonlyMap<string, Node>, by: Clock) {
  const left = new Map<string, Node>();
  for (const [key, member] of members) {
    const kept = withoutOlder(member, by);
    if (kept !== undefined) left.set(key, kept);
  }
  return { made: isBefore(made, by) ? undefined : made, members: left };
}

function withoutOlder(node: Node, by: Clock): Node | undefined {
  // A removal within a removal of the same age says nothing more.
  const outdated = node.cover?.gone ? !isBefore(by, node.cover) : isBefore(node.cover, by);
  const left = outdate(node.made, node.members, by);
  const cover = outdated ? undefined : node.cover;
  if (!cover && !left.made && left.members.size === 0 && node.state === undefined) return undefined;
  return nodeOf({ cover, value: outdated ? undefined : node.value, ...left, state: node.state });
}

/** Commutes, associates, and is idempotent. */
export function joinNodes(a: Node, b: Node, types: TypedPaths): Node {
  if (a === b) return a;
  const members = a.members.size + b.members.size === 0 ? noMembers : joinMembers(a, b, types);
  return nodeOf({
    ...laterValue(a, b),
    made: later(a.made, b.made),
    members,
    state: joinOfStates(a.state, b.state, types),
  });
}

function joinMembers(a: Node, b: Node, types: TypedPaths): ReadonlyMap<string, Node> {
  const members = new Map(a.members);
  for (const [key, theirs] of b.members) {
    const ours = members.get(key);
    members.set(key, ours ? joinNodes(ours, theirs, within(types, key)) : theirs);
  }
  return members;
}

function laterValue(a: Node, b: Node): Pick<Node, 'cover' | 'value'> {
  if (isBefore(a.cover, b.cover)) return b;
  if (isBefore(b.cover, a.cover)) return a;
  if (a.value === undefined || b.value === undefined) return a.value === undefined ? b : a;
  // One write has one value; should damage have given it two, every site must still choose the same.
  return canonical(a.value) < canonical(b.value) ? b : a;
}

function joinOfStates(a: Json | undefined, b: Json | undefined, types: TypedPaths): Json | undefined {
  return a === undefined || b === undefined ? (a ?? b) : joinStates(typeHere(types)!, a, b);
}

/** A document of which everything was written by `clock`. Throws `Malformed` where a typed state is none. */
export function freshNode(value: Json, clock: Clock, types: TypedPaths): Node {
  if (isTyped(types)) return stateNode(value, types);
  if (!isObject(value)) return nodeOf({ cover: clock, value });
  const members = new Map<string, Node>();
  for (const [key, member] of value) {
    members.set(
      key,
      at(key, () => freshNode(member, clock, within(types, key))),
    );
  }
  return nodeOf({ made: clock, members });
}

export function stateNode(value: Json, types: TypedPaths): Node {
  return nodeOf({ state: normalState(typeHere(types)!, value) });
}

/** A document that `clock` wrote over `before`: what is as it was keeps its clocks. `clock` is later than all of them. */
export function nodeOver(
  before: Node | undefined,
  value: Json | undefined,
  clock: Clock,
  types: TypedPaths,
): Node | undefined {
  if (value === undefined) return removed(before);
  if (before === undefined || isTyped(types)) return freshNode(value, clock, types);
  if (!isObject(value)) {
    const same = before.value !== undefined && sameJson(before.value, value);
    return same ? before : nodeOf({ cover: clock, value });
  }
  const members = new Map<string, Node>();
  let changed = !before.inner;
  for (const key of new Set([...value.keys(), ...before.members.keys()])) {
    const old = before.members.get(key);
    const member = at(key, () => nodeOver(old, value.get(key), clock, within(types, key)));
    if (member) members.set(key, member);
    changed ||= member !== old;
  }
  // The same node again: both sides of a merge share most of it, and are joined there without a look.
  if (!changed) return before;
  const made = before.inner ? before.made : clock;
  return nodeOf({ cover: before.cover, made, members });
}

function removed(before: Node | undefined): Node | undefined {
  if (before?.written === undefined) return undefined;
  const absent = !before.inner && before.value === undefined;
  return absent ? before : nodeOf({ cover: removalOf(before.written) });
}

/** Undefined where nothing is. */
export function documentOf(node: Node): Json | undefined {
  if (node.state !== undefined) return node.state;
  if (!node.inner) return node.value;
  const members = new Map<string, Json>();
  for (const [key, member] of node.members) {
    const value = documentOf(member);
    if (value !== undefined) members.set(key, value);
  }
  return members;
}

export function sameClock(a: Clock | undefined, b: Clock | undefined): boolean {
  return a === undefined || b === undefined ? a === b : compareClocks(a, b) === 0;
}
