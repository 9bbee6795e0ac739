import { join } from 'node:path';
import { requireProgram } from './cache.ts';
import { startGroup } from './process.ts';
import { type S3Keys, send, signS3 } from './request.ts';
import type { RunningServer, S3SiteConfig, StartOptions } from './running.ts';
import { answersS3, keysFor, runningS3 } from './s3-bucket.ts';
import { goPrograms } from './versions.ts';

/** MinIO on one folder. With `webhookUrl` every new bucket posts its events there. */
export async function startMinio(options: StartOptions = {}): Promise<RunningServer<S3SiteConfig>> {
  const command = requireProgram('minio');
  const keys = keysFor(options.dataDir);
  const group = await startGroup({
    name: 'minio',
    dataDir: options.dataDir,
    port: options.port,
    launch: (port, dataDir) => ({
      command,
      args: ['server', join(dataDir, 'drive'), '--address', `127.0.0.1:${port}`, '--quiet'],
      env: {
        MINIO_ROOT_USER: keys.accessKeyId,
        MINIO_ROOT_PASSWORD: keys.secretAccessKey,
        MINIO_BROWSER: 'off',
        MINIO_UPDATE: 'off',
        MINIO_CALLHOME_ENABLE: 'off',
        ...webhookSettings(options, dataDir),
      },
    }),
    ready: (port) => answersS3(port, keys),
  });
  const notify = options.webhookUrl !== undefined;
  return runningS3('minio', goPrograms.minio.version, group, keys, async (endpoint, bucket) => {
    if (notify) await subscribe(endpoint, bucket, keys);
  });
}

function webhookSettings(options: StartOptions, dataDir: string): Record<string, string> {
  if (options.webhookUrl === undefined) return {};
  const queue = { MINIO_NOTIFY_WEBHOOK_QUEUE_DIR_ISOBAR: join(dataDir, 'events') };
  return {
    MINIO_NOTIFY_WEBHOOK_ENABLE_ISOBAR: 'on',
    MINIO_NOTIFY_WEBHOOK_ENDPOINT_ISOBAR: options.webhookUrl,
    ...(options.webhookQueue === true ? queue : {}),
  };
}

async function subscribe(endpoint: string, bucket: string, keys: S3Keys): Promise<void> {
  const body =
    '<NotificationConfiguration><QueueConfiguration><Id>isobar</Id><Queue>arn:minio:sqs::ISOBAR:webhook</Queue>' +
    '<Event>s3:ObjectCreated:*</Event><Event>s3:ObjectRemoved:*</Event></QueueConfiguration></NotificationConfiguration>';
  const answer = await send(signS3({ method: 'PUT', url: `${endpoint}/${bucket}?notification`, body }, keys));
  if (answer.status !== 200) throw new Error(`minio: cannot subscribe: ${answer.status} ${answer.text}`);
}
