import { matcherOf, type Pattern, patternProblem } from '../model/pattern.ts';
import type { Attributes, NeedsMetadata, ShardKey } from '../model/placement.ts';

/** A key without the part or the entry, or with an empty one, is sharded by its whole name: spread, never refused. */
export function shardKeyOf(by: ShardKey): (key: string, attributes: Attributes) => string | NeedsMetadata {
  if (by === 'key') return (key) => key;
  if ('part' in by) {
    const part = partOf(by.part);
    return (key) => part(key) ?? key;
  }
  const name = by.metadata;
  return (key, { user }) => {
    if (user === undefined) return { kind: 'needs-metadata', missing: 'user' };
    return (Object.hasOwn(user, name) && user[name]) || key;
  };
}

/** The named segment of keys that match; undefined for others. Throws what `partProblem` says. */
export function partOf(pattern: Pattern): (key: string) => string | undefined {
  const problem = partProblem(pattern);
  if (problem) throw new Error(problem);
  const { from, to } = namesIn(plain(pattern))[0]!;
  const depth = plain(pattern).slice(0, from).split('/').length - 1;
  const matches = matcherOf(`${pattern.slice(0, from)}?*${pattern.slice(to)}`);
  return (key) => (matches(key) ? segment(key, depth) : undefined);
}

/** What is wrong with the pattern of a part, for a person; undefined when nothing is. */
export function partProblem(pattern: Pattern): string | undefined {
  const problem = patternProblem(pattern);
  if (problem) return problem;
  const text = plain(pattern);
  const names = namesIn(text);
  if (names.length !== 1) {
    const many = names.length === 0 ? 'no segment' : 'several segments';
    return `"${pattern}" names ${many}; name exactly one, as in "{tenant}/**"`;
  }
  const { from, to } = names[0]!;
  const before = text.slice(0, from);
  if (!/(^|\/)$/.test(before) || !/^(\/|$)/.test(text.slice(to))) {
    return `"${pattern}" names less than a segment; ${pattern.slice(from, to)} must stand alone between slashes`;
  }
  if (before.includes('**') || /\{[^}]*\//.test(before)) {
    return `"${pattern}" leaves open how deep ${pattern.slice(from, to)} stands; use neither "**" nor a slash within braces before it`;
  }
  return undefined;
}

/** As long as the pattern, without what a backslash escapes, slashes excepted. */
function plain(pattern: Pattern): string {
  return pattern.replace(/\\(.)/gs, (_, char) => (char === '/' ? '_/' : '__'));
}

/** `{tenant}`; with a comma it would be a choice. */
function namesIn(text: string): { readonly from: number; readonly to: number }[] {
  return [...text.matchAll(/\{[\w-]+\}/g)].map(({ index, 0: found }) => ({
    from: index,
    to: index + found.length,
  }));
}

function segment(key: string, depth: number): string {
  let from = 0;
  for (let i = 0; i < depth; i++) from = key.indexOf('/', from) + 1;
  const to = key.indexOf('/', from);
  return to === -1 ? key.slice(from) : key.slice(from, to);
}
