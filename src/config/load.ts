import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type * as z from 'zod/mini';
import type { Policy } from '../model/policy.ts';
import { checkWhole, type Understood } from './checks.ts';
import { settledConflicts } from './conflicts.ts';
import { ConfigDocument, type Path, valueAt } from './document.ts';
import { reportIssues } from './issues.ts';
import { ConfigFailure, closest } from './problems.ts';
import { configSchema, datasetSchema, type ParsedConfig, sourceSchema } from './schema.ts';
import { type ParsedSite, type SiteConfig, siteSchema } from './sites.ts';
import { address } from './values.ts';
import type { Variables } from './variables.ts';

/** A configuration that was checked as a whole: paths are absolute, defaults settled, secrets wrapped. */
export interface Config extends Omit<ParsedConfig, 'sites'> {
  /** Absolute. */
  readonly file: string;
  readonly sites: Readonly<Record<string, SiteConfig>>;
}

/** Throws `ConfigFailure` with every problem of the file at once. */
export function loadConfig(file: string, variables: Variables): Config {
  return parseConfig(readText(file), file, variables);
}

/** As `loadConfig`, of a text that would stand in `file`. */
export function parseConfig(source: string, file: string, variables: Variables): Config {
  const folder = dirname(resolve(file));
  const document = new ConfigDocument(source, variables);
  if (document.broken) throw new ConfigFailure(file, document.problems);
  if (document.data === undefined || document.data === null) {
    throw new ConfigFailure(file, [
      { message: 'the file is empty', hint: '`isobar init` writes one to begin with' },
    ]);
  }
  const parsed = parseWhole(document);
  if (!parsed.success) reportIssues(parsed.error.issues, document);
  checkWhole(parsed.success ? wholeOf(parsed.data, folder, document) : salvage(document, folder), document);
  if (document.problems.length > 0 || !parsed.success) throw new ConfigFailure(file, inOrder(document));
  return settle(parsed.data, resolve(file), folder);
}

/** Throws `ConfigFailure` for a dataset that the configuration does not have. */
export function toPolicy(config: Config, dataset: string): Policy {
  const { sites, write, reads, conflicts, guards, deletions } = datasetOf(config, dataset);
  const settled = settledConflicts(conflicts, dirname(config.file));
  return { dataset, sites, write, reads, conflicts: settled, guards, deletions };
}

export function datasetOf(config: Config, name: string): Config['datasets'][string] {
  return named(config, config.datasets, name, 'dataset');
}

/** A site of `dataset`, or of any when it is left out. Throws `ConfigFailure` when there is none. */
export function siteOf(config: Config, name: string, dataset?: string): SiteConfig {
  if (dataset === undefined) return named(config, config.sites, name, 'site');
  const sites = datasetOf(config, dataset).sites.map((one) => [one, config.sites[one]!] as const);
  return named(config, Object.fromEntries(sites), name, 'site', ` in the dataset \`${dataset}\``);
}

function named<T>(
  config: Config,
  map: Readonly<Record<string, T>>,
  name: string,
  what: string,
  where = '',
): T {
  if (Object.hasOwn(map, name)) return map[name]!;
  const names = Object.keys(map);
  const similar = closest(name, names);
  const meant = similar === undefined ? '' : `did you mean \`${similar}\`? `;
  const message = `there is no ${what} \`${name}\`${where}`;
  throw new ConfigFailure(config.file, [{ message, hint: `${meant}the ${what}s are ${names.join(', ')}` }]);
}

function readText(file: string): string {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(file);
  } catch (cause) {
    throw new ConfigFailure(file, [unreadable(cause as NodeJS.ErrnoException)], { cause });
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    const problem = { message: 'the file is not UTF-8 text', hint: 'save it as UTF-8' };
    throw new ConfigFailure(file, [problem], { cause });
  }
}

function unreadable(cause: NodeJS.ErrnoException): { message: string; hint: string } {
  if (cause.code === 'ENOENT') {
    return {
      message: 'there is no such file',
      hint: 'name another with --config, or write one with `isobar init`',
    };
  }
  if (cause.code === 'EISDIR')
    return { message: 'this is a folder', hint: 'name the file in it with --config' };
  return {
    message: `the file cannot be read (${cause.code ?? cause.message})`,
    hint: 'check its permissions',
  };
}

/**
 * A value that comes from a variable is text; where a number or boolean is wanted and the text is one, it is
 * taken as one, as it would be if it stood in the file itself.
 */
function parseWhole(document: ConfigDocument): z.core.util.SafeParseResult<ParsedConfig> {
  // An empty message marks what the schema has no words of its own for; issues.ts finds them.
  // A file is read once: to compile the checks takes longer than to make them.
  const parse = () => configSchema.safeParse(document.data, { error: () => '', jitless: true });
  const first = parse();
  if (first.success) return first;
  const converted = first.error.issues.filter((issue) => convert(issue.path as Path, document));
  return converted.length > 0 ? parse() : first;
}

function convert(path: Path, document: ConfigDocument): boolean {
  const value = valueAt(path, document.data);
  if (typeof value !== 'string') return false;
  const plain = document.variablesAt(path).length === 0 ? undefined : plainValueOf(value);
  if (plain === undefined) return false;
  (valueAt(path.slice(0, -1), document.data) as Record<string | number, unknown>)[path.at(-1)!] = plain;
  return true;
}

function plainValueOf(value: string): number | boolean | undefined {
  if (value === 'true' || value === 'false') return value === 'true';
  return /^-?\d+(\.\d+)?$/.test(value) ? Number(value) : undefined;
}

function wholeOf(parsed: ParsedConfig, folder: string, document: ConfigDocument): Understood {
  const usable = <T>(part: string, map: Readonly<Record<string, T>>): [string, T][] =>
    Object.entries(map).filter(([name]) => !document.hasUnusableBelow([part, name]));
  return {
    sites: new Map(usable('sites', parsed.sites).map(([name, site]) => [name, settleSite(site, folder)])),
    siteNames: Object.keys(parsed.sites),
    datasets: new Map(usable('datasets', parsed.datasets)),
    sources: new Map(usable('sources', parsed.sources)),
    state: document.isUnusable(['state']) ? undefined : resolve(folder, parsed.state),
    listen: parsed.listen,
  };
}

/** What can be understood of a file with errors, so that the others are reported in the same run. */
function salvage(document: ConfigDocument, folder: string): Understood {
  const { data } = document;
  const state = valueAt(['state'], data) ?? '.isobar-state';
  const sites = [...parts('sites', siteSchema, document)].map(
    ([name, site]) => [name, settleSite(site, folder)] as const,
  );
  return {
    sites: new Map(sites),
    siteNames: namesIn(valueAt(['sites'], data)),
    datasets: parts('datasets', datasetSchema, document, withoutBadFields),
    sources: parts('sources', sourceSchema, document),
    state: typeof state === 'string' && !document.isUnusable(['state']) ? resolve(folder, state) : undefined,
    listen: address.safeParse(valueAt(['listen'], data)).data,
  };
}

function parts<T extends z.ZodMiniType>(
  part: string,
  schema: T,
  document: ConfigDocument,
  prepare: (data: unknown) => unknown = (data) => data,
): Map<string, z.infer<T>> {
  const map = new Map<string, z.infer<T>>();
  for (const name of namesIn(valueAt([part], document.data))) {
    if (document.hasUnusableBelow([part, name])) continue;
    const parsed = schema.safeParse(prepare(valueAt([part, name], document.data)));
    if (parsed.success) map.set(name, parsed.data);
  }
  return map;
}

/** So that a mistake in one field of a dataset does not hide an unknown site in another. */
function withoutBadFields(data: unknown): unknown {
  if (typeof data !== 'object' || data === null) return data;
  const fields = datasetSchema.shape as Readonly<Record<string, z.ZodMiniType | undefined>>;
  return Object.fromEntries(
    Object.entries(data).filter(([field, value]) => fields[field]?.safeParse(value).success),
  );
}

function namesIn(map: unknown): string[] {
  return typeof map === 'object' && map !== null ? Object.keys(map) : [];
}

function settle(parsed: ParsedConfig, file: string, folder: string): Config {
  const sites = Object.entries(parsed.sites).map(([name, site]) => [name, settleSite(site, folder)]);
  return { ...parsed, file, state: resolve(folder, parsed.state), sites: Object.fromEntries(sites) };
}

/** The server's region is not ours to know; S3 servers other than Amazon's accept this one. */
const regionOfOthers = 'us-east-1';

function settleSite(site: ParsedSite, folder: string): SiteConfig {
  if (site.kind === 'filesystem') return { ...site, path: resolve(folder, site.path) };
  if (site.kind === 'gcs')
    return site.keyFile === undefined ? site : { ...site, keyFile: resolve(folder, site.keyFile) };
  if (site.kind === 'azure') return site;
  const other =
    site.endpoint !== undefined && !/\.amazonaws\.com(\.cn)?$/i.test(new URL(site.endpoint).hostname);
  return {
    ...site,
    region: site.region ?? (other ? regionOfOthers : ''),
    pathStyle: site.pathStyle ?? other,
  };
}

function inOrder(document: ConfigDocument): ConfigDocument['problems'] {
  return document.problems.sort((a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0));
}
