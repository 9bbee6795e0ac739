import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pythonPathFile, requireProgram } from './cache.ts';
import { startGroup } from './process.ts';
import { type S3Keys, send, signS3 } from './request.ts';
import type { RunningServer, S3SiteConfig, StartOptions } from './running.ts';
import { answersS3, keysFor, runningS3 } from './s3-bucket.ts';
import { pythonPrograms } from './versions.ts';

/**
 * MiniStack: S3 with SQS and SNS behind the same endpoint, in memory, one thread. The most faithful of the S3
 * servers, and the slowest. It takes any key, so `answersS3` proves nothing here; the listening socket does.
 */
export async function startMinistack(options: StartOptions = {}): Promise<RunningServer<S3SiteConfig>> {
  const folder = requireProgram('ministack');
  const keys = keysFor(options.dataDir);
  const group = await startGroup({
    name: 'ministack',
    dataDir: options.dataDir,
    port: options.port,
    launch: (port, dataDir) => ({
      command: readFileSync(join(folder, pythonPathFile), 'utf8'),
      args: [join(import.meta.dirname, 'run-ministack.py')],
      env: {
        PYTHONPATH: folder,
        BIND_HOST: '127.0.0.1',
        MINISTACK_HOST: '127.0.0.1',
        GATEWAY_PORT: String(port),
        SERVICES: 's3,sqs,sns,sts',
        LOG_LEVEL: 'WARNING',
        TMPDIR: dataDir,
        S3_DATA_DIR: join(dataDir, 's3'),
        STATE_DIR: join(dataDir, 'state'),
        ...(options.copyConditions === true ? { ISOBAR_COPY_CONDITIONS: '1' } : {}),
      },
    }),
    ready: (port) => answersS3(port, keys),
  });
  return runningS3('ministack', pythonPrograms.ministack.version, group, keys);
}

/** Makes an SQS queue that gets the bucket's events; its URL. The queue answers at the server's own endpoint. */
export async function subscribeQueue(server: RunningServer<S3SiteConfig>, bucket: string): Promise<string> {
  const keys = server.siteConfig(bucket);
  const made = await callSqs(server.endpoint, keys, { Action: 'CreateQueue', QueueName: bucket });
  const url = /<QueueUrl>([^<]+)</.exec(made)?.[1];
  if (url === undefined) throw new Error(`ministack: cannot make a queue: ${made}`);
  const arn = `arn:aws:sqs:${keys.region}:000000000000:${bucket}`;
  const body =
    `<NotificationConfiguration><QueueConfiguration><Id>isobar</Id><Queue>${arn}</Queue>` +
    '<Event>s3:ObjectCreated:*</Event><Event>s3:ObjectRemoved:*</Event></QueueConfiguration></NotificationConfiguration>';
  const answer = await send(
    signS3({ method: 'PUT', url: `${server.endpoint}/${bucket}?notification`, body }, keys),
  );
  if (answer.status !== 200) throw new Error(`ministack: cannot subscribe: ${answer.status} ${answer.text}`);
  return url;
}

async function callSqs(endpoint: string, keys: S3Keys, parameters: Record<string, string>): Promise<string> {
  const request = {
    method: 'POST',
    url: `${endpoint}/`,
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ Version: '2012-11-05', ...parameters }).toString(),
  };
  return (await send(signS3(request, { ...keys, service: 'sqs' }))).text;
}
