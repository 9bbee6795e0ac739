const dayMs = 86_400_000;
const hourMs = 3_600_000;

/**
 * Days before three sigma has a say: a job of every week has been seen three times by then, as often as it takes to
 * lie within three sigma, and a user's first weeks are spoiled by no verdict on what nobody knows yet.
 */
export const daysToLearn = 21;

/** A month back, at most: with this weight a job of every week stays within three sigma. */
const newestWeight = 1 / 28;

/** Never too many, however quiet it was before: an ordinary morning after nights of nothing. */
export const alwaysUsual = 100;

/** `[days, mean, variance]` of the busiest window of one hour of the day. */
type Hour = readonly [days: number, mean: number, variance: number];

/**
 * What is usual, by the hour of the day in UTC: a nightly job would drown in a mean over all windows. Of each day
 * and hour the busiest window counts, so that what comes once an hour, or once a night, is learned at its height.
 */
export interface Habit {
  /** Days since 1970. */
  readonly day: number;
  /** The busiest window of each hour of that day. */
  readonly busiest: readonly number[];
  readonly hours: readonly Hour[];
}

export function newHabit(nowMs: number): Habit {
  return {
    day: Math.floor(nowMs / dayMs),
    busiest: new Array<number>(24).fill(0),
    hours: new Array<Hour>(24).fill([0, 0, 0]),
  };
}

/** Takes a window that has ended. Days on which nobody watched teach nothing. */
export function learnWindow(habit: Habit, startMs: number, count: number): Habit {
  const day = Math.floor(startMs / dayMs);
  const today = day > habit.day ? { ...endDay(habit), day } : habit;
  const hour = hourOf(startMs);
  return { ...today, busiest: today.busiest.map((most, i) => (i === hour ? Math.max(most, count) : most)) };
}

/** The most that is usual at this time, an hour early or late included; undefined until it is learned. */
export function usual(habit: Habit, atMs: number, sigma: number): number | undefined {
  const hour = hourOf(atMs);
  const around = [hour + 23, hour, hour + 1].map((one) => habit.hours[one % 24]!);
  if (around[1]![0] < daysToLearn) return undefined;
  // Events that know nothing of each other vary by the root of their number (Poisson), however even the past was.
  const high = ([, mean, variance]: Hour) => mean + sigma * Math.sqrt(Math.max(variance, mean));
  const most = Math.max(...around.map(high));
  return Math.max(alwaysUsual, Math.floor(most));
}

function endDay(habit: Habit): Habit {
  const hours = habit.hours.map((hour, i) => withDay(hour, habit.busiest[i]!));
  return { ...habit, hours, busiest: habit.busiest.map(() => 0) };
}

/** Exponentially weighted mean and variance, as Welford's until the weight is reached (Finch, 2009). */
function withDay([days, mean, variance]: Hour, count: number): Hour {
  const weight = Math.max(1 / (days + 1), newestWeight);
  const delta = count - mean;
  return [days + 1, rounded(mean + weight * delta), rounded((1 - weight) * (variance + weight * delta ** 2))];
}

function hourOf(ms: number): number {
  return Math.floor((ms % dayMs) / hourMs);
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}
