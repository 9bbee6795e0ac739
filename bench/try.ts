import { runCopyCell } from './copying.ts';
import { settings } from './setting.ts';
import { workloads } from './workload.ts';

const [target = 'versitygw', size = '4KiB', setting = 'latency', rounds = '2'] = process.argv.slice(2);
const result = await runCopyCell(
  {
    target: target as never,
    workload: workloads.find((w) => w.name === size)!,
    setting: settings.find((s) => s.name === setting)!,
  },
  { rounds: Number(rounds), tries: Number(process.env.TRIES ?? 1) },
  (line) => process.stderr.write(`${line}\n`),
);
void result;
