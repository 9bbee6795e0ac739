import type { DamageBudget, DamageRule } from '../model/damage-rule.ts';
import { addressText } from './addresses.ts';
import { conflictsShape } from './conflicts.ts';
import type { Config } from './load.ts';

/**
 * The configuration in the words of the file, with every default, absolute paths and no secret; read back, it
 * means the same (but for the secrets).
 */
export function fileShape(config: Config): object {
  const { file: _, datasets, listen, sources, ...rest } = config;
  const shown = {
    ...rest,
    datasets: mapValues(datasets, ({ write, guards, conflicts, deletions, scan, ...dataset }) => ({
      ...dataset,
      write: write.kind === 'async' ? 'async' : { sync: { acks: write.acks } },
      guards: {
        maxDeletes: { keys: guards.maxDeletes.keys, percent: percentOf(guards.maxDeletes.share) },
        damage: (guards.damage ?? []).map(damageShape),
        keep: guards.keep
          ? { for: durationText(guards.keep.forMs), bytes: `${guards.keep.bytes / 1024 ** 2}MiB` }
          : 'off',
      },
      conflicts: conflictsShape(conflicts, durationText),
      deletions: { retention: durationText(deletions.retentionMs) },
      scan: { every: durationText(scan.everyMs) },
    })),
    listen: addressText(listen),
    sources: mapValues(sources, (source) => ({ ...source, listen: addressText(source.listen) })),
  };
  // Secrets turn themselves into a mark here.
  return JSON.parse(JSON.stringify(shown)) as object;
}

function damageShape({ match, windowMs, deletes, overwrites, entropy, renames }: DamageRule): object {
  const budget = (one: DamageBudget) => ({ keys: one.keys, percent: percentOf(one.share), sigma: one.sigma });
  return {
    match,
    window: durationText(windowMs),
    deletes: deletes ? budget(deletes) : 'off',
    overwrites: overwrites ? budget(overwrites) : 'off',
    entropy: entropy ? { keys: entropy.keys, percent: percentOf(entropy.share) } : 'off',
    renames: renames ?? 'off',
  };
}

function mapValues<T, U>(map: Readonly<Record<string, T>>, change: (value: T) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(map).map(([name, value]) => [name, change(value)]));
}

/** 0.07 * 100 is 7.000000000000001. */
function percentOf(share: number): number {
  return Number((share * 100).toPrecision(12));
}

function durationText(ms: number): string {
  for (const [unit, size] of [
    ['d', 86_400_000],
    ['h', 3_600_000],
    ['m', 60_000],
    ['s', 1000],
  ] as const) {
    if (ms > 0 && ms % size === 0) return `${ms / size}${unit}`;
  }
  return `${ms}ms`;
}
