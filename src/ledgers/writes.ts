import type { LedgerWrite } from '../ports/ledger.ts';

/** The port's rule, refused alike by every driver, so that nobody comes to rely on one that could do more. */
export function assertOneExpectation(writes: readonly LedgerWrite[]): void {
  const expecting = writes.filter((write) => write.expect !== undefined).length;
  if (expecting > 1)
    throw new TypeError(`A commit has at most one write with \`expect\`; this one has ${expecting}.`);
}
