import type { S3SiteConfig, ServerName, SiteConfig } from '../test/servers/start.ts';
import { Isobar, passSeconds } from './isobar.ts';
import { type Measured, measureDone } from './measured.ts';
import { type RcloneTuning, rcloneCommand, tuningsFor } from './rclone.ts';
import { type Place, type Setting, startPlace } from './setting.ts';
import { change, contentOf, fill, type Workload } from './workload.ts';

export type Phase = 'first' | 'same' | 'changed';
export type Tool = 'isobar' | 'rclone';
export const phases: readonly Phase[] = ['first', 'same', 'changed'];

export interface CopyCell {
  readonly target: ServerName;
  readonly workload: Workload;
  readonly setting: Setting;
}

/** One client process, and what the servers did meanwhile. */
export interface Run extends Measured {
  /** The pass by the tool's own clock, without the start of its process; rclone does not tell. */
  readonly passSeconds: number;
  /** Processor time of source and target server. */
  readonly serverCpuSeconds: number;
  readonly busiestServerCpuSeconds: number;
  readonly proxyCpuSeconds: number;
}

export interface CopyResult {
  readonly cell: CopyCell;
  readonly tuning: RcloneTuning;
  /** Seconds of first copies with each tuning, the fastest of the tries. */
  readonly tried: readonly { readonly tuning: RcloneTuning; readonly seconds: number }[];
  readonly runs: Readonly<Record<Tool, Readonly<Record<Phase, readonly Run[]>>>>;
}

export interface Effort {
  readonly rounds: number;
  /** First copies with each of rclone's tunings, before the rounds. */
  readonly tries: number;
}

/** The product that serves the source, and the target of S3 to S3. */
export const s3Product: ServerName = 'versitygw';

/** Alternates both tools over the same servers: each copies from a source bucket of its own, filled alike. */
export async function runCopyCell(
  cell: CopyCell,
  effort: Effort,
  tell: (line: string) => void,
): Promise<CopyResult> {
  const { setting, workload } = cell;
  const source = await startPlace(s3Product, setting);
  try {
    const sources: Record<Tool, S3SiteConfig> = {
      isobar: source.server.siteConfig(await source.server.newBucket()) as S3SiteConfig,
      rclone: source.server.siteConfig(await source.server.newBucket()) as S3SiteConfig,
    };
    await fill(sources.isobar, workload);
    await fill(sources.rclone, workload);
    const tried = await tryTunings(cell, source, sources.rclone, effort.tries);
    const { tuning } = tried.reduce((best, one) => (one.seconds < best.seconds ? one : best));
    tell(
      `  rclone ${tuning.name}: ${tried.map((one) => `${one.seconds.toFixed(2)} s ${one.tuning.name}`).join(', ')}`,
    );
    const runs = emptyRuns();
    for (let round = 0; round < effort.rounds; round++) {
      await runRound(cell, source, sources, tuning, round, runs);
      tell(`  ${lastOf(runs)}`);
    }
    return { cell, tuning, tried, runs };
  } finally {
    await source.stop();
  }
}

/** A tuning that was so many times slower than the best is not tried again. */
const hopeless = 1.5;

async function tryTunings(
  cell: CopyCell,
  source: Place,
  from: S3SiteConfig,
  tries: number,
): Promise<{ tuning: RcloneTuning; seconds: number }[]> {
  const tried = tuningsFor(cell.workload).map((tuning) => ({ tuning, seconds: Number.POSITIVE_INFINITY }));
  for (let round = 0; round < tries; round++) {
    const target = await startPlace(cell.target, cell.setting);
    try {
      const best = Math.min(...tried.map((one) => one.seconds));
      for (const one of tried) {
        if (round > 0 && one.seconds > hopeless * best) continue;
        const to = target.server.siteConfig(await target.server.newBucket());
        const command = rcloneCommand(source.far(from), target.far(to), one.tuning);
        const { seconds } = await measureDone('rclone', command);
        one.seconds = Math.min(one.seconds, seconds);
      }
    } finally {
      await target.stop();
    }
  }
  return tried;
}

type Runs = Record<Tool, Record<Phase, Run[]>>;

function emptyRuns(): Runs {
  const none = () => ({ first: [], same: [], changed: [] });
  return { isobar: none(), rclone: none() };
}

/** A fresh target server, on which both tools copy, pass without change, and pass with 1% changed, by turns. */
async function runRound(
  cell: CopyCell,
  source: Place,
  sources: Record<Tool, S3SiteConfig>,
  tuning: RcloneTuning,
  round: number,
  runs: Runs,
): Promise<void> {
  const { workload } = cell;
  const order: Tool[] = round % 2 === 0 ? ['isobar', 'rclone'] : ['rclone', 'isobar'];
  const target = await startPlace(cell.target, cell.setting);
  const targets: Record<Tool, SiteConfig> = {
    isobar: target.server.siteConfig(await target.server.newBucket()),
    rclone: target.server.siteConfig(await target.server.newBucket()),
  };
  const isobar = new Isobar({ source: source.far(sources.isobar), target: target.far(targets.isobar) });
  const commands = {
    isobar: isobar.command(),
    rclone: rcloneCommand(source.far(sources.rclone), target.far(targets.rclone), tuning),
  };
  try {
    for (const phase of phases) {
      for (const tool of order) {
        if (phase === 'changed') await change(sources[tool], workload);
        runs[tool][phase].push(await runOnce(tool, commands[tool], source, target));
        await demandAll(tool, targets[tool], workload);
      }
    }
  } finally {
    isobar.remove();
    await target.stop();
  }
}

async function runOnce(
  tool: Tool,
  command: Parameters<typeof measureDone>[1],
  source: Place,
  target: Place,
): Promise<Run> {
  const places = [source, target];
  const before = places.map((place) => [place.cpuSeconds(), place.proxyCpuSeconds()] as const);
  const measured = await measureDone(tool, command);
  const server = places.map((place, at) => place.cpuSeconds() - before[at]![0]);
  const proxy = places.map((place, at) => place.proxyCpuSeconds() - before[at]![1]);
  return {
    ...measured,
    passSeconds: tool === 'isobar' ? passSeconds(measured.stdout) : Number.NaN,
    serverCpuSeconds: server[0]! + server[1]!,
    busiestServerCpuSeconds: Math.max(...server),
    proxyCpuSeconds: proxy[0]! + proxy[1]!,
  };
}

/** A tool that is fast because it leaves something out has no figure. */
async function demandAll(tool: Tool, site: SiteConfig, workload: Workload): Promise<void> {
  const found = await contentOf(site);
  if (found.objects !== workload.objects || found.bytes !== workload.objects * workload.bytes) {
    throw new Error(`${tool} left ${found.objects} objects of ${found.bytes} bytes at the target`);
  }
}

function lastOf(runs: Runs): string {
  return phases
    .map((phase) => {
      const [ours, theirs] = [runs.isobar[phase].at(-1)!, runs.rclone[phase].at(-1)!];
      const inside = Number.isNaN(ours.passSeconds) ? '' : ` (pass ${ours.passSeconds.toFixed(2)})`;
      return `${phase}: isobar ${ours.seconds.toFixed(2)} s${inside} cpu ${ours.cpuSeconds.toFixed(2)} anon ${ours.rssAnonMiB.toFixed(0)}, rclone ${theirs.seconds.toFixed(2)} s cpu ${theirs.cpuSeconds.toFixed(2)} anon ${theirs.rssAnonMiB.toFixed(0)}`;
    })
    .join('\n    ');
}
