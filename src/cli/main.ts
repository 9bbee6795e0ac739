#!/usr/bin/env node
import { enableCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { OpenIsobar } from './api.ts';

/** The only place that reads the environment and ends the process. */

// The ledger, host names and every folder share these threads; a folder that hangs keeps up to three of them.
process.env.UV_THREADPOOL_SIZE ??= '16';

// Loading is most of what a short command does: 0.2 s from source without this, 0.1 s with it. Where the folder
// cannot be written there is no cache, and no harm.
enableCompileCache(fileURLToPath(new URL('../../node_modules/.cache/isobar', import.meta.url)));
void main();

async function main(): Promise<void> {
  // What was loaded before the cache was enabled would not be in it.
  const { execute, Interrupted } = await import('./program.ts');

  const verbose = process.argv.some((argument) => argument === '-v' || argument === '--verbose');
  // Warnings of Node and of SDKs are for developers.
  process.removeAllListeners('warning');
  process.on(
    'warning',
    (warning) => verbose && process.stderr.write(`${warning.name}: ${warning.message}\n`),
  );
  // So is what libraries print beside throwing it: LMDB does, on a full disk.
  if (!verbose) Object.assign(console, { error() {}, warn() {} });

  // Whoever closes the pipe has seen enough, of a help text too; commands that stream data stop at it by themselves.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});

  const stop = new AbortController();
  process.on('SIGINT', () => {
    if (stop.signal.aborted) endAtOnce();
    process.stderr.write('\nstopping; Ctrl-C again stops at once\n');
    stop.abort(new Interrupted('SIGINT'));
  });
  process.on('SIGTERM', () => stop.abort(new Interrupted('SIGTERM')));

  const exitCode = await execute(process.argv.slice(2), {
    env: process.env,
    // Opened for the commands that read it.
    get stdin() {
      return process.stdin;
    },
    stdout: process.stdout,
    stderr: process.stderr,
    signal: stop.signal,
    nowMs: () => performance.now(),
    open,
  });

  // A pipe takes what is written when its reader reads: only then may the process end.
  await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
  // From here on Ctrl-C is the system's own, should a thread keep the process from ending.
  process.removeAllListeners('SIGINT');
  process.exit(exitCode);
}

/** By the signal itself, which a shell tells as 130: `process.exit` waits for a thread that hangs. */
function endAtOnce(): void {
  process.removeAllListeners('SIGINT');
  process.kill(process.pid, 'SIGINT');
}

const open: OpenIsobar = async (config, options) => {
  const { keepHeapSmall, openIsobar } = await import('./engine.ts');
  keepHeapSmall();
  return openIsobar(config, options);
};

function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => stream.write('', () => resolve()));
}
