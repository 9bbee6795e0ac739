import { faultKinds, Tally } from './faults.ts';
import { scheduleOf } from './schedule.ts';
import { simulate } from './simulate.ts';

/** What a campaign must have seen happen: one in which some kind never took effect has shown nothing of it. */
export const decisionKinds = [
  'copied',
  'noted',
  'removed',
  'adopted',
  'adopted-deletion',
  'loser-kept',
  'put-done',
  'put-failed',
  'put-died',
  'rm-done',
  'rm-failed',
  'get-done',
  'native-put',
  'native-rm',
] as const;

export interface Campaign {
  readonly seeds: number;
  readonly virtualMs: number;
  /** By kind: faults, decisions and acts that took effect. */
  readonly tally: Readonly<Record<string, number>>;
  readonly failures: readonly { readonly seed: number; readonly violations: readonly string[] }[];
}

export interface CampaignOptions {
  readonly from: number;
  /** From one seed to the next; several campaigns share the seeds so. Default 1. */
  readonly step?: number;
  /** Asked before each seed. */
  readonly goOn: (soFar: { readonly seeds: number; readonly failures: number }) => boolean;
}

/** Runs seed after seed; stops by itself only when told. */
export async function campaign(options: CampaignOptions): Promise<Campaign> {
  const tally = new Tally();
  const failures: { seed: number; violations: readonly string[] }[] = [];
  let seeds = 0;
  let virtualMs = 0;
  for (
    let seed = options.from;
    options.goOn({ seeds, failures: failures.length });
    seed += options.step ?? 1
  ) {
    const outcome = await simulate(scheduleOf(seed));
    seeds += 1;
    virtualMs += outcome.virtualMs;
    tally.addAll(outcome.tally);
    if (outcome.violations.length > 0) failures.push({ seed, violations: outcome.violations });
  }
  return { seeds, virtualMs, tally: tally.toJSON(), failures };
}

/** Kinds of faults and decisions that never took effect. */
export function unseen({ tally }: Campaign): string[] {
  return [...faultKinds, ...decisionKinds].filter((kind) => !tally[kind]);
}
