import { randomBytes } from 'node:crypto';
import type { ProcessGroup } from './process.ts';
import { type S3Keys, send, sha256, signS3 } from './request.ts';
import type { RunningServer, S3SiteConfig } from './running.ts';

/** Random, so that only our server answers to them; the same again for the same folder, so that it can restart. */
export function keysFor(dataDir: string | undefined): S3Keys {
  const seed = sha256(dataDir ?? randomBytes(16).toString('hex'));
  return {
    accessKeyId: `test-${seed.slice(0, 12)}`,
    secretAccessKey: seed.slice(12, 52),
    region: 'us-east-1',
  };
}

export function scratchName(): string {
  return `scratch-${randomBytes(6).toString('hex')}`;
}

/** True when the server knows our keys: they are random, so it is ours. */
export async function answersS3(port: number, keys: S3Keys): Promise<boolean> {
  const answer = await send(signS3({ method: 'GET', url: `http://127.0.0.1:${port}/` }, keys));
  return answer.status === 200;
}

export function runningS3(
  name: string,
  version: string,
  group: ProcessGroup,
  keys: S3Keys,
  prepareBucket: (endpoint: string, bucket: string) => Promise<void> = async () => {},
): RunningServer<S3SiteConfig> {
  const endpoint = `http://127.0.0.1:${group.port}`;
  return {
    ...group,
    name,
    kind: 's3',
    product: name,
    version,
    endpoint,
    newBucket: async () => {
      const bucket = scratchName();
      const made = await send(signS3({ method: 'PUT', url: `${endpoint}/${bucket}` }, keys));
      if (made.status !== 200) throw new Error(`${name}: cannot make a bucket: ${made.status} ${made.text}`);
      await prepareBucket(endpoint, bucket);
      return bucket;
    },
    siteConfig: (bucket) => ({ kind: 's3', bucket, endpoint, pathStyle: true, ...keys }),
  };
}
