import { rcloneEnvironment, rcloneProgram } from '../test/servers/rclone.ts';
import type { SiteConfig } from '../test/servers/start.ts';
import type { Command } from './measured.ts';
import type { Workload } from './workload.ts';

/** One way to set rclone up. */
export interface RcloneTuning {
  readonly name: string;
  readonly flags: readonly string[];
}

/**
 * What rclone is spared, so that it makes as few requests as Isobar does and checks what Isobar checks: listings
 * tell size and MD5, an upload is checked by the MD5 that goes along with it, and nothing asks for an object's head.
 */
const commonFlags = [
  '--checksum',
  '--use-server-modtime',
  '--s3-no-check-bucket',
  '--gcs-no-check-bucket',
  '--azureblob-no-check-container',
  '--exclude=/.isobar/**',
];

const withoutHeads = ['--s3-no-head', '--s3-no-head-object', '--azureblob-no-head-object'];

const MiB = 1024 * 1024;

/** 4, 16 and 64 transfers; where there are few large objects, what counts is how wide one goes. */
export function tuningsFor({ bytes }: Workload): readonly RcloneTuning[] {
  if (bytes < 64 * MiB) {
    return [4, 16, 64].map((n) => ({
      name: `${n} transfers`,
      flags: [`--transfers=${n}`, `--checkers=${n}`, ...withoutHeads],
    }));
  }
  // Several streams need a head of what they wrote: without it rclone takes its size for 0 and fails.
  const wide = (streams: number, chunk: string) => [
    '--transfers=4',
    '--checkers=4',
    '--multi-thread-cutoff=64Mi',
    `--multi-thread-streams=${streams}`,
    `--multi-thread-chunk-size=${chunk}`,
    `--s3-chunk-size=${chunk}`,
    `--s3-upload-concurrency=${streams}`,
    `--azureblob-chunk-size=${chunk}`,
    `--azureblob-upload-concurrency=${streams}`,
  ];
  return [
    { name: '4 streams of 16 MiB', flags: wide(4, '16Mi') },
    { name: '16 streams of 8 MiB', flags: wide(16, '8Mi') },
    { name: '64 streams of 5 MiB', flags: wide(64, '5Mi') },
    {
      name: 'one stream down, 16 up of 8 MiB',
      flags: [...wide(16, '8Mi'), '--multi-thread-streams=0'],
    },
  ];
}

export function rcloneCommand(source: SiteConfig, target: SiteConfig, tuning: RcloneTuning): Command {
  const args = ['sync', `source:${placeOf(source)}`, `target:${placeOf(target)}`];
  return {
    program: rcloneProgram(),
    args: [...args, ...commonFlags, ...tuning.flags],
    env: rcloneEnvironment({ source, target }),
  };
}

export function flagsOf(tuning: RcloneTuning): string {
  return [...commonFlags, ...tuning.flags].join(' ');
}

function placeOf(site: SiteConfig): string {
  return site.kind === 'azure' ? site.container : site.bucket;
}
