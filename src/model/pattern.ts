/**
 * Which keys a rule is about. `*` is anything within a segment, `**` anything over segments, `?` one character other
 * than `/`, `{a,b}` either; `**` followed by `/` also stands for nothing, so `**` + `/x` is `x` at any depth. A backslash
 * takes the next character as it is. Everything else stands for itself, dots included: a key is a name, not a path.
 */
export type Pattern = string;

/** The whole key must match; case counts. Throws what `patternProblem` says. */
export function matcherOf(pattern: Pattern): (key: string) => boolean {
  const problem = patternProblem(pattern);
  if (problem) throw new Error(problem);
  const regex = new RegExp(`^${sourceOf(pattern)}$`, 'su');
  return (key) => regex.test(key);
}

/** What is wrong with it, for a person; undefined when nothing is. */
export function patternProblem(pattern: Pattern): string | undefined {
  if (pattern === '') return 'an empty pattern matches no key; "**" matches every one';
  let depth = 0;
  for (let i = 0; i < pattern.length; i++) {
    const char = pattern[i];
    if (char === '\\' && ++i === pattern.length) return `"${pattern}" ends in a backslash`;
    if (char === '{' && ++depth > 1) return `"${pattern}" has braces within braces`;
    if (char === '}' && --depth < 0) return `"${pattern}" closes a brace that it does not open`;
  }
  return depth > 0 ? `"${pattern}" does not close a brace` : undefined;
}

function sourceOf(pattern: Pattern): string {
  let source = '';
  let inBraces = false;
  for (let i = 0; i < pattern.length; i++) {
    const char = pattern[i]!;
    if (char === '*' && pattern[i + 1] === '*') {
      i += 1;
      const begins = i === 1 || pattern[i - 2] === '/';
      if (begins && pattern[i + 1] === '/') {
        i += 1;
        source += '(?:.*/)?';
      } else source += '.*';
    } else if (char === '*') source += '[^/]*';
    else if (char === '?') source += '[^/]';
    else if (char === '{') {
      inBraces = true;
      source += '(?:';
    } else if (char === '}') {
      inBraces = false;
      source += ')';
    } else if (char === ',' && inBraces) source += '|';
    else source += literal(char === '\\' ? pattern[++i]! : char);
  }
  return source;
}

function literal(char: string): string {
  return /[\\^$.*+?()[\]{}|/-]/.test(char) ? (char === '-' ? '\\x2d' : `\\${char}`) : char;
}
