import { runDelay } from './delay.ts';
import { runPass } from './passes.ts';
import { countRequests } from './requests.ts';
import { settings } from './setting.ts';
import { median, quantile } from './statistics.ts';
import { workloads } from './workload.ts';

const what = process.argv[2];
if (what === 'pass') console.error(await runPass(Number(process.argv[3])));
if (what === 'req')
  console.error(
    JSON.stringify(await countRequests(process.argv[3] as never, { ...workloads[0]!, objects: 1500 })),
  );
if (what === 'delay') {
  const r = await runDelay(
    (process.argv[4] ?? 'versitygw').split(',') as never,
    settings.find((s) => s.name === process.argv[3])!,
    60,
  );
  for (const k of ['ackMs', 'totalMs', 'putMs', 'copyMs'] as const)
    console.error(
      k,
      median(r.samples.map((s) => s[k])).toFixed(1),
      quantile(
        r.samples.map((s) => s[k]),
        0.99,
      ).toFixed(1),
    );
}
