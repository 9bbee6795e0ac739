import {
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  type Scalar,
} from 'yaml';
import { type Problem, snippetOf } from './problems.ts';
import { substitute, type Variables } from './variables.ts';

export type Path = readonly (string | number)[];

/** Aliases can make a small file expand without bound. */
const maxNodes = 100_000;

/** A YAML file as plain data with variables substituted, which still knows where everything stands. */
export class ConfigDocument {
  readonly problems: Problem[] = [];
  /** Set when the text is not YAML: then `data` says nothing. */
  readonly broken: boolean;
  data: unknown;
  readonly #source: string;
  readonly #lines = new LineCounter();
  readonly #root: Node | null;
  readonly #variables: Variables;
  /** Paths of values that came from variables, and the names of these. */
  readonly #substituted = new Map<string, readonly string[]>();
  readonly #unusable = new Set<string>();
  #nodes = 0;

  constructor(source: string, variables: Variables) {
    this.#source = source;
    this.#variables = variables;
    const document = parseDocument(source, {
      lineCounter: this.#lines,
      prettyErrors: false,
      uniqueKeys: true,
      version: '1.2',
    });
    this.#root = document.contents;
    for (const error of [...document.errors, ...document.warnings]) {
      const hint = syntaxHint(error.code, this.#lineAt(error.pos[0]));
      this.#report(syntaxMessage(error.code, error.message), error.pos[0], hint);
    }
    this.broken = document.errors.some((error) => error.code !== 'DUPLICATE_KEY');
    this.data = this.broken || this.#root === null ? undefined : this.#toData(this.#root, [], []);
  }

  /** Reports at the value of `path`, or at its name with `at: 'name'`; an absent path at its nearest parent. */
  report(
    path: Path,
    message: string,
    options: { hint?: string | undefined; at?: 'name' | 'value' } = {},
  ): void {
    if (this.isUnusable(path)) return;
    this.#report(message, this.#offsetOf(path, options.at ?? 'value'), options.hint);
  }

  /** The value there was already reported: whatever else is wrong with it follows from that. */
  isUnusable(path: Path): boolean {
    return this.#unusable.has(keyOf(path));
  }

  /** From here on nothing is reported there. */
  markUnusable(path: Path): void {
    this.#unusable.add(keyOf(path));
  }

  /** Whether anything at or below `path` was already reported as unusable. */
  hasUnusableBelow(path: Path): boolean {
    const start = keyOf(path);
    return [...this.#unusable].some((one) => one === start || one.startsWith(`${start}\0`));
  }

  /** The names of the variables that the value at `path` came from. */
  variablesAt(path: Path): readonly string[] {
    return this.#substituted.get(keyOf(path)) ?? [];
  }

  #report(message: string, offset: number, hint?: string): void {
    const { line, col } = this.#lines.linePos(Math.min(offset, this.#source.length));
    this.problems.push({
      message,
      line,
      column: col,
      snippet: snippetOf(this.#lineAt(offset), line, col),
      ...(hint === undefined ? {} : { hint }),
    });
  }

  #lineAt(offset: number): string {
    const start = offset === 0 ? 0 : this.#source.lastIndexOf('\n', offset - 1) + 1;
    const end = this.#source.indexOf('\n', start);
    return this.#source.slice(start, end === -1 ? undefined : end).replace(/\r$/, '');
  }

  #toData(node: unknown, path: Path, aliases: readonly Node[]): unknown {
    if (++this.#nodes > maxNodes) return undefined;
    if (node === null || node === undefined) return null;
    if (isAlias(node)) return this.#aliased(node, path, aliases);
    if (isMap(node)) return this.#mapData(node.items, path, aliases);
    if (isSeq(node)) return node.items.map((item, index) => this.#toData(item, [...path, index], aliases));
    if (isScalar(node)) return this.#scalarData(node, path);
    return undefined;
  }

  #aliased(node: Node, path: Path, aliases: readonly Node[]): unknown {
    const target = this.#resolve(node);
    if (target !== undefined && !aliases.includes(node))
      return this.#toData(target, path, [...aliases, node]);
    this.#report('this alias leads nowhere', offsetIn(node));
    this.#unusable.add(keyOf(path));
    return undefined;
  }

  #mapData(items: readonly Pair[], path: Path, aliases: readonly Node[]): Record<string, unknown> {
    const data: Record<string, unknown> = {};
    for (const pair of items) {
      const name = isScalar(pair.key) ? String(pair.key.value) : undefined;
      if (name === undefined || name === '__proto__')
        this.#report('this cannot be a name', offsetIn(pair.key));
      else data[name] = this.#toData(pair.value, [...path, name], aliases);
    }
    return data;
  }

  #scalarData(node: Scalar, path: Path): unknown {
    const { value } = node;
    if (typeof value !== 'string') return typeof value === 'bigint' ? Number(value) : value;
    const { text, used, problems } = substitute(value, this.#variables);
    if (used.length > 0) this.#substituted.set(keyOf(path), used);
    for (const problem of problems) {
      const [from, to] = node.range ?? [0, 0];
      const within = this.#source.slice(from, to).indexOf(problem.reference);
      this.#report(problem.message, from + Math.max(within, 0), problem.hint);
      this.#unusable.add(keyOf(path));
    }
    return text;
  }

  #resolve(node: Node): Node | undefined {
    if (!isAlias(node)) return node;
    let found: Node | undefined;
    // The last anchor of that name before the alias counts.
    walk(this.#root, (one) => {
      if (one.anchor === node.source && offsetIn(one) < offsetIn(node)) found = one;
    });
    return found;
  }

  #offsetOf(path: Path, at: 'name' | 'value'): number {
    let node: unknown = this.#root;
    let offset = 0;
    for (const [index, step] of path.entries()) {
      const within = isAlias(node) ? this.#resolve(node) : node;
      const next = isMap(within)
        ? within.items.find((pair) => isScalar(pair.key) && String(pair.key.value) === String(step))
        : undefined;
      const item = isSeq(within) ? within.items[Number(step)] : undefined;
      if (next === undefined && item === undefined) return offset;
      node = next === undefined ? item : next.value;
      const last = index === path.length - 1;
      const nameOffset = next === undefined ? offsetIn(item) : offsetIn(next.key);
      // For a child that is absent the caret stands below the name of its parent.
      offset = last && at === 'value' && hasPlace(node) ? offsetIn(node) : nameOffset;
    }
    return offset;
  }
}

export function valueAt(path: Path, data: unknown): unknown {
  let value = data;
  for (const step of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined;
    value = (value as Record<string | number, unknown>)[step];
  }
  return value;
}

function keyOf(path: Path): string {
  return path.join('\0');
}

function hasPlace(node: unknown): boolean {
  return isAlias(node) || isSeq(node) || isMap(node) || (isScalar(node) && node.value !== null);
}

function offsetIn(node: unknown): number {
  const range = (node as { range?: readonly number[] | null } | null | undefined)?.range;
  return range?.[0] ?? 0;
}

function walk(node: unknown, visit: (node: Node & { anchor?: string }) => void): void {
  if (isPair(node)) {
    walk(node.value, visit);
  } else if (isMap(node) || isSeq(node)) {
    visit(node);
    for (const item of node.items) walk(item, visit);
  } else if (isScalar(node)) {
    visit(node);
  }
}

function syntaxMessage(code: string, original: string): string {
  if (code === 'DUPLICATE_KEY') return 'this name stands twice in the same map';
  if (code === 'MULTIPLE_DOCS') return 'the file holds more than one YAML document';
  return `not valid YAML: ${original.split('\n')[0]?.replace(/\s+at line \d+, column \d+:?$/, '')}`;
}

function syntaxHint(code: string, line: string): string | undefined {
  if (code === 'TAB_AS_INDENT') return 'indent with spaces, not with tabs';
  if (code === 'DUPLICATE_KEY') return 'remove one of the two, or rename it';
  // There a brace ends a value that has no quotes.
  return /[{,[].*(?<!["'])\$\{/.test(line)
    ? 'inside { } or [ ] a value with a variable must stand in quotes'
    : undefined;
}
