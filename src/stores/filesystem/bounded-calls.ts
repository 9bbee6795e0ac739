import type { FileCalls } from './calls.ts';

/**
 * At most `most` calls at a time; the others wait their turn. Each holds one of the process's few I/O threads, which
 * the ledger and every other folder need as well: a disk that does not answer must not have them all.
 */
export function boundedCalls(calls: FileCalls, most: number): FileCalls {
  const turns = new Turns(most);
  const bounded = Object.entries(calls).map(([name, run]: [string, (...args: never[]) => unknown]) => {
    // These block the only thread there is; nobody could wait for a turn.
    if (name.endsWith('Now')) return [name, run];
    return [name, (...args: never[]) => turns.take(() => run(...args) as Promise<unknown>)];
  });
  return Object.fromEntries(bounded) as FileCalls;
}

class Turns {
  readonly #waiting: (() => void)[] = [];
  #free: number;

  constructor(most: number) {
    this.#free = most;
  }

  async take<T>(run: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await run();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free += 1;
    }
  }
}
