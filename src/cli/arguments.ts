import { InvalidArgumentError } from 'commander';
import { keyProblem } from '../model/key.ts';
import type { Dataset } from './api.ts';
import type { Context } from './context.ts';
import { UsageFailure } from './failure.ts';
import { printable } from './text.ts';

/** A key as it was given, or a usage failure that says why there can be none like it. */
export function checkedKey(key: string): string {
  const problem = keyProblem(key);
  if (problem === undefined) return key;
  const shown = key.length > 60 ? `${printable(key.slice(0, 60))}…` : printable(key);
  throw new UsageFailure(`"${shown}" cannot be a key: ${problem}`);
}

/** The dataset, checked against the configuration before anything is opened. */
export async function datasetNamed(context: Context, name: string): Promise<Dataset> {
  const { datasetOf } = await import('../config/load.ts');
  datasetOf(await context.config(), name);
  return (await context.isobar()).dataset(name);
}

/** Likewise for a site of a dataset; undefined stays undefined. */
export async function siteNamed(
  context: Context,
  name: string | undefined,
  dataset?: string,
): Promise<string | undefined> {
  if (name === undefined) return undefined;
  const { siteOf } = await import('../config/load.ts');
  siteOf(await context.config(), name, dataset);
  return name;
}

/** Those given, or all of the configuration; each is checked. */
export async function datasetNames(context: Context, given: readonly string[]): Promise<readonly string[]> {
  const { datasetOf } = await import('../config/load.ts');
  const config = await context.config();
  for (const name of given) datasetOf(config, name);
  return given.length > 0 ? given : Object.keys(config.datasets);
}

/** Collects `name=value` of an option that may be repeated. */
export function collectPair(
  text: string,
  before: Readonly<Record<string, string>> = {},
): Record<string, string> {
  const at = text.indexOf('=');
  if (at <= 0) throw new InvalidArgumentError('It must be name=value.');
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}

export function collect(text: string, before: readonly string[] = []): string[] {
  return [...before, text];
}
