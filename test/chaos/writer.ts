import { createHash } from 'node:crypto';
import { openConfigured, openState } from '../../src/assembly/open.ts';
import { loadConfig } from '../../src/config/index.ts';
import { digestOfLeaves, leavesOf } from '../../src/model/digest.ts';
import { noMetadata } from '../../src/model/metadata.ts';
import { systemWorld } from '../../src/system-world.ts';

// Writes through Isobar as fast as it is acknowledged, and says on stdout what it tries and what was acknowledged:
// `try N KEY DIGEST|-`, then `ack N`. Killed with the daemon; what stands on stdout is the truth about promises.

const [configFile = '', seedText = '0'] = process.argv.slice(2);
const config = loadConfig(configFile, {});
const state = await openState(config);
const { dataset } = await openConfigured(config, 'photos', state, systemWorld);
const signal = new AbortController().signal;
const say = (line: string) => process.stdout.write(`${line}\n`);
const largeBytes = 20 * 1024 * 1024 + 7;

async function write(number: number): Promise<void> {
  const seed = createHash('sha256').update(`${seedText}/${number}`).digest();
  const key = number % 25 === 3 ? `large-${seed[0]! % 3}` : `doc-${seed[0]! % 40}`;
  if (number % 7 === 5) {
    say(`try ${seedText}/${number} ${key} -`);
    await dataset.remove(key, signal);
    return;
  }
  const size = key.startsWith('large') ? largeBytes : seed.readUInt16BE(1) % 20_000;
  const bytes = Buffer.alloc(size, seed);
  say(`try ${seedText}/${number} ${key} ${digestOfLeaves(leavesOf(bytes))}`);
  const read = async ({ from, to }: { from: number; to: number }) => bytes.subarray(from, to);
  await dataset.put(key, { size, read }, noMetadata, signal);
}

async function lane(first: number, step: number): Promise<void> {
  for (let number = first; ; number += step) {
    try {
      await write(number);
      say(`ack ${seedText}/${number}`);
    } catch (error) {
      say(`fail ${seedText}/${number} ${(error as Error).message.split('\n')[0]}`);
    }
  }
}

await Promise.all([lane(0, 3), lane(1, 3), lane(2, 3)]);
