import { isNumber, isObject, type Json, type JsonObject } from '../json.ts';

/** A state that its type does not know. `message` says what is wrong; `path` leads from the state to it. */
export class Malformed extends Error {
  override readonly name = 'Malformed';
  path: readonly string[];

  constructor(message: string, path: readonly string[] = []) {
    super(message);
    this.path = path;
  }
}

/** Runs `read` for what stands at `key`, and says so when it is malformed. */
export function at<T>(key: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof Malformed) error.path = [key, ...error.path];
    throw error;
  }
}

/** The state's object; other fields than these would be lost, so there may be none. */
export function fieldsOf(state: Json, names: readonly string[]): JsonObject {
  if (!isObject(state)) throw new Malformed(`is not an object with ${quoted(names)}`);
  for (const key of state.keys()) {
    if (!names.includes(key))
      throw new Malformed(`is unknown here, where only ${quoted(names)} may stand`, [key]);
  }
  return state;
}

function quoted(names: readonly string[]): string {
  return names.map((name) => `"${name}"`).join(', ');
}

/** How much of every actor; those that are absent have 0. */
export type Counts = ReadonlyMap<string, number>;

/** The object of counts in a field, without zeros; an absent field is an empty one. */
export function countsIn(fields: JsonObject, name: string): Counts {
  const counts = new Map<string, number>();
  at(name, () => {
    for (const [actor, count] of objectIn(fields, name)) {
      const read = at(actor, () => countOf(count));
      if (read > 0) counts.set(actor, read);
    }
  });
  return counts;
}

function countOf(value: Json): number {
  const count = isNumber(value) && /^\d+$/.test(value.number) ? Number(value.number) : Number.NaN;
  if (!Number.isSafeInteger(count)) throw new Malformed('is not a whole number from 0 to 2^53 - 1');
  return count;
}

/** An absent field is an empty object. */
export function objectIn(fields: JsonObject, name: string): JsonObject {
  const value = fields.get(name) ?? new Map<string, Json>();
  if (!isObject(value)) throw new Malformed('is not an object');
  return value;
}

export function joinCounts(a: Counts, b: Counts): Counts {
  const joined = new Map(a);
  for (const [actor, count] of b) joined.set(actor, Math.max(count, joined.get(actor) ?? 0));
  return joined;
}

export function countsToJson(counts: Counts): JsonObject {
  return new Map([...counts].map(([actor, count]) => [actor, { number: String(count) }]));
}

export function objectWith(fields: Readonly<Record<string, Json>>): JsonObject {
  return new Map(Object.entries(fields));
}

/** The next count of `actor`, who must not write at two places at once under this name. Throws `RangeError`. */
export function raised(counts: Counts, actor: string, by = 1): Counts {
  const count = (counts.get(actor) ?? 0) + by;
  if (actor === '') throw new RangeError('an actor needs a name');
  if (!Number.isSafeInteger(count)) throw new RangeError(`${by} is too much for the count of "${actor}"`);
  return new Map(counts).set(actor, count);
}
