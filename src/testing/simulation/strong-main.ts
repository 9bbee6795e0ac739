import { parseArgs } from 'node:util';
import { type StrongTotals, strongTotals } from './strong-totals.ts';

// `node src/testing/simulation/strong-main.ts --histories 20000 [--seed N]`: exit code 1 and the seeds, when one fails.

const { values } = parseArgs({
  options: {
    histories: { type: 'string', default: '20000' },
    seed: { type: 'string', default: '0' },
  },
});

const totals = await strongTotals(Number(values.seed), Number(values.histories));
process.stdout.write(report(totals));
if (totals.failed.length > 0 || totals.idle.length > 0) process.exitCode = 1;

function report({
  histories,
  calls,
  unknown,
  collected,
  faults,
  seconds,
  failed,
  idle,
}: StrongTotals): string {
  const counts = Object.entries(faults).map(([kind, count]) => `${kind} ${count}`);
  const lines = [
    `${histories} histories with ${calls} calls in ${seconds.toFixed(1)} s, ${Math.round(histories / seconds)} per second`,
    `outcome unknown ${unknown}, removals collected ${collected}`,
    counts.join(', '),
    idle.length > 0 ? `never took effect: ${idle.join(', ')}` : 'every kind of fault took effect',
    failed.length > 0 ? `${failed.length} violations:` : 'no violation',
    ...failed.map(
      ({ seed, why }) => `${why}\n  node src/testing/simulation/strong-main.ts --histories 1 --seed ${seed}`,
    ),
  ];
  return `${lines.join('\n')}\n`;
}
