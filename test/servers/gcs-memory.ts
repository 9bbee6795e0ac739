import { join } from 'node:path';
import { answersGcs, runningGcs } from './gcs-bucket.ts';
import { startGroup } from './process.ts';
import type { GcsSiteConfig, RunningServer, StartOptions } from './running.ts';

/** Our own server, in `gcs-memory/`: the only one here that keeps all of Google's preconditions. In memory. */
export async function startGcsMemory(options: StartOptions = {}): Promise<RunningServer<GcsSiteConfig>> {
  const limit = String(options.writesPerSecondPerName ?? 0);
  const group = await startGroup({
    name: 'gcs-memory',
    dataDir: options.dataDir,
    port: options.port,
    launch: (port) => ({
      command: process.execPath,
      args: [join(import.meta.dirname, 'gcs-memory', 'main.ts'), String(port), limit],
    }),
    ready: answersGcs,
  });
  return runningGcs('gcs-memory', process.version, group);
}
