import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';

const heap = new URL('./heap.ts', import.meta.url).href;

/** How large the young space of a process became while it made 16 MiB and kept them; bytes. */
async function youngSpace(prepare: string): Promise<number> {
  const program = `${prepare}
    import { getHeapSpaceStatistics } from 'node:v8';
    const size = () => getHeapSpaceStatistics().find((one) => one.space_name === 'new_space').space_size;
    const kept = [];
    let largest = 0;
    for (let made = 0; made < 130_000; made++) {
      kept.push(new Array(13).fill(made));
      if (made % 500 === 0) largest = Math.max(largest, size());
    }
    console.log(largest);`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', program]);
  return Number(stdout);
}

test('the young space grows at once, where V8 lets it grow in steps', async () => {
  const usual = await youngSpace('');
  const grown = await youngSpace(`(await import(${JSON.stringify(heap)})).keepHeapSmall();`);
  assert.ok(usual > 0 && grown > 28 * 1024 * 1024 && grown > usual, `${grown} instead of ${usual}`);
});
