import type { S3SiteConfig } from '../test/servers/start.ts';
import { startServer } from '../test/servers/start.ts';
import { s3Product } from './copying.ts';
import { Isobar } from './isobar.ts';
import { type Measured, measureDone } from './measured.ts';
import { fill, type Workload } from './workload.ts';

export interface MemoryResult {
  readonly workload: Workload;
  readonly first: Measured;
}

/** A first copy from S3 to S3 on loopback by Isobar alone, for its memory. */
export async function runMemory(workload: Workload): Promise<MemoryResult> {
  const [source, target] = [await startServer(s3Product), await startServer(s3Product)];
  try {
    const from = source.siteConfig(await source.newBucket()) as S3SiteConfig;
    await fill(from, workload);
    const isobar = new Isobar({ source: from, target: target.siteConfig(await target.newBucket()) });
    const first = await measureDone('isobar', isobar.command());
    isobar.remove();
    return { workload, first };
  } finally {
    await source.stop();
    await target.stop();
  }
}
