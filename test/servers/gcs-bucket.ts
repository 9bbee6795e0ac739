import type { ProcessGroup } from './process.ts';
import { send } from './request.ts';
import type { GcsSiteConfig, RunningServer } from './running.ts';
import { scratchName } from './s3-bucket.ts';

export async function answersGcs(port: number): Promise<boolean> {
  return (
    (await send({ method: 'GET', url: `http://127.0.0.1:${port}/storage/v1/b?project=test` })).status === 200
  );
}

export function runningGcs(name: string, version: string, group: ProcessGroup): RunningServer<GcsSiteConfig> {
  const endpoint = `http://127.0.0.1:${group.port}`;
  return {
    ...group,
    name,
    kind: 'gcs',
    product: name,
    version,
    endpoint,
    newBucket: async () => {
      const bucket = scratchName();
      const body = JSON.stringify({ name: bucket });
      const headers = { 'content-type': 'application/json', 'content-length': String(body.length) };
      const made = await send({
        method: 'POST',
        url: `${endpoint}/storage/v1/b?project=test`,
        headers,
        body,
      });
      if (made.status !== 200) throw new Error(`${name}: cannot make a bucket: ${made.status} ${made.text}`);
      return bucket;
    },
    siteConfig: (bucket) => ({ kind: 'gcs', bucket, endpoint }),
  };
}
