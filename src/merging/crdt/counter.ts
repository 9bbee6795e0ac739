import type { Json } from '../json.ts';
import { type Counts, countsIn, countsToJson, fieldsOf, joinCounts, objectWith, raised } from './state.ts';

/** `{ "p": { actor: what it added }, "n": { actor: what it took away } }`: neither ever shrinks. */
interface Counter {
  readonly p: Counts;
  readonly n: Counts;
}

function read(state: Json): Counter {
  const fields = fieldsOf(state, ['p', 'n']);
  return { p: countsIn(fields, 'p'), n: countsIn(fields, 'n') };
}

function write({ p, n }: Counter): Json {
  return objectWith({ p: countsToJson(p), n: countsToJson(n) });
}

export function normalCounter(state: Json): Json {
  return write(read(state));
}

export function joinCounters(a: Json, b: Json): Json {
  const [x, y] = [read(a), read(b)];
  return write({ p: joinCounts(x.p, y.p), n: joinCounts(x.n, y.n) });
}

/** `by` may be negative. */
export function incrementedCounter(state: Json | undefined, actor: string, by: number): Json {
  const { p, n } = read(state ?? objectWith({}));
  return write(by < 0 ? { p, n: raised(n, actor, -by) } : { p: raised(p, actor, by), n });
}

/** Exact, beyond 2^53 too. */
export function valueOfCounter(state: Json): bigint {
  const { p, n } = read(state);
  return sum(p) - sum(n);
}

function sum(counts: Counts): bigint {
  let total = 0n;
  for (const count of counts.values()) total += BigInt(count);
  return total;
}
