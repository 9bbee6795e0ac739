import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { folderOnDisk } from './folders.ts';
import { measureDone } from './measured.ts';

/** A comparing pass over so many keys at two sites, nothing changed. */
export interface PassResult {
  readonly keys: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly rssAnonMiB: number;
  readonly vmHwmMiB: number;
  /** Beside the pages of the listings. */
  readonly requests: number;
}

const program = join(import.meta.dirname, 'pass-process.ts');

export async function runPass(keys: number): Promise<PassResult> {
  const folder = folderOnDisk();
  const command = (what: string) => ({
    program: process.execPath,
    args: [program, what, join(folder, 'state'), String(keys)],
    env: { PATH: process.env.PATH ?? '' },
  });
  try {
    await measureDone('filling the ledger', command('fill'));
    // The first pass over a new ledger finds where to cut it into shards; the second is as all later ones.
    await measureDone('the first pass', command('run'));
    const measured = await measureDone('the pass', command('run'));
    const { seconds, requests } = JSON.parse(measured.stdout) as { seconds: number; requests: number };
    const { cpuSeconds, rssAnonMiB, vmHwmMiB } = measured;
    return { keys, seconds, requests, cpuSeconds, rssAnonMiB, vmHwmMiB };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
