import { openConfigured, openState } from '../../src/assembly/open.ts';
import { loadConfig } from '../../src/config/index.ts';
import { type SiteOutcome, WriteFailure } from '../../src/replicate/write.ts';
import { systemWorld } from '../../src/system-world.ts';
import { bodyOf, keyFor } from './bodies.ts';
import { nativeType } from './native-client.ts';

// Users of Isobar, in a process beside the workers: `CONFIG NAME`. Says on stdout what it tries and what came of it:
// `try ID KEY put|remove`, then `ack ID SITES` or `fail ID SITES MESSAGE`. Ends on SIGTERM when every write was answered.

const lanes = 16;
const [configFile = '', name = ''] = process.argv.slice(2);
const config = loadConfig(configFile, {});
const state = await openState(config);
const { dataset, close } = await openConfigured(config, 'photos', state, systemWorld);
const { signal } = new AbortController();
const stop = new AbortController();
process.once('SIGTERM', () => stop.abort(new Error('told to stop')));
const say = (line: string) => process.stdout.write(`${line}\n`);

async function write(id: string, key: string): Promise<string> {
  if (Math.random() < 0.2) {
    say(`try ${id} ${key} remove`);
    const removed = await dataset.remove(key, signal);
    return removed ? textOf(removed.sites) : '-';
  }
  say(`try ${id} ${key} put`);
  const bytes = bodyOf(id, 100 + Math.random() * 4_000);
  const read = async ({ from, to }: { from: number; to: number }) => bytes.subarray(from, to);
  const metadata = { contentType: nativeType, user: { id }, tags: {} };
  const { sites } = await dataset.put(key, { size: bytes.length, read }, metadata, signal);
  return textOf(sites);
}

function textOf(sites: readonly SiteOutcome[]): string {
  return sites.map(({ site, outcome }) => `${site}:${outcome}`).join(',');
}

async function lane(number: number): Promise<void> {
  for (let count = 0; !stop.signal.aborted; count++) {
    await systemWorld.sleep(500 + Math.random() * 3_000, stop.signal).catch(() => {});
    if (stop.signal.aborted) return;
    const id = `${name}-${number}-${count}`;
    try {
      say(`ack ${id} ${await write(id, keyFor())}`);
    } catch (error) {
      const sites = error instanceof WriteFailure ? textOf(error.sites) : '-';
      say(`fail ${id} ${sites} ${(error as Error).message.split('\n')[0]}`);
    }
  }
}

await Promise.all(Array.from({ length: lanes }, (_, number) => lane(number)));
await close();
await state.close();
