import { randomBytes } from 'node:crypto';
import { openStore } from '../src/assembly/stores.ts';
import type { SiteConfig as DriverConfig } from '../src/config/sites.ts';
import { send, signS3 } from '../test/servers/request.ts';
import type { S3SiteConfig, SiteConfig } from '../test/servers/start.ts';

/** A number of objects of one size. */
export interface Workload {
  readonly name: string;
  readonly objects: number;
  readonly bytes: number;
  /** Overwritten before the last pass: 1%, and at least one object. */
  readonly changed: number;
}

const KiB = 1024;
const MiB = 1024 * KiB;

export const workloads: readonly Workload[] = [
  { name: '4KiB', objects: 2_000, bytes: 4 * KiB, changed: 20 },
  { name: '1MiB', objects: 200, bytes: MiB, changed: 2 },
  { name: '256MiB', objects: 2, bytes: 256 * MiB, changed: 1 },
];

const writersAtOnce = 16;

/** Fills a bucket as somebody's own client would: each object in one plain PUT, so that its ETag is its MD5. */
export function fill(site: S3SiteConfig, workload: Workload): Promise<void> {
  return write(
    site,
    workload,
    Array.from({ length: workload.objects }, (_, index) => index),
  );
}

/** Overwrites some objects, spread over the keys, with other bodies of the same size. */
export function change(site: S3SiteConfig, workload: Workload): Promise<void> {
  const { objects, changed } = workload;
  return write(
    site,
    workload,
    Array.from({ length: changed }, (_, n) => Math.floor((n * objects) / changed)),
  );
}

async function write(site: S3SiteConfig, { bytes }: Workload, indexes: readonly number[]): Promise<void> {
  // Nothing can compress or guess it, and every object differs from every other.
  const common = randomBytes(bytes);
  const isLarge = bytes > MiB;
  let next = 0;
  const writer = async () => {
    for (let at = next++; at < indexes.length; at = next++) {
      const body = isLarge ? common : Buffer.from(common);
      randomBytes(16).copy(body);
      const url = `${site.endpoint}/${site.bucket}/${keyOf(indexes[at]!)}`;
      const answer = await send(signS3({ method: 'PUT', url, body }, site));
      if (answer.status !== 200)
        throw new Error(`cannot fill ${site.bucket}: ${answer.status} ${answer.text}`);
    }
  };
  // Large bodies go one after the other: they share a buffer.
  await Promise.all(Array.from({ length: isLarge ? 1 : writersAtOnce }, writer));
}

function keyOf(index: number): string {
  return `data/${String(Math.floor(index / 100)).padStart(4, '0')}/object-${String(index).padStart(7, '0')}.bin`;
}

/** Objects and bytes that a bucket holds; Isobar's own are not among them. */
export async function contentOf(site: SiteConfig): Promise<{ objects: number; bytes: number }> {
  // Of the configuration's fields a driver needs these alone.
  const config = { ...site, prefix: '', ...(site.kind === 'gcs' ? { anonymous: true } : {}) };
  const store = await openStore(config as unknown as DriverConfig);
  let objects = 0;
  let bytes = 0;
  for await (const page of store.list({}, new AbortController().signal)) {
    objects += page.length;
    for (const entry of page) bytes += entry.size;
  }
  await store.close();
  return { objects, bytes };
}
