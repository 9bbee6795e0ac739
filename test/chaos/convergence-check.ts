import { openConfigured, openState } from '../../src/assembly/open.ts';
import { loadConfig } from '../../src/config/index.ts';
import { traitsOf } from '../../src/model/entry.ts';
import { relate } from '../../src/model/version.ts';
import type { ObjectStore } from '../../src/ports/object-store.ts';
import { systemWorld } from '../../src/system-world.ts';
import { isobar } from '../e2e/daemon-process.ts';
import { allKeys, idIn, keyPrefix } from './bodies.ts';
import type { Stage } from './convergence-stage.ts';

/** What stands at the sites at the end, as their own servers tell it. */
export interface Ending {
  /** The body under each key that is not absent. */
  readonly current: ReadonlyMap<string, string>;
  /** Bodies that lost, and are kept and listed. */
  readonly kept: ReadonlySet<string>;
  readonly violations: readonly string[];
}

/** One line of what `isobar COMMAND --json` prints. */
type Line = Readonly<Record<string, unknown>>;

export async function told(stage: Stage, ...args: readonly string[]): Promise<Line[]> {
  const { code, stdout, stderr } = await isobar(stage.configFile, [...args, '--json']);
  if (code !== 0) throw new Error(`isobar ${args.join(' ')} ended with ${code}: ${stderr}`);
  return stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Line);
}

export async function endingOf(stage: Stage, signal: AbortSignal): Promise<Ending> {
  const violations: string[] = [];
  const current = await sameEverywhere(stage, violations, signal);
  const kept = await keptAndListed(stage, violations, signal);
  await oneVersion(stage, current, violations, signal);
  return { current, kept, violations };
}

/** Bodies, user metadata and content types, read by each site's own client. */
async function sameEverywhere(stage: Stage, violations: string[], signal: AbortSignal) {
  const current = new Map<string, string>();
  const first = stage.sites[0]!;
  const reference = await contentOf(first.native, signal);
  for (const [key, { id, meta }] of reference) {
    current.set(key, id);
    if (meta !== id) violations.push(`${first.name} ${key}: the body is ${id}, its metadata are of ${meta}`);
  }
  for (const { name, native } of stage.sites.slice(1)) {
    const found = await contentOf(native, signal);
    for (const key of new Set([...reference.keys(), ...found.keys()])) {
      const [a, b] = [reference.get(key), found.get(key)];
      if (a?.whole !== b?.whole) violations.push(`${key}: ${a?.id} at ${first.name}, ${b?.id} at ${name}`);
    }
  }
  return current;
}

interface Content {
  readonly id: string;
  /** What the metadata call it. */
  readonly meta: string | undefined;
  /** Everything a user put there. */
  readonly whole: string;
}

async function contentOf(store: ObjectStore, signal: AbortSignal): Promise<Map<string, Content>> {
  const found = new Map<string, Content>();
  for await (const page of store.list({ prefix: keyPrefix }, signal)) {
    for (const { key } of page) {
      const read = await store.read(key, {}, signal);
      if (!read) continue;
      const bytes = Buffer.from(await read.bytes());
      const { metadata } = read.head;
      const whole = `${bytes.toString('latin1')}\n${traitsOf(metadata)}`;
      found.set(key, { id: idIn(bytes) ?? '?', meta: metadata.user['id'], whole });
    }
  }
  return found;
}

/** What `conflicts ls` lists must be there, at every site that it names. */
async function keptAndListed(stage: Stage, violations: string[], signal: AbortSignal): Promise<Set<string>> {
  const kept = new Set<string>();
  const listed = await told(stage, 'conflicts', 'ls', 'photos');
  for (const { key, keptAs, sites } of listed) {
    for (const site of sites as string[]) {
      const { native } = stage.sites.find(({ name }) => name === site)!;
      const read = await native.read(String(keptAs), {}, signal);
      const id = read && idIn(await read.bytes());
      if (id === undefined) violations.push(`${site}: the loser ${keptAs} of ${key} is listed and not there`);
      else kept.add(id);
    }
  }
  return kept;
}

/** By the ledger and by a fresh look every site holds one and the same version of each key. */
async function oneVersion(
  stage: Stage,
  current: ReadonlyMap<string, string>,
  violations: string[],
  signal: AbortSignal,
): Promise<void> {
  const config = loadConfig(stage.configFile, {});
  const state = await openState(config);
  const opened = await openConfigured(config, 'photos', state, systemWorld);
  try {
    for (const key of allKeys) {
      const { record, errors } = await opened.dataset.explain(key, signal);
      const versions = config.datasets['photos']!.sites.map((site) => record.replicas[site]?.version);
      const [one] = versions;
      const same = versions.every((other) =>
        one && other ? relate(one, other) === 'same' && one.operation === other.operation : one === other,
      );
      if (!same || Object.keys(errors).length > 0)
        violations.push(`${key}: versions ${JSON.stringify(versions)} ${JSON.stringify(errors)}`);
      if ((one !== undefined && !one.deleted) !== current.has(key))
        violations.push(`${key}: ${current.get(key) ?? 'absent'}, by the ledger ${JSON.stringify(one)}`);
    }
  } finally {
    await opened.close();
    await state.close();
  }
}
