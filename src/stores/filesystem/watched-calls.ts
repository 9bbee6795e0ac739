import { type FileCalls, nodeCalls } from './calls.ts';

/** For tests: one call of the file system, before it is made. */
export interface Call {
  readonly name: keyof FileCalls;
  readonly args: readonly unknown[];
}

/** All calls go through `before`, which may throw instead, and then to `real`; `after` sees the outcome. */
export function watchedCalls(
  before: (call: Call) => void,
  after: (call: Call, outcome: unknown) => void = () => undefined,
  real: FileCalls = nodeCalls,
): FileCalls {
  const watched = Object.entries(real).map(([name, run]: [string, (...args: never[]) => unknown]) => {
    const isSync = name.endsWith('Now');
    const call = (...args: never[]) => {
      const seen: Call = { name: name as keyof FileCalls, args };
      if (isSync) {
        before(seen);
        const outcome = run(...args);
        after(seen, outcome);
        return outcome;
      }
      return (async () => {
        before(seen);
        const outcome = await run(...args);
        after(seen, outcome);
        return outcome;
      })();
    };
    return [name, call];
  });
  return Object.fromEntries(watched) as FileCalls;
}
