import { type Merge, type Merged, mergedVersion, type Side } from '../merging/rule.ts';
import { noMetadata, type ObjectMetadata } from '../model/metadata.ts';
import { stampOf } from '../model/stamp.ts';
import { type Dot, historyOf, join, type Version } from '../model/version.ts';
import type { Random } from './simulation/random.ts';

/** Writes and documents for the tests of this folder. */

export type Plain = null | boolean | number | string | readonly Plain[] | { readonly [key: string]: Plain };

export const bytes = (text: string) => new TextEncoder().encode(text);
export const text = (body: Uint8Array) => new TextDecoder().decode(body);

export function versionAt(dot: string, ms: number, ...seen: readonly Version[]): Version {
  const [site = '', count = ''] = dot.split('.');
  const past = join(...seen.map(historyOf));
  return {
    stamp: stampOf(ms),
    dot: { site, count: Number(count) },
    past,
    operation: `op ${dot}`,
    deleted: false,
  };
}

export function side(version: Version, document: unknown, metadata: Partial<ObjectMetadata> = {}): Side {
  return rawSide(version, JSON.stringify(document), metadata);
}

export function rawSide(version: Version, body: string, metadata: Partial<ObjectMetadata> = {}): Side {
  return { version, body: bytes(body), metadata: { ...noMetadata, ...metadata } };
}

/** What the engine does with a merge: its result is a side of the next one. */
export function mergeSides(merge: Merge, a: Side, b: Side, base: Side | undefined, dot: Dot): Side {
  const merged = merge(a, b, base);
  if (merged.kind === 'not-merged') throw new Error(merged.because);
  return asSide(merged, mergedVersion(a.version, b.version, dot));
}

export function asSide({ body, metadata, clocks }: Merged, version: Version): Side {
  return { version, body, metadata, clocks };
}

const keys = ['a', 'b', 'c', '__proto__', 'x/y~z'];
const scalars: readonly Plain[] = [null, true, false, 0, 1, 'text', '', [], [1, { a: 2 }], {}, 1.5];

export function randomDocument(random: Random, depth = 3): Plain {
  if (depth === 0 || random.chance(0.25)) return random.pick(scalars);
  const members = keys
    .filter(() => random.chance(0.4))
    .map((key) => [key, randomDocument(random, depth - 1)] as const);
  return objectOf(members);
}

/** Changes, adds and removes here and there. */
export function edited(random: Random, document: Plain, rate = 0.3): Plain {
  if (!isPlainObject(document)) return random.chance(rate) ? randomDocument(random, 2) : document;
  if (random.chance(0.05)) return randomDocument(random, 2);
  const members = new Map<string, Plain>();
  for (const [key, value] of Object.entries(document)) {
    if (!random.chance(rate / 2)) members.set(key, edited(random, value, rate));
  }
  if (random.chance(rate)) members.set(random.pick(keys), randomDocument(random, 2));
  return objectOf([...members]);
}

function isPlainObject(value: Plain): value is { readonly [key: string]: Plain } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `__proto__` is a key like any other. */
function objectOf(members: readonly (readonly [string, Plain])[]): Plain {
  return JSON.parse(
    `{${members.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join()}}`,
  );
}

export function randomMetadata(random: Random): ObjectMetadata {
  const some = () =>
    Object.fromEntries(
      ['one', 'two', 'three'].filter(() => random.chance(0.5)).map((name) => [name, random.pick(['x', 'y'])]),
    );
  return {
    ...(random.chance(0.5) ? { contentType: random.pick(['a/b', 'c/d']) } : {}),
    user: some(),
    tags: some(),
  };
}
