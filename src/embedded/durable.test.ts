import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openEmbedded } from './open.ts';

const steps = ['commit', 'conditional commit', 'publish', 'acknowledge'] as const;
const mark = (what: string) => writeSync(2, `MARK ${what}\n`);

const [, , childFolder] = process.argv;
if (childFolder !== undefined) await work(childFolder);
else tests();

async function work(folder: string): Promise<void> {
  const { ledger, bus, close } = await openEmbedded({ folder });
  const step = async (what: (typeof steps)[number], work: () => Promise<unknown>) => {
    mark(`${what} asked`);
    await work();
    mark(`${what} done`);
  };
  await step('commit', () => ledger.commit([{ table: 'keys', id: 'a', value: 1 }]));
  await step('conditional commit', () =>
    ledger.commit([{ table: 'keys', id: 'b', value: 1, expect: 'absent' }]),
  );
  await step('publish', () => bus.publish([{ id: '1', dataset: 'd', key: 'k', site: 'aws', atMs: 1 }]));
  for await (const { ack } of bus.subscribe({ dataset: 'd', maxInFlight: 1 }, new AbortController().signal)) {
    await step('acknowledge', ack);
    break;
  }
  await close();
}

function tests(): void {
  const canTrace = spawnSync('strace', ['-V']).status === 0 && traces('true', []) !== undefined;
  describe('embedded state, traced', {
    skip: canTrace ? false : 'strace is not there, or may not trace',
  }, () => {
    it('acknowledges after the pages are synced and the meta page is written through', () => {
      const folder = mkdtempSync(join(tmpdir(), 'isobar-durable-test-'));
      try {
        const script = fileURLToPath(import.meta.url);
        const trace = traces(process.execPath, [script, folder]);
        assert.ok(trace !== undefined, 'the traced program failed');
        checkTrace(trace);
      } finally {
        rmSync(folder, { recursive: true });
      }
    });
  });
}

/** One line per system call that has returned, in the order in which they returned. */
function traces(program: string, args: readonly string[]): readonly string[] | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'isobar-trace-'));
  try {
    const output = join(folder, 'trace');
    const calls = 'openat,write,pwrite64,pwritev,fdatasync,fsync,msync';
    // A slow disk: what is acknowledged too early is acknowledged well before, not by luck after.
    const slow = ['-e', 'inject=fdatasync:delay_enter=50000'];
    const { status } = spawnSync('strace', [
      '-f',
      '-e',
      `trace=${calls}`,
      ...slow,
      '-o',
      output,
      program,
      ...args,
    ]);
    return status === 0 ? returned(readFileSync(output, 'utf8').split('\n')) : undefined;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Threads interrupt one another: a call's line is cut in two, and counts where its second half stands. */
function returned(lines: readonly string[]): string[] {
  const begun = new Map<string, string>();
  return lines.flatMap((line) => {
    const [, thread = '', rest = ''] = /^(\d+) +(.*)$/.exec(line) ?? [];
    if (rest.endsWith('<unfinished ...>')) {
      begun.set(thread, rest.slice(0, -'<unfinished ...>'.length));
      return [];
    }
    return [rest.replace(/^<\.\.\. \w+ resumed>/, () => begun.get(thread) ?? '')];
  });
}

function checkTrace(lines: readonly string[]): void {
  const descriptor = (flags: RegExp): string => {
    const opened = lines.findLast((line) => line.includes('/data.mdb"') && flags.test(line));
    assert.ok(opened !== undefined, 'the data file was not opened so');
    return /= (\d+)$/.exec(opened)![1]!;
  };
  const writeThrough = descriptor(/O_WRONLY\|O_DSYNC/);
  for (const step of steps) {
    const from = lines.findIndex((line) => line.includes(`MARK ${step} asked`));
    const to = lines.findIndex((line) => line.includes(`MARK ${step} done`));
    assert.ok(from >= 0 && to > from, `${step} was not traced`);
    const between = lines.slice(from, to);
    const synced = between.findIndex((line) => /^fdatasync\(\d+\s*\) += 0\b/.test(line));
    const meta = between.findIndex((line) => new RegExp(`^pwrite64\\(${writeThrough}, .*= 128$`).test(line));
    assert.ok(synced >= 0, `${step}: acknowledged without fdatasync`);
    assert.ok(meta > synced, `${step}: acknowledged before the meta page was written, or in the wrong order`);
  }
}
