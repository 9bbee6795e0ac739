import { maskTelltales, redact } from './secret.ts';

/** One thing that is wrong with the configuration, with where and what to do. */
export interface Problem {
  readonly message: string;
  /** What to do about it. */
  readonly hint?: string;
  /** From 1; absent when the problem has no place in the file. */
  readonly line?: number;
  readonly column?: number;
  /** The offending line and a caret below it, secrets masked. */
  readonly snippet?: string;
}

/** The configuration cannot be used; `message` names every problem. Exit code 2. */
export class ConfigFailure extends Error {
  override readonly name = 'ConfigFailure';
  readonly file: string;
  readonly problems: readonly Problem[];

  constructor(file: string, problems: readonly Problem[], options: { cause?: unknown } = {}) {
    super(problems.map((problem) => formatProblem(file, problem)).join('\n'), options);
    this.file = file;
    this.problems = problems;
  }
}

export function formatProblem(file: string, problem: Problem): string {
  const place = problem.line === undefined ? file : `${file}:${problem.line}:${problem.column}`;
  const lines = [`${place}: ${problem.message}`];
  if (problem.snippet !== undefined) lines.push(problem.snippet);
  if (problem.hint !== undefined) lines.push(`  ${problem.hint}`);
  return redact(lines.join('\n'));
}

const snippetWidth = 100;

/** `column` from 1. A long line is cut to the part around the caret. */
export function snippetOf(line: string, lineNumber: number, column: number): string {
  const flat = line.replaceAll('\t', ' ');
  const masked = maskLine(flat);
  const caret = commonLength(maskLine(flat.slice(0, column - 1)), masked);
  const from = Math.max(0, Math.min(caret - snippetWidth / 2, masked.length - snippetWidth));
  const gutter = `  ${lineNumber} | `;
  const shown = masked.slice(from, from + snippetWidth);
  return `${gutter}${shown}\n${' '.repeat(gutter.length + caret - from)}^`;
}

const secretName =
  /((?:secret|password|passwd|token|credential|connection|sas|signature|account_?key)[\w-]*["']?\s*[:=]\s*)("(?:\\.|[^"])*"?|'[^']*'?|\$\{[^}]*\}|[^,}\s#][^,}#]*)/gi;

/** Values of fields whose name speaks of a secret, long runs of what looks like a key, and known secrets. */
function maskLine(line: string): string {
  const named = line.replace(secretName, (whole, head: string, value: string) =>
    isReference(value) ? whole : `${head}***`,
  );
  return redact(maskTelltales(named)).replace(/[A-Za-z0-9+/_-]{32,}={0,2}/g, '***');
}

/** A reference without a default holds no secret, and is what the reader must see. */
function isReference(value: string): boolean {
  return /^["']?\$\{\w+\}["']?\s*$/.test(value);
}

function commonLength(a: string, b: string): number {
  let length = 0;
  while (length < a.length && a[length] === b[length]) length++;
  return length;
}

/** The one of `candidates` that `word` is probably meant to be. */
export function closest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  // A third of the letters may be wrong: "bukcet" is "bucket", "path" is not "bus".
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Insertions, deletions, replacements and swaps of neighbours (Damerau, optimal string alignment). */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const changed = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      let cost = Math.min(previous[j]! + 1, row[j - 1]! + 1, changed);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) cost = Math.min(cost, before[j - 2]! + 1);
      row.push(cost);
    }
    [before, previous] = [previous, row];
  }
  return previous[b.length]!;
}
