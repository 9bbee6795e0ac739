import { pathToFileURL } from 'node:url';
import { askHook, type HookRequest, type HookTransport, mergedBy, moduleTransport } from '../merging/hook.ts';
import { httpTransport } from '../merging/http-hook.ts';
import { mergeCrdt, mergeJson } from '../merging/merge-json.ts';
import { loadYjsMerge } from '../merging/merge-yjs.ts';
import { StoreFailure } from '../model/failure.ts';
import type { Hook, MergingRule } from '../model/policy.ts';
import type { World } from '../ports/world.ts';
import type { MergeFor, MergeSide } from '../replicate/merge.ts';

type Merger = ReturnType<MergeFor>;

/** Our own merges, and programs of the user's. Each rule is made ready once, when it is first needed. */
export function mergesFor(dataset: string, world: World): MergeFor {
  const ready = new Map<MergingRule, Promise<(key: string) => Merger>>();
  const readied = (rule: MergingRule) => {
    const known = ready.get(rule) ?? mergerOf(rule, dataset, world);
    ready.set(rule, known);
    known.catch(() => ready.delete(rule));
    return known;
  };
  return (rule, key) =>
    async (...sides) =>
      (await readied(rule))(key)(...sides);
}

async function mergerOf(rule: MergingRule, dataset: string, world: World): Promise<(key: string) => Merger> {
  if (rule === 'merge-json') return () => mergeJson;
  if ('hook' in rule) return hookMerger(rule.hook, await transportOf(rule.hook), dataset, world);
  const merge = rule.crdt === 'yjs' ? await loadYjsMerge() : mergeCrdt(rule.crdt);
  return () => merge;
}

function hookMerger(
  { timeoutMs }: Hook,
  transport: HookTransport,
  dataset: string,
  world: World,
): (key: string) => Merger {
  return (key) => async (winner, loser, base, signal) => {
    const shown = (side: MergeSide) => {
      const { version, metadata, body } = side;
      return { version, metadata, body, size: body.length, at: { site: side.at, key } };
    };
    const sides = [shown(winner), shown(loser)] as const;
    const request: HookRequest = { dataset, key, sides, ...(base ? { base: shown(base) } : {}) };
    const outcome = await askHook(request, transport, { world, timeoutMs, signal });
    return mergedBy(outcome, winner, loser) ?? { kind: 'keep-both' };
  };
}

async function transportOf({ url, module }: Hook): Promise<HookTransport> {
  if (url !== undefined) return httpTransport(url);
  try {
    const { default: decide } = (await import(pathToFileURL(module!).href)) as { readonly default?: unknown };
    if (typeof decide === 'function') return moduleTransport(decide as Parameters<typeof moduleTransport>[0]);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new StoreFailure('unmerged', `the hook ${module} cannot be loaded: ${why}`, { cause });
  }
  throw new StoreFailure('unmerged', `the hook ${module} has no default export that is a function`);
}
