import * as z from 'zod/mini';
import { type ConfigDocument, type Path, valueAt } from './document.ts';
import { closest } from './problems.ts';
import { configSchema } from './schema.ts';

type Issue = z.core.$ZodIssue;

const nouns: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: '`true` or `false`',
  object: 'a map of fields',
  record: 'a map of names',
  array: 'a list',
  null: 'empty',
};

/** What zod found, in words, at its place in the file, with a suggestion. */
export function reportIssues(issues: readonly Issue[], document: ConfigDocument): void {
  // Unknown fields first: a field that was merely misspelt is not reported as missing as well.
  const unknownFirst = [...issues].sort((a, b) => Number(isUnknown(b)) - Number(isUnknown(a)));
  for (const issue of unknownFirst) reportIssue(issue, [], document);
}

function isUnknown(issue: Issue): boolean {
  return issue.code === 'unrecognized_keys';
}

function reportIssue(issue: Issue, base: Path, document: ConfigDocument): void {
  const path = [...base, ...(issue.path as (string | number)[])];
  const inner = issue.code === 'invalid_union' ? intendedBranch(issue.errors) : undefined;
  if (inner !== undefined) {
    for (const one of [...inner.filter(isUnknown), ...inner.filter((other) => !isUnknown(other))]) {
      reportIssue(one, path, document);
    }
  } else if (issue.code === 'unrecognized_keys') {
    for (const key of issue.keys) reportUnknown(path, key, document);
  } else if (issue.code === 'invalid_key') {
    document.report(path, `\`${path.at(-1)}\` cannot be a name here: ${issue.issues[0]?.message}`, {
      at: 'name',
    });
  } else {
    document.report(path, messageOf(issue, path, document), { hint: hintOf(issue, path, document) });
  }
}

/** The branch of a union that got furthest is the one that the writer had in mind. */
function intendedBranch(branches: readonly (readonly Issue[])[]): readonly Issue[] | undefined {
  const deeper = branches.filter((branch) =>
    branch.some((one) => one.path.length > 0 || one.code === 'unrecognized_keys'),
  );
  const fitting = deeper.length === 1 ? deeper : deeper.filter((branch) => !branch.some(isUnknown));
  return fitting.length === 1 ? fitting[0] : undefined;
}

function reportUnknown(path: Path, key: string, document: ConfigDocument): void {
  const fields = fieldsAt(path, document.data);
  const where = path.length === 0 ? 'at the top of the file' : `in \`${path.join('.')}\``;
  const similar = closest(key, fields);
  const misspelt = similar !== undefined && valueAt([...path, similar], document.data) === undefined;
  if (misspelt) document.markUnusable([...path, similar]);
  const hint =
    similar === undefined ? `the fields here are ${fields.join(', ')}` : `did you mean \`${similar}\`?`;
  document.report([...path, key], `unknown field \`${key}\` ${where}`, { hint, at: 'name' });
}

function messageOf(issue: Issue, path: Path, document: ConfigDocument): string {
  const field = path.length === 0 ? 'the file' : `\`${path.join('.')}\``;
  const value = valueAt(path, document.data);
  if (value === undefined && path.length > 0) return missing(path);
  const names = document.variablesAt(path);
  const from = names.length === 0 ? '' : ` (its value comes from ${names.join(', ')})`;
  if (value === null) return `${field} has no value`;
  return `${field} ${complaintOf(issue, value)}${from}`;
}

function missing(path: Path): string {
  const parent = path.slice(0, -1).join('.');
  return `${parent === '' ? 'the file' : `\`${parent}\``} needs \`${path.at(-1)}\``;
}

function complaintOf(issue: Issue, value: unknown): string {
  if (issue.message !== '') return issue.message;
  switch (issue.code) {
    case 'invalid_type':
      return `must be ${nouns[issue.expected] ?? issue.expected}, not ${nouns[kindOf(value)] ?? kindOf(value)}`;
    case 'invalid_value':
      return mustBe(issue.values);
    case 'invalid_union':
      return mustBe(optionsOf(issue));
    case 'too_small':
      return `must be at least ${issue.minimum}`;
    case 'too_big':
      return issue.origin === 'string'
        ? `must have at most ${issue.maximum} characters`
        : `must be at most ${issue.maximum}`;
    default:
      return 'is not valid';
  }
}

/** Of a union told apart by one field, as `kind` does; zod's types do not say that it lists them. */
function optionsOf(issue: Issue): readonly unknown[] {
  return 'options' in issue && Array.isArray(issue.options) ? issue.options : [];
}

function mustBe(values: readonly unknown[]): string {
  const list = values.map((value) => `\`${String(value)}\``).join(', ');
  return values.length === 1 ? `must be ${list}` : `must be one of ${list}`;
}

function kindOf(value: unknown): string {
  return Array.isArray(value) ? 'array' : typeof value;
}

function hintOf(issue: Issue, path: Path, document: ConfigDocument): string | undefined {
  const value = valueAt(path, document.data);
  const options =
    issue.code === 'invalid_value' ? issue.values : issue.code === 'invalid_union' ? optionsOf(issue) : [];
  if (typeof value === 'string' && options.length > 1) {
    const similar = closest(value, options.map(String));
    if (similar !== undefined) return `did you mean \`${similar}\`?`;
  }
  const quoting = issue.message === '' && issue.code === 'invalid_type' && issue.expected === 'string';
  return quoting && ['number', 'boolean'].includes(typeof value) ? 'put it in quotes' : undefined;
}

type Schema = z.core.JSONSchema.BaseSchema;

/** The names of the fields that may stand in the map at `path`, chosen by what stands there. */
function fieldsAt(path: Path, data: unknown): string[] {
  let schema: Schema | undefined = z.toJSONSchema(configSchema, { io: 'input' });
  for (let depth = 0; ; depth++) {
    schema = schema === undefined ? undefined : branchFor(schema, valueAt(path.slice(0, depth), data));
    if (depth === path.length) return Object.keys(schema?.properties ?? {});
    const child: unknown = schema?.properties?.[String(path[depth])] ?? schema?.additionalProperties;
    schema = typeof child === 'object' ? (child as Schema) : undefined;
  }
}

function branchFor(schema: Schema, value: unknown): Schema | undefined {
  const branches = (schema.oneOf ?? schema.anyOf) as readonly Schema[] | undefined;
  if (branches === undefined) return schema;
  const kind = valueAt(['kind'], value);
  const objects = branches.filter((branch) => branch.properties !== undefined);
  return (
    objects.find((branch) => (branch.properties?.kind as Schema | undefined)?.const === kind) ?? objects[0]
  );
}
