import { parseStamp } from '../../model/stamp.ts';
import { canonical, isArray, type Json } from '../json.ts';
import {
  at,
  type Counts,
  countsIn,
  countsToJson,
  fieldsOf,
  joinCounts,
  Malformed,
  objectWith,
  raised,
} from './state.ts';

/** `{ "value": any, "stamp": 16 hex digits of a hybrid logical clock, "actor": who }`. */
export function normalRegister(state: Json): Json {
  const fields = fieldsOf(state, ['value', 'stamp', 'actor']);
  const [value, stamp, actor] = ['value', 'stamp', 'actor'].map((name) => fields.get(name));
  if (value === undefined) throw new Malformed('is missing', ['value']);
  if (typeof stamp !== 'string' || !parseStamp(stamp)) throw new Malformed('is not 16 hex digits', ['stamp']);
  if (typeof actor !== 'string' || actor === '')
    throw new Malformed('is not the name of a writer', ['actor']);
  return state;
}

/** The later stamp wins, then the greater actor, then the greater value. */
export function joinRegisters(a: Json, b: Json): Json {
  return rankOf(a) < rankOf(b) ? b : a;
}

function rankOf(state: Json): string {
  const fields = fieldsOf(state, ['value', 'stamp', 'actor']);
  return canonical(['stamp', 'actor', 'value'].map((name) => fields.get(name)!));
}

export function setRegister(actor: string, value: Json, stamp: string): Json {
  return normalRegister(objectWith({ value, stamp, actor }));
}

export function valueOfRegister(state: Json): Json {
  return fieldsOf(state, ['value', 'stamp', 'actor']).get('value')!;
}

/** `{ "values": [{ "value": any, "vector": { actor: count } }] }`: those that no other one has seen. */
interface Seen {
  readonly value: Json;
  readonly vector: Counts;
}

function read(state: Json): Seen[] {
  const values = fieldsOf(state, ['values']).get('values') ?? [];
  return at('values', () => {
    if (!isArray(values)) throw new Malformed('is not an array');
    return values.map((one, index) => at(String(index), () => readOne(one)));
  });
}

function readOne(one: Json): Seen {
  const fields = fieldsOf(one, ['value', 'vector']);
  const value = fields.get('value');
  if (value === undefined) throw new Malformed('is missing', ['value']);
  const vector = countsIn(fields, 'vector');
  if (vector.size === 0) throw new Malformed('counts nobody', ['vector']);
  return { value, vector };
}

function write(values: readonly Seen[]): Json {
  const latest = values.filter((one) => !values.some((other) => exceeds(other.vector, one.vector)));
  const texts = new Map<string, Json>();
  for (const { value, vector } of latest) {
    const entry = objectWith({ value, vector: countsToJson(vector) });
    texts.set(canonical(entry), entry);
  }
  const ordered = [...texts.keys()].sort().map((text) => texts.get(text)!);
  return objectWith({ values: ordered });
}

function exceeds(a: Counts, b: Counts): boolean {
  const covers = [...b].every(([actor, count]) => (a.get(actor) ?? 0) >= count);
  return covers && [...a].some(([actor, count]) => count > (b.get(actor) ?? 0));
}

export function normalMultiRegister(state: Json): Json {
  return write(read(state));
}

export function joinMultiRegisters(a: Json, b: Json): Json {
  return write([...read(a), ...read(b)]);
}

export function setMultiRegister(state: Json | undefined, actor: string, value: Json): Json {
  const seen = state === undefined ? [] : read(state);
  const vector = seen.reduce<Counts>((joined, one) => joinCounts(joined, one.vector), new Map());
  return write([{ value, vector: raised(vector, actor) }]);
}

/** In the order of their texts; several where writes were concurrent. */
export function valuesOfMultiRegister(state: Json): Json[] {
  return read(state).map(({ value }) => value);
}
