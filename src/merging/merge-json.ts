import type { CrdtType } from '../model/policy.ts';
import { type Clock, clockOf, isBefore, seenBy } from './clock.ts';
import { clocksOfNode, nodeWithClocks } from './clocks.ts';
import { Malformed } from './crdt/state.ts';
import { isLost, type TypedPaths, typedPaths, typeHere, untyped, within } from './crdt/types.ts';
import { bytesOf, type Json, NotJson, parseJson, pointerTo, sameJson } from './json.ts';
import { metadataFromJson, metadataToJson } from './metadata.ts';
import { type Clocks, limits, type Merge, type Merged, type NotMerged, type Side, sorted } from './rule.ts';
import { documentOf, freshNode, joinNodes, type Node, nodeOver } from './tree.ts';

/**
 * Deterministic merge of JSON documents, path by path: the later write of each wins, edits outlive removals, arrays
 * are values. See docs/merging.md.
 */
export const mergeJson: Merge = (a, b, base) => mergeDocuments(a, b, base, untyped);

/** The same, but what stands at typed paths is merged by its type. Throws `RangeError` for patterns that are none. */
export function mergeCrdt(types: Readonly<Record<string, CrdtType>>): Merge {
  const paths = inBody(typedPaths(types));
  return (a, b, base) => mergeDocuments(a, b, base, paths);
}

/**
 * The clocks of a write over a document that is at hand, for the store to keep with it: later merges then know what
 * it changed and what it left, whatever ancestor they find. `{}` when either is no JSON document.
 */
export function clocksOf(side: Side, before: Side, types: Readonly<Record<string, CrdtType>> = {}): Clocks {
  try {
    const paths = inBody(typedPaths(types));
    return clocksOfNode(nodeOfSide(side, ancestorOf(before, [side], paths, true), paths, true));
  } catch (error) {
    if (error instanceof NotJson || error instanceof Malformed) return {};
    throw error;
  }
}

/** Of two writes whose bodies are merged by another rule; its `body` is the winner's. */
export function mergeMetadata(a: Side, b: Side, base: Side | undefined): Merged | NotMerged {
  const [winner, loser] = sorted(a, b);
  try {
    return mergeSides(winner, loser, base, untyped, false);
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    return { kind: 'not-merged', because: reasonOf(error) };
  }
}

function inBody(types: TypedPaths): TypedPaths {
  return types.map(({ rest, type }) => ({ rest: ['body', ...rest], type }));
}

function mergeDocuments(a: Side, b: Side, base: Side | undefined, types: TypedPaths): Merged | NotMerged {
  const [winner, loser] = sorted(a, b);
  const equal = Buffer.compare(winner.body, loser.body) === 0;
  try {
    return mergeSides(winner, loser, base, types, true);
  } catch (error) {
    if (!(error instanceof NotJson || error instanceof Malformed)) throw error;
    // Nothing is to be decided about the body.
    if (equal) return mergeSides(winner, loser, base, untyped, false);
    return { kind: 'not-merged', because: reasonOf(error) };
  }
}

function reasonOf(error: NotJson | Malformed): string {
  if (error instanceof NotJson) return `not a JSON document: ${error.message}`;
  return `what stands at "${nameOf(error.path)}" ${error.message}`;
}

function mergeSides(
  winner: Side,
  loser: Side,
  base: Side | undefined,
  types: TypedPaths,
  withBody: boolean,
): Merged | NotMerged {
  const before = base && ancestorOf(base, [winner, loser], types, withBody);
  const ofWinner = nodeOfSide(winner, before, types, withBody);
  const ofLoser = nodeOfSide(loser, before, types, withBody);
  const joined = joinNodes(ofWinner, ofLoser, types);
  const document = documentOf(joined) as ReadonlyMap<string, Json>;
  const body = bodyOf(document.get('body'), winner, loser);
  const clocks = clocksOfNode(joined);
  const problem = tooLarge(body, clocks);
  if (problem) return { kind: 'not-merged', because: problem };
  return {
    kind: 'merged',
    body,
    metadata: metadataFromJson(document.get('metadata')),
    clocks,
    dropped: droppedFrom(ofLoser, joined, winner, types),
    droppedOfWinner: droppedFrom(ofWinner, joined, loser, types),
  };
}

/** Equal bodies stay as they are, canonical or not. */
function bodyOf(value: Json | undefined, winner: Side, loser: Side): Uint8Array {
  if (value === undefined || Buffer.compare(winner.body, loser.body) === 0) return winner.body;
  return bytesOf(value);
}

function tooLarge(body: Uint8Array, clocks: Clocks): string | undefined {
  if (body.length > limits.bodyBytes) {
    return `the merged document is ${body.length} bytes long, more than the ${limits.bodyBytes} that are merged`;
  }
  const count = Object.keys(clocks).length;
  if (count <= limits.clocks) return undefined;
  return `${count} parts of the merged document have clocks of their own, more than the ${limits.clocks} that are kept`;
}

function nodeOfSide(side: Side, before: Node | undefined, types: TypedPaths, withBody: boolean): Node {
  const document = documentOfSide(side, withBody);
  const clocks = clocksIn(side, withBody);
  if (clocks) return nodeWithClocks(document, clocks, types);
  const clock = clockOf(side.version);
  return before ? nodeOver(before, document, clock, types)! : freshNode(document, clock, types);
}

function clocksIn({ clocks = {} }: Side, withBody: boolean): Clocks | undefined {
  const entries = Object.entries(clocks).filter(([pointer]) => withBody || !/^\/body(\/|$)/.test(pointer));
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}

/** Undefined where `base` cannot be one: no JSON document, or not in the past of all. */
function ancestorOf(
  base: Side,
  sides: readonly Side[],
  types: TypedPaths,
  withBody: boolean,
): Node | undefined {
  try {
    const node = nodeOfSide(base, undefined, types, withBody);
    const clock = clockOf(base.version);
    const isPast = ({ version }: Side) => seenBy(version)(clock) && isBefore(node.written, clockOf(version));
    return sides.every(isPast) ? node : undefined;
  } catch (error) {
    if (error instanceof NotJson || error instanceof Malformed) return undefined;
    throw error;
  }
}

function documentOfSide(side: Side, withBody: boolean): Json {
  const document = new Map<string, Json>([['metadata', metadataToJson(side.metadata)]]);
  return withBody ? document.set('body', parseJson(side.body)) : document;
}

/** What `node` holds that `joined` does not, and that the writer of `other` had not seen. */
function droppedFrom(node: Node, joined: Node, other: Side, types: TypedPaths): string[] {
  const dropped: string[] = [];
  const seen = seenBy(other.version);
  const unseen = (clock: Clock | undefined) => clock !== undefined && !seen(clock);
  const walk = (from: Node, to: Node | undefined, path: readonly string[], below: TypedPaths): void => {
    if (from === to) return;
    const typing = typeHere(below);
    if (typing && from.state !== undefined) {
      if (to?.state === undefined || isLost(typing, from.state, to.state)) dropped.push(nameOf(path));
      return;
    }
    const lost = from.inner
      ? from.members.size === 0 && !to?.inner && unseen(from.made)
      : from.value !== undefined && !isThere(from.value, to) && unseen(from.cover);
    if (lost) dropped.push(nameOf(path));
    for (const [key, member] of from.members)
      walk(member, to?.members.get(key), [...path, key], within(below, key));
  };
  walk(node, joined, [], types);
  return dropped.sort();
}

function isThere(value: Json, node: Node | undefined): boolean {
  return node?.value !== undefined && sameJson(node.value, value);
}

function nameOf([part, ...path]: readonly string[]): string {
  return part === 'metadata' ? `metadata:${pointerTo(path)}` : pointerTo(path);
}
