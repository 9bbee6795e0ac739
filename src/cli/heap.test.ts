import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';

const heap = new URL('./heap.ts', import.meta.url).href;

/** How often the young space of a process was searched while it made 16 MiB and kept them. */
async function scavenges(prepare: string): Promise<number> {
  const program = `${prepare}
    const kept = [];
    for (let made = 0; made < 130_000; made++) kept.push(new Array(13).fill(made));
    console.log(kept.length);`;
  const flags = ['--trace-gc', '--input-type=module', '--eval', program];
  const { stdout } = await promisify(execFile)(process.execPath, flags);
  return stdout.match(/: Scavenge /g)?.length ?? 0;
}

test('the young space grows at once, where V8 lets it grow in steps', async () => {
  const usual = await scavenges('');
  const grown = await scavenges(`(await import(${JSON.stringify(heap)})).keepHeapSmall();`);
  assert.ok(grown > 0, 'the trace works');
  assert.ok(grown * 2 <= usual, `${grown} instead of ${usual}`);
});
