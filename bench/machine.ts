import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { findAzurite } from '../test/servers/azurite.ts';
import { rcloneProgram } from '../test/servers/rclone.ts';
import { goPrograms } from '../test/servers/versions.ts';

export interface Machine {
  readonly processors: string;
  readonly memoryGiB: number;
  readonly system: string;
  readonly node: string;
  readonly isobar: string;
  readonly rclone: string;
  readonly versitygw: string;
  readonly azurite: string;
  /** Where the servers keep their data. */
  readonly serverData: string;
}

export function describeMachine(serverData: string): Machine {
  const all = cpus();
  return {
    processors: `${all.length} × ${all[0]?.model.trim() ?? 'unknown'}`,
    memoryGiB: totalmem() / 2 ** 30,
    system: `Linux ${release()}`,
    node: process.version,
    isobar: commitOf(),
    rclone: execFileSync(rcloneProgram(), ['version'], { env: { RCLONE_CONFIG: '' }, encoding: 'utf8' })
      .split('\n')[0]!
      .replace('rclone ', ''),
    versitygw: goPrograms.versitygw.version,
    azurite: findAzurite()?.version ?? 'absent',
    serverData,
  };
}

function commitOf(): string {
  const manifest = new URL('../package.json', import.meta.url);
  const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string };
  try {
    const run = (args: string[]) =>
      execFileSync('git', args, {
        cwd: import.meta.dirname,
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      });
    const changed =
      run(['status', '--porcelain', '--', '../src']).trim() === '' ? '' : ' and uncommitted changes';
    return `${version}, commit ${run(['rev-parse', '--short', 'HEAD']).trim()}${changed}`;
  } catch {
    return version;
  }
}
