import { canonical, isObject, type Json, type JsonObject, sameJson } from '../json.ts';
import {
  at,
  type Counts,
  countsIn,
  countsToJson,
  fieldsOf,
  joinCounts,
  Malformed,
  objectIn,
  objectWith,
  raised,
} from './state.ts';

/**
 * What was added and not removed, each under its dot, `actor:count`, and how many additions of every actor were seen:
 * a dot that was seen and is absent was removed. No tombstones. (Bieniusa et al., An optimized conflict-free
 * replicated set, 2012; Almeida et al., Delta state replicated data types, 2016.)
 */
type Dots = ReadonlyMap<string, Json>;

function readDots(value: Json, seen: Counts): Dots {
  if (!isObject(value)) throw new Malformed('is not an object of dots');
  for (const dot of value.keys()) {
    if (!isSeen(dot, seen)) throw new Malformed('is no dot "actor:count" that "seen" covers', [dot]);
  }
  return value;
}

function isSeen(dot: string, seen: Counts): boolean {
  const match = /^(.+):([1-9]\d{0,15})$/s.exec(dot);
  return match !== null && Number(match[2]) <= (seen.get(match[1]!) ?? 0);
}

function joinDots(a: Dots, seenByA: Counts, b: Dots, seenByB: Counts, join: JoinValues): Map<string, Json> {
  const joined = new Map<string, Json>();
  for (const [dot, value] of a) {
    const theirs = b.get(dot);
    if (theirs !== undefined) joined.set(dot, join(value, theirs));
    else if (!isSeen(dot, seenByB)) joined.set(dot, value);
  }
  for (const [dot, value] of b) if (!a.has(dot) && !isSeen(dot, seenByA)) joined.set(dot, value);
  return joined;
}

type JoinValues = (a: Json, b: Json) => Json;

/** One dot has one value. Two say that an actor wrote at two places at once: every site keeps the same one. */
const greater: JoinValues = (a, b) => (canonical(a) < canonical(b) ? b : a);

/** `{ "elements": { dot: element }, "seen": { actor: count } }`. */
interface DotSet {
  readonly elements: Dots;
  readonly seen: Counts;
}

function readSet(state: Json): DotSet {
  const fields = fieldsOf(state, ['elements', 'seen']);
  const seen = countsIn(fields, 'seen');
  return { elements: at('elements', () => readDots(objectIn(fields, 'elements'), seen)), seen };
}

function writeSet({ elements, seen }: DotSet): Json {
  return objectWith({ elements, seen: countsToJson(seen) });
}

export function normalSet(state: Json): Json {
  return writeSet(readSet(state));
}

export function joinSets(a: Json, b: Json): Json {
  const [x, y] = [readSet(a), readSet(b)];
  const elements = joinDots(x.elements, x.seen, y.elements, y.seen, greater);
  return writeSet({ elements, seen: joinCounts(x.seen, y.seen) });
}

export function addToSet(state: Json | undefined, actor: string, element: Json): Json {
  const { elements, seen } = readSet(state ?? objectWith({}));
  const raisedSeen = raised(seen, actor);
  const others = without(elements, element);
  return writeSet({ elements: others.set(nextDot(raisedSeen, actor), element), seen: raisedSeen });
}

export function removeFromSet(state: Json, element: Json): Json {
  const { elements, seen } = readSet(state);
  return writeSet({ elements: without(elements, element), seen });
}

function without(elements: Dots, element: Json): Map<string, Json> {
  return new Map([...elements].filter(([, one]) => !sameJson(one, element)));
}

function nextDot(seen: Counts, actor: string): string {
  return `${actor}:${seen.get(actor)}`;
}

/** Each once, in the order of their texts. */
export function elementsOfSet(state: Json): Json[] {
  const texts = new Map(
    [...readSet(state).elements.values()].map((element) => [canonical(element), element]),
  );
  return [...texts.keys()].sort().map((text) => texts.get(text)!);
}

/** What is known of the values at the keys of a map. */
export interface ValueTypes {
  readonly normal: (key: string, value: Json) => Json;
  readonly join: (key: string, a: Json, b: Json) => Json;
}

export const plainValues: ValueTypes = { normal: (_, value) => value, join: (_, a, b) => greater(a, b) };

/** `{ "entries": { key: { dot: value } }, "seen": { actor: count } }`; several dots where writes were concurrent. */
interface DotMap {
  readonly entries: ReadonlyMap<string, Dots>;
  readonly seen: Counts;
}

function readMap(state: Json, types: ValueTypes): DotMap {
  const fields = fieldsOf(state, ['entries', 'seen']);
  const seen = countsIn(fields, 'seen');
  const entries = new Map<string, Dots>();
  at('entries', () => {
    for (const [key, value] of objectIn(fields, 'entries')) {
      const dots = at(key, () => normalValues(key, readDots(value, seen), types));
      if (dots.size > 0) entries.set(key, dots);
    }
  });
  return { entries, seen };
}

function normalValues(key: string, dots: Dots, types: ValueTypes): Dots {
  return new Map([...dots].map(([dot, value]) => [dot, at(dot, () => types.normal(key, value))]));
}

function writeMap({ entries, seen }: DotMap): Json {
  const members: JsonObject = new Map([...entries].filter(([, dots]) => dots.size > 0));
  return objectWith({ entries: members, seen: countsToJson(seen) });
}

export function normalMap(state: Json, types: ValueTypes): Json {
  return writeMap(readMap(state, types));
}

export function joinMaps(a: Json, b: Json, types: ValueTypes): Json {
  const [x, y] = [readMap(a, types), readMap(b, types)];
  const entries = new Map<string, Dots>();
  const none: Dots = new Map();
  for (const key of new Set([...x.entries.keys(), ...y.entries.keys()])) {
    const join: JoinValues = (one, other) => types.join(key, one, other);
    entries.set(key, joinDots(x.entries.get(key) ?? none, x.seen, y.entries.get(key) ?? none, y.seen, join));
  }
  return writeMap({ entries, seen: joinCounts(x.seen, y.seen) });
}

/** The value at `key`: what its dots hold, joined; undefined when it is absent. */
export function entryOfMap(state: Json, key: string, types: ValueTypes): Json | undefined {
  const dots = readMap(state, types).entries.get(key);
  return dots && [...dots.values()].reduce((a, b) => types.join(key, a, b));
}

export function keysOfMap(state: Json, types: ValueTypes): string[] {
  return [...readMap(state, types).entries.keys()].sort();
}

/** Replaces what was seen of `key`: a removal that has not seen this write leaves it. */
export function setInMap(
  state: Json | undefined,
  actor: string,
  key: string,
  value: Json,
  types: ValueTypes,
): Json {
  const { entries, seen } = readMap(state ?? objectWith({}), types);
  const raisedSeen = raised(seen, actor);
  const dots = new Map([[nextDot(raisedSeen, actor), types.normal(key, value)]]);
  return writeMap({ entries: new Map(entries).set(key, dots), seen: raisedSeen });
}

export function removeFromMap(state: Json, key: string, types: ValueTypes): Json {
  const { entries, seen } = readMap(state, types);
  const left = new Map(entries);
  left.delete(key);
  return writeMap({ entries: left, seen });
}
