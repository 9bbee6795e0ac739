import { requireProgram } from './cache.ts';
import { answersGcs, runningGcs } from './gcs-bucket.ts';
import { startGroup } from './process.ts';
import type { GcsSiteConfig, RunningServer, StartOptions } from './running.ts';
import { goPrograms } from './versions.ts';

/**
 * gcsemulator of fullstorydev, on disk: the one server of others that keeps preconditions on compose and delete.
 * It ignores `Range` and `startOffset` and takes no key with an empty or `.` segment.
 */
export async function startGcsemulator(options: StartOptions = {}): Promise<RunningServer<GcsSiteConfig>> {
  const command = requireProgram('gcsemulator');
  const group = await startGroup({
    name: 'gcsemulator',
    dataDir: options.dataDir,
    port: options.port,
    launch: (port, dataDir) => ({
      command,
      args: ['-host', '127.0.0.1', '-port', String(port), '-dir', dataDir],
    }),
    ready: answersGcs,
  });
  return runningGcs('gcsemulator', goPrograms.gcsemulator.version, group);
}
