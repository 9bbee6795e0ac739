import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { ServerName, SiteConfig } from '../test/servers/start.ts';
import { s3Product } from './copying.ts';
import { folderOnDisk } from './folders.ts';
import { type Setting, startPlace } from './setting.ts';

/** One write of 4 KiB; milliseconds. */
export interface DelaySample {
  /** Until `put` was acknowledged: durable at the first site. */
  readonly ackMs: number;
  /** Until the last target had answered that it has it. */
  readonly totalMs: number;
  /** The bare PUT at the first site. */
  readonly putMs: number;
  /** The bare GET there and PUTs at the targets. */
  readonly copyMs: number;
}

export interface DelayResult {
  readonly targets: readonly ServerName[];
  readonly setting: Setting;
  readonly samples: readonly DelaySample[];
}

export async function runDelay(
  targets: readonly ServerName[],
  setting: Setting,
  writes: number,
): Promise<DelayResult> {
  const places = await Promise.all([s3Product, ...targets].map((product) => startPlace(product, setting)));
  const folder = folderOnDisk();
  try {
    const sites: Record<string, SiteConfig> = {};
    for (const [at, place] of places.entries()) {
      const site: SiteConfig = place.server.siteConfig(await place.server.newBucket());
      sites[at === 0 ? 'source' : `target-${at}`] = place.far(site);
    }
    const samples = await inProcess({ sites, state: join(folder, 'state'), writes });
    return { targets, setting, samples };
  } finally {
    rmSync(folder, { recursive: true, force: true });
    await Promise.all(places.map((place) => place.stop()));
  }
}

async function inProcess(input: object): Promise<DelaySample[]> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'delay-process.ts')], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { PATH: process.env.PATH ?? '' },
  });
  child.stdin.end(JSON.stringify(input));
  const [out, code] = await Promise.all([
    text(child.stdout),
    new Promise<number | null>((resolve) => child.once('exit', resolve)),
  ]);
  if (code !== 0) throw new Error(`measuring the delay ended with exit code ${code}`);
  return JSON.parse(out) as DelaySample[];
}
