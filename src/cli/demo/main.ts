import { resolve } from 'node:path';
import { Interrupted, tell } from '../failure.ts';
import { Output } from '../output.ts';
import { runDemo } from './demo.ts';
import { ArgumentFailure, DemoFailure } from './failure.ts';
import { Screen } from './screen.ts';

// `npm run demo [-- FOLDER]`: the only file of the demo that reads the environment and ends the process.

const usage = `Usage: npm run demo [-- FOLDER]

Replicates files over three folders that play aws, gcp and azure: first copy, changes and deletions,
one site away and back, deep verification. Takes the files of FOLDER, which is only read, or the
project's own documents. Exit codes: 0 all was so, 1 something was not, 2 wrong arguments, 130 Ctrl-C.
`;

const { env, stdout, stderr } = process;
const stop = new AbortController();
process.on('SIGINT', () => {
  if (stop.signal.aborted) process.exit(130);
  stop.abort(new Interrupted('SIGINT'));
});
process.on('SIGTERM', () => stop.abort(new Interrupted('SIGTERM')));

const isPlainTerminal = env.TERM === 'dumb';
const colors = (env.NO_COLOR ?? '') === '' && !isPlainTerminal;
const output = new Output(
  stdout,
  stderr,
  {
    json: false,
    quiet: false,
    verbose: false,
    color: colors && stdout.isTTY === true,
    talkColor: colors && stderr.isTTY === true,
  },
  () => performance.now(),
);
const screen = new Screen(output, {
  rewrites: stdout.isTTY === true && !isPlainTerminal,
  // 0 where a terminal does not know it.
  columns: () => stdout.columns || 80,
});

const exitCode = await main(process.argv.slice(2));
await Promise.all([stdout, stderr].map((stream) => new Promise((resolve) => stream.write('', resolve))));
process.exit(exitCode);

async function main(args: readonly string[]): Promise<number> {
  if (args.length === 1 && (args[0] === '--help' || args[0] === '-h')) {
    stdout.write(usage);
    return 0;
  }
  if (args.length > 1 || args[0]?.startsWith('-')) return complain('give one folder, or nothing', 2, usage);
  const [given] = args;
  if (given === '') return complain('the name of the folder is empty', 2, usage);
  const signal = AbortSignal.any([stop.signal, output.gone]);
  try {
    await runDemo({
      folder: given === undefined ? undefined : resolve(callersFolder(), given),
      screen,
      signal,
    });
    return 0;
  } catch (failure) {
    return report(failure);
  }
}

/** npm runs scripts in the project's folder, wherever it was called. */
function callersFolder(): string {
  const isByNpm = env.npm_lifecycle_event === 'demo';
  return (isByNpm ? env.INIT_CWD : undefined) ?? process.cwd();
}

function report(failure: unknown): number {
  if (stop.signal.aborted) return complain('stopped', (stop.signal.reason as Interrupted).exitCode);
  if (output.gone.aborted) return 0;
  if (failure instanceof ArgumentFailure) return complain(failure.message, 2, usage);
  if (failure instanceof DemoFailure) return complain(`the demo failed: ${failure.message}`, 1);
  const told = tell(failure);
  return complain(told.message, 1, told.hint);
}

function complain(message: string, code: number, hint?: string): number {
  output.warn(`${output.paintTalk(code === 130 ? 'yellow' : 'red', '✗')} ${message}`);
  if (hint !== undefined) output.warn(`\n${hint.trimEnd()}`);
  return code;
}
