import type { CrdtType } from '../../model/policy.ts';
import { isObject, type Json, type JsonObject, numberOf, parseJson, parsePointer } from '../json.ts';
import { incrementedCounter, valueOfCounter } from './counter.ts';
import {
  addToSet,
  elementsOfSet,
  entryOfMap,
  keysOfMap,
  removeFromMap,
  removeFromSet,
  setInMap,
} from './dots.ts';
import { setMultiRegister, setRegister, valueOfRegister, valuesOfMultiRegister } from './registers.ts';
import { Malformed } from './state.ts';
import { type TypedPaths, type Typing, typedPaths, typeHere, valueTypes, within } from './types.ts';

/**
 * Typed paths for programs that write such documents: `parseJson` the body, edit, write `bytesOf` back. Every edit
 * gives a new document. `actor` names the writer, and no two that may write at the same time share a name. Throws
 * `Malformed` for a state that its type does not know, `RangeError` for a path that leads nowhere.
 */
export type Types = Readonly<Record<string, CrdtType>>;

/** Of a `counter`. `by` is whole and may be negative. */
export function increment(document: Json, path: string, actor: string, by = 1): Json {
  return replaced(document, path, (state) => incrementedCounter(state, actor, by));
}

/** To a `set`. */
export function add(document: Json, path: string, actor: string, element: unknown): Json {
  return replaced(document, path, (state) => addToSet(state, actor, jsonOf(element)));
}

/** From a `set`: what others add again meanwhile stays. */
export function remove(document: Json, path: string, element: unknown): Json {
  return replaced(document, path, (state) => state && removeFromSet(state, jsonOf(element)));
}

/** Of a `register`. `stamp`: 16 hex digits, later than what was read; see `stampAfter`. */
export function set(document: Json, path: string, actor: string, value: unknown, stamp: string): Json {
  return replaced(document, path, () => setRegister(actor, jsonOf(value), stamp));
}

/** Of a `multi-register`: in place of all the values that are there. */
export function setMulti(document: Json, path: string, actor: string, value: unknown): Json {
  return replaced(document, path, (state) => setMultiRegister(state, actor, jsonOf(value)));
}

/**
 * The entry of a `map`. `change` gets what is there, undefined when nothing is, and gives what shall be: a state where
 * `types` type the values of the map, otherwise any value.
 */
export function setEntry(
  document: Json,
  types: Types,
  path: string,
  actor: string,
  key: string,
  change: (value: Json | undefined) => Json,
): Json {
  const values = valuesAt(types, path);
  return replaced(document, path, (state) => {
    const value = change(state && entryOfMap(state, key, values));
    return setInMap(state, actor, key, value, values);
  });
}

export function removeEntry(document: Json, types: Types, path: string, key: string): Json {
  const values = valuesAt(types, path);
  return replaced(document, path, (state) => state && removeFromMap(state, key, values));
}

/** The document as its readers mean it: numbers, lists and values instead of states. Counts beyond 2^53 are exact. */
export function valueOfDocument(document: Json, types: Types): Json {
  return plain(document, typedPaths(types));
}

function plain(value: Json, types: TypedPaths): Json {
  const typing = typeHere(types);
  if (typing) return valueOfState(typing, value);
  if (!isObject(value)) return value;
  return new Map([...value].map(([key, member]) => [key, plain(member, within(types, key))]));
}

function valueOfState({ type, below }: Typing, state: Json): Json {
  switch (type) {
    case 'counter':
      return numberOf(String(valueOfCounter(state)));
    case 'register':
      return valueOfRegister(state);
    case 'multi-register':
      return valuesOfMultiRegister(state);
    case 'set':
      return elementsOfSet(state);
    case 'map': {
      const values = valueTypes(below);
      const keys = keysOfMap(state, values);
      return new Map(keys.map((key) => [key, plain(entryOfMap(state, key, values)!, within(below, key))]));
    }
  }
}

function valuesAt(types: Types, path: string) {
  const typing = typeHere(keysOf(path).reduce(within, typedPaths(types)));
  if (typing?.type !== 'map') throw new RangeError(`"${path}" is not the path of a map`);
  return valueTypes(typing.below);
}

function keysOf(path: string): string[] {
  const keys = parsePointer(path);
  if (!keys) throw new RangeError(`"${path}" is no JSON pointer`);
  return keys;
}

/** Objects on the way are made. */
function replaced(document: Json, path: string, change: (state: Json | undefined) => Json | undefined): Json {
  const walk = (value: Json | undefined, [key, ...rest]: readonly string[]): Json | undefined => {
    if (key === undefined) return change(value);
    if (value !== undefined && !isObject(value))
      throw new RangeError(`"${path}" leads through what is no object`);
    const members = new Map<string, Json>(value as JsonObject | undefined);
    const member = walk(members.get(key), rest);
    if (member !== undefined) members.set(key, member);
    return members;
  };
  const result = walk(document, keysOf(path));
  if (result === undefined) throw new Malformed('is absent');
  return result;
}

/** Of what `JSON.stringify` takes. */
export function jsonOf(value: unknown): Json {
  return parseJson(new TextEncoder().encode(JSON.stringify(value)));
}
