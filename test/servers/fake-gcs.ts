import { requireProgram } from './cache.ts';
import { answersGcs, runningGcs } from './gcs-bucket.ts';
import { startGroup } from './process.ts';
import type { GcsSiteConfig, RunningServer, StartOptions } from './running.ts';
import { goPrograms } from './versions.ts';

/** fake-gcs-server in memory: somebody else's reading of Google's API, with preconditions on uploads only. */
export async function startFakeGcs(options: StartOptions = {}): Promise<RunningServer<GcsSiteConfig>> {
  const command = requireProgram('fake-gcs-server');
  const group = await startGroup({
    name: 'fake-gcs-server',
    dataDir: options.dataDir,
    port: options.port,
    launch: (port) => ({
      command,
      args: [
        ...['-backend', 'memory', '-scheme', 'http', '-host', '127.0.0.1', '-port', String(port)],
        ...[
          '-external-url',
          `http://127.0.0.1:${port}`,
          '-public-host',
          `127.0.0.1:${port}`,
          '-log-level',
          'warn',
        ],
      ],
    }),
    ready: answersGcs,
  });
  return runningGcs('fake-gcs-server', goPrograms['fake-gcs-server'].version, group);
}
