import type { CrdtType } from '../../model/policy.ts';
import { isObject, type Json, type JsonObject, parsePointer, sameJson } from '../json.ts';
import { joinCounters, normalCounter } from './counter.ts';
import { joinMaps, joinSets, normalMap, normalSet, plainValues, type ValueTypes } from './dots.ts';
import {
  joinMultiRegisters,
  joinRegisters,
  normalMultiRegister,
  normalRegister,
  valueOfRegister,
} from './registers.ts';

/** What is typed at and below a path of a document. */
export type TypedPaths = readonly TypedPath[];

interface TypedPath {
  /** What is left of the pattern from here; `*` stands for any key. */
  readonly rest: readonly string[];
  readonly type: CrdtType;
}

/** A type, and for the values of a map theirs. */
export interface Typing {
  readonly type: CrdtType;
  readonly below: TypedPaths;
}

export const untyped: TypedPaths = [];

/**
 * Patterns are JSON pointers in which a segment `*` stands for any key: `{ '/stats/*': 'counter' }`. Of several
 * that match, the first counts. Below an `map`, one more segment types its values. Throws `RangeError` for others.
 */
export function typedPaths(types: Readonly<Record<string, CrdtType>>): TypedPaths {
  const paths = Object.entries(types).map(([pattern, type]) => {
    const rest = parsePointer(pattern);
    if (!rest) throw new RangeError(`"${pattern}" is no JSON pointer: write it as in "/stats/*"`);
    return { rest, type, pattern };
  });
  for (const outer of paths) {
    const inner = paths.find((other) => isBelow(other.rest, outer.rest));
    if (!inner || (outer.type === 'map' && inner.rest.length === outer.rest.length + 1)) continue;
    const nested = paths.some(
      ({ rest, type }) =>
        type === 'map' && rest.length === inner.rest.length - 1 && isBelow(inner.rest, rest),
    );
    if (!nested)
      throw new RangeError(`"${inner.pattern}" is inside "${outer.pattern}", whose type holds no others`);
  }
  return paths.map(({ rest, type }) => ({ rest, type }));
}

function isBelow(path: readonly string[], above: readonly string[]): boolean {
  const meets = (segment: string, at: number) => segment === '*' || path[at] === '*' || path[at] === segment;
  return path.length > above.length && above.every(meets);
}

export function within(types: TypedPaths, key: string): TypedPaths {
  if (types.length === 0) return types;
  return types.flatMap(({ rest: [first, ...rest], type }) =>
    first === key || first === '*' ? [{ rest, type }] : [],
  );
}

export function isTyped(types: TypedPaths): boolean {
  return types.some(({ rest }) => rest.length === 0);
}

export function typeHere(types: TypedPaths): Typing | undefined {
  const type = types.find(({ rest }) => rest.length === 0)?.type;
  return type && { type, below: types.filter(({ rest }) => rest.length > 0) };
}

/** The one form of `state` among those that mean the same. Throws `Malformed`. */
export function normalState(typing: Typing, state: Json): Json {
  switch (typing.type) {
    case 'counter':
      return normalCounter(state);
    case 'register':
      return normalRegister(state);
    case 'multi-register':
      return normalMultiRegister(state);
    case 'set':
      return normalSet(state);
    case 'map':
      return normalMap(state, valueTypes(typing.below));
  }
}

/** Of two normal states: commutes, associates, and is idempotent. */
export function joinStates(typing: Typing, a: Json, b: Json): Json {
  switch (typing.type) {
    case 'counter':
      return joinCounters(a, b);
    case 'register':
      return joinRegisters(a, b);
    case 'multi-register':
      return joinMultiRegisters(a, b);
    case 'set':
      return joinSets(a, b);
    case 'map':
      return joinMaps(a, b, valueTypes(typing.below));
  }
}

/**
 * Whether `state` holds what `joined` does not although nobody removed it: the value of a register, or an element under
 * a dot that was used twice. The other types keep everything until it is removed.
 */
export function isLost({ type, below }: Typing, state: Json, joined: Json): boolean {
  if (type === 'register') return !sameJson(valueOfRegister(state), valueOfRegister(joined));
  if (type === 'set') return differAtADot(member(state, 'elements'), member(joined, 'elements'));
  if (type !== 'map') return false;
  const theirs = member(joined, 'entries');
  return [...member(state, 'entries').keys()].some(
    (key) =>
      typeHere(within(below, key)) === undefined &&
      differAtADot(member(member(state, 'entries'), key), member(theirs, key)),
  );
}

function member(of: Json, name: string): JsonObject {
  const value = isObject(of) ? of.get(name) : undefined;
  return isObject(value) ? value : new Map();
}

function differAtADot(a: JsonObject, b: JsonObject): boolean {
  return [...a].some(([dot, value]) => b.has(dot) && !sameJson(value, b.get(dot)!));
}

/** The values of a map: of the declared types, otherwise plain. */
export function valueTypes(below: TypedPaths): ValueTypes {
  const typing = (key: string) => typeHere(within(below, key));
  return {
    normal(key, value) {
      const typed = typing(key);
      return typed ? normalState(typed, value) : plainValues.normal(key, value);
    },
    join(key, a, b) {
      const typed = typing(key);
      return typed ? joinStates(typed, a, b) : plainValues.join(key, a, b);
    },
  };
}
