import * as z from 'zod/mini';
import { configSchema } from './schema.ts';

type Schema = z.core.JSONSchema.BaseSchema;

/** JSON Schema (draft 2020-12) of the file as it is written: what has a default may be left out. */
export function jsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(configSchema, { io: 'input', override: ({ jsonSchema: schema }) => finish(schema) });
}

const variablePattern = '\\$\\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\\}';

/** A value may come from a variable, which is text whatever it stands for. */
function finish(schema: Schema): void {
  if (schema.maximum === Number.MAX_SAFE_INTEGER) delete schema.maximum;
  const narrow = schema.pattern !== undefined || schema.enum !== undefined;
  const scalar = schema.type === 'integer' || schema.type === 'number' || schema.type === 'boolean';
  if (!scalar && !(schema.type === 'string' && narrow)) return;
  const { description, default: preset, ...rules } = schema;
  for (const name of Object.keys(rules)) delete (schema as Record<string, unknown>)[name];
  schema.anyOf = [rules as never, { type: 'string', pattern: variablePattern }];
  if (description !== undefined) schema.description = description;
  if (preset !== undefined) schema.default = preset;
}

/** The text of docs/configuration.md. */
export function renderReference(): string {
  const schema = z.toJSONSchema(configSchema, { io: 'input' });
  const top = schema.properties as Record<string, Schema>;
  return [
    introduction,
    section('The whole file', 2, '', schema),
    section('sites', 2, '`sites.NAME`: one place that holds replicas. `kind` says what it is.', undefined),
    ...siteSections(top.sites!),
    section('datasets', 2, '`datasets.NAME`: what is replicated, and how.', entryOf(top.datasets!)),
    section('sources', 2, '`sources.SITE`: notifications of native writes.', entryOf(top.sources!)),
  ]
    .join('\n')
    .replace(/\n{3,}/g, '\n\n');
}

function siteSections(sites: Schema): string[] {
  const kinds = entryOf(sites).oneOf as readonly Schema[];
  return kinds.map((kind) => section(`A site of kind \`${kind.title}\``, 3, kind.description ?? '', kind));
}

function entryOf(map: Schema): Schema {
  return map.additionalProperties as Schema;
}

function section(title: string, level: number, text: string, schema: Schema | undefined): string {
  const head = `${'#'.repeat(level)} ${title}\n\n${text}\n`;
  if (schema === undefined) return head;
  const rows = rowsOf(schema, '');
  return `${head}\n| field | value | default | meaning |\n|---|---|---|---|\n${rows.join('\n')}\n`;
}

/** One row per field; the fields of an inner map follow it with their path. Named maps have their own section. */
function rowsOf(schema: Schema, above: string): string[] {
  const required = schema.required ?? [];
  return Object.entries((schema.properties ?? {}) as Record<string, Schema>).flatMap(([name, field]) => {
    const preset = required.includes(name) ? '**needed**' : defaultOf(field);
    const row = `| \`${above}${name}\` | ${typeOf(field)} | ${preset} | ${field.description ?? ''} |`;
    return [row, ...innerOf(field).flatMap((inner) => rowsOf(inner, `${above}${name}.`))];
  });
}

function innerOf(field: Schema): readonly Schema[] {
  const branches = (field.anyOf ?? [field]) as readonly Schema[];
  const maps = branches.map((branch) => (branch.items as Schema | undefined) ?? branch);
  return maps.filter((branch) => branch.properties !== undefined);
}

function defaultOf(field: Schema): string {
  if (field.default === undefined || (field.properties !== undefined && isEmpty(field.default))) return '';
  return field.default === '' ? 'none' : code(field.default);
}

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}

function typeOf(field: Schema): string {
  const branches = (field.anyOf ?? field.oneOf) as readonly Schema[] | undefined;
  if (branches !== undefined) return [...new Set(branches.map(typeOf))].join(', ');
  if (field.const !== undefined) return code(field.const);
  if (field.enum !== undefined) return field.enum.map(code).join(', ');
  if (field.type === 'array') return `list of ${typeOf(field.items as Schema)}`;
  if (field.type === 'object') return 'map';
  if (field.type === 'integer') return rangeOf(field, 'whole number');
  if (field.type === 'number') return rangeOf(field, 'number');
  if (field.type === 'boolean') return '`true`, `false`';
  return 'text';
}

function rangeOf(field: Schema, noun: string): string {
  const bounded = field.maximum !== undefined && field.maximum !== Number.MAX_SAFE_INTEGER;
  return bounded ? `${noun}, ${field.minimum} to ${field.maximum}` : noun;
}

function code(value: unknown): string {
  return `\`${typeof value === 'string' ? value : JSON.stringify(value)}\``;
}

const introduction = `<!-- Generated from src/config/schema.ts by \`npm run docs\`: do not edit. -->

# Configuration

One YAML file, \`isobar.yaml\` unless \`--config\` names another. \`isobar init\` writes one, \`isobar config check\`
checks it, \`isobar config show\` prints it with every default and without secrets, and \`isobar config schema\`
prints a JSON Schema for editors.

- **Relative paths** (\`path\`, \`keyFile\`, \`state\`) are relative to the file.
- **Variables**: \`\${NAME}\` in any value is replaced by the environment variable, which must be set;
  \`\${NAME:-default}\` gives a default for one that is unset or empty; \`$$\` is a dollar sign. They are replaced after
  the YAML was read: whatever a variable holds can neither break the file nor add fields to it. Inside \`{ }\` and
  \`[ ]\` YAML itself wants quotes around such a value.
- **Mistakes** (an unknown field, a wrong type, an unset variable, a dataset that names an unknown site) are all
  reported at once, with line, column and what was probably meant. Nothing runs with a file that has one.
- **Secrets** never reach a log, an error or a report. Files get copied: better \`\${VAR}\` than the value.
- **The same place twice**: no two sites may share keys, whatever way their bucket, container or folder is spelt, and
  a site belongs to one dataset. Several datasets share a bucket by one site each, with prefixes of their own.
- **Reserved**: keys that begin with \`.isobar/\` (below the \`prefix\` of the site) belong to Isobar.

\`\`\`yaml
sites:
  aws:   { kind: s3,    bucket: photos, region: eu-central-1, jurisdiction: EU }
  gcp:   { kind: gcs,   bucket: photos-gcp, jurisdiction: EU }
  azure: { kind: azure, container: photos, connectionString: "\${AZURE_STORAGE_CONNECTION_STRING}", jurisdiction: EU }
datasets:
  photos:
    sites: [aws, gcp, azure]
    write: async
    guards: { maxDeletes: { keys: 100, percent: 5 } }
\`\`\`
`;
