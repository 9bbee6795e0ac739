import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { requireProgram } from './cache.ts';
import { startGroup } from './process.ts';
import type { RunningServer, S3SiteConfig, StartOptions } from './running.ts';
import { answersS3, keysFor, runningS3 } from './s3-bucket.ts';
import { goPrograms } from './versions.ts';

/** Versity's gateway over a folder: one process, objects are files. Needs extended attributes on the data folder. */
export async function startVersitygw(options: StartOptions = {}): Promise<RunningServer<S3SiteConfig>> {
  const command = requireProgram('versitygw');
  const keys = keysFor(options.dataDir);
  const group = await startGroup({
    name: 'versitygw',
    dataDir: options.dataDir,
    port: options.port,
    launch: (port, dataDir) => {
      for (const folder of ['buckets', 'versions']) mkdirSync(join(dataDir, folder), { recursive: true });
      const webhook = options.webhookUrl === undefined ? [] : ['--event-webhook-url', options.webhookUrl];
      const general = [
        '--port',
        `127.0.0.1:${port}`,
        '--region',
        keys.region,
        '--keep-alive',
        '--quiet',
        ...webhook,
      ];
      return {
        command,
        args: [...general, 'posix', '--versioning-dir', join(dataDir, 'versions'), join(dataDir, 'buckets')],
        env: { ROOT_ACCESS_KEY: keys.accessKeyId, ROOT_SECRET_KEY: keys.secretAccessKey },
      };
    },
    ready: (port) => answersS3(port, keys),
  });
  return runningS3('versitygw', goPrograms.versitygw.version, group, keys);
}
