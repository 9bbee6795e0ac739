import { Isobar, passSeconds } from './isobar.ts';
import { measureDone } from './measured.ts';
import { settings, startPlace } from './setting.ts';
import { fill, workloads } from './workload.ts';

const [target = 'versitygw', size = '4KiB', set = 'latency', prof = ''] = process.argv.slice(2);
const setting = settings.find((s) => s.name === set)!;
const a = await startPlace('versitygw', setting),
  b = await startPlace(target as never, setting);
const sa = a.server.siteConfig(await a.server.newBucket()) as never;
const w = workloads.find((x) => x.name === size)!;
await fill(sa, w);
for (let round = 0; round < 2; round++) {
  const sb = b.server.siteConfig(await b.server.newBucket());
  const iso = new Isobar({ source: a.far(sa), target: b.far(sb) });
  const cmd = iso.command();
  await (await import('./isobar.ts')).buildIsobar();
  const run = async (n: string, p: boolean) => {
    const c = p ? { ...cmd, args: ['--cpu-prof', '--cpu-prof-interval', '200', '--cpu-prof-dir=/tmp/prof-' + n, ...cmd.args] } : cmd;
    const m = await measureDone(n, c);
    process.stderr.write(
      `${n}: ${m.seconds.toFixed(2)} pass ${passSeconds(m.stdout).toFixed(2)} cpu ${m.cpuSeconds.toFixed(2)} anon ${m.rssAnonMiB.toFixed(0)} hwm ${m.vmHwmMiB.toFixed(0)}\n`,
    );
  };
  await run('first', prof !== '' && round === 1);
  for (let i = 0; i < 3; i++) await run('same', prof !== '' && round === 1 && i === 2);
  iso.remove();
}
await a.stop();
await b.stop();
