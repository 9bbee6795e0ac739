import type { Schedule } from './schedule.ts';

/**
 * The smallest schedule that is found to fail still: happenings are left out (Zeller's ddmin), then kinds of faults.
 * `fails` runs one.
 */
export async function shrink(
  schedule: Schedule,
  fails: (schedule: Schedule) => Promise<boolean>,
): Promise<Schedule> {
  let smallest = await withFewerHappenings(schedule, fails);
  for (const kind of Object.keys(smallest.rates)) {
    const calmer = { ...smallest, rates: { ...smallest.rates, [kind]: 0 } };
    if (await fails(calmer)) smallest = calmer;
  }
  return withFewerHappenings(smallest, fails);
}

async function withFewerHappenings(
  schedule: Schedule,
  fails: (schedule: Schedule) => Promise<boolean>,
): Promise<Schedule> {
  let { happenings } = schedule;
  for (let chunk = Math.ceil(happenings.length / 2); chunk >= 1; chunk = Math.floor(chunk / 2)) {
    for (let from = 0; from < happenings.length; ) {
      const fewer = happenings.toSpliced(from, chunk);
      if (await fails({ ...schedule, happenings: fewer })) happenings = fewer;
      else from += chunk;
    }
  }
  return { ...schedule, happenings };
}
