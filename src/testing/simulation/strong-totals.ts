import { type StrongPlan, type StrongRun, simulateStrong } from './strong.ts';

export interface StrongTotals {
  readonly histories: number;
  readonly calls: number;
  readonly unknown: number;
  readonly collected: number;
  readonly faults: Readonly<Record<string, number>>;
  /** Kinds of fault or of outcome that never came about: then the run shows nothing. */
  readonly idle: readonly string[];
  readonly failed: readonly { readonly seed: number; readonly why: string }[];
  readonly seconds: number;
}

/** Histories of the seeds from `seed` on. */
export async function strongTotals(
  seed: number,
  histories: number,
  plan: StrongPlan = {},
): Promise<StrongTotals> {
  const begun = performance.now();
  const faults: Record<string, number> = {};
  const failed: { seed: number; why: string }[] = [];
  const outcomes = { get: 0, ok: 0, conflict: 0, unknown: 0, failed: 0 };
  let collected = 0;
  for (let i = seed; i < seed + histories; i++) {
    const run = await simulateStrong(i, plan).catch((error: unknown) => String(error));
    if (typeof run === 'string') {
      failed.push({ seed: i, why: `seed ${i}: ${run}` });
      continue;
    }
    const why = problemOf(run);
    if (why) failed.push({ seed: i, why });
    for (const [kind, count] of Object.entries(run.faults)) faults[kind] = (faults[kind] ?? 0) + count;
    for (const call of run.history) outcomes[call.kind === 'get' ? 'get' : call.outcome] += 1;
    collected += run.collected;
  }
  const counts = { ...faults, ...outcomes, collected };
  return {
    histories,
    calls: Object.values(outcomes).reduce((sum, count) => sum + count, 0),
    unknown: outcomes.unknown,
    collected,
    faults,
    idle: Object.entries(counts).flatMap(([kind, count]) => (count > 0 ? [] : [kind])),
    failed,
    seconds: (performance.now() - begun) / 1_000,
  };
}

function problemOf({ seed, verdict, problems }: StrongRun): string | undefined {
  if (verdict.kind === 'violation') {
    return [
      `seed ${seed}: not linearizable`,
      ...verdict.calls.map((call) => `  ${JSON.stringify(call)}`),
    ].join('\n');
  }
  return problems.length > 0 ? `seed ${seed}: ${problems.join('; ')}` : undefined;
}
