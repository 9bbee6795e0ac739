import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { completion } from './commands/completion.ts';
import { config } from './commands/config.ts';
import { conflicts } from './commands/conflicts.ts';
import { doctor } from './commands/doctor.ts';
import { explain } from './commands/explain.ts';
import { get } from './commands/get.ts';
import { init } from './commands/init.ts';
import { ledger } from './commands/ledger.ts';
import { ls } from './commands/ls.ts';
import { parked } from './commands/parked.ts';
import { put } from './commands/put.ts';
import { rm } from './commands/rm.ts';
import { run } from './commands/run.ts';
import { stat } from './commands/stat.ts';
import { status } from './commands/status.ts';
import { sync } from './commands/sync.ts';
import { undo } from './commands/undo.ts';
import { verify } from './commands/verify.ts';
import { CommandContext, type Context, type GlobalFlags, type Host } from './context.ts';
import { exitCodes, Interrupted, tell } from './failure.ts';
import { OutputClosed } from './output.ts';

export { Interrupted };

/** The work of a command: its arguments, then its options. Answers with the exit code; anything but a number means 0. */
// biome-ignore lint/suspicious/noExplicitAny: commander hands over what the command declared
export type Work = (context: Context, ...parameters: any[]) => Promise<unknown>;

/** Turns work into an action of commander. */
export type Act = (work: Work) => (...parameters: unknown[]) => Promise<void>;

const commands: Readonly<Record<string, (program: Command, act: Act) => void>> = {
  init,
  doctor,
  put,
  get,
  rm,
  ls,
  stat,
  sync,
  run,
  status,
  verify,
  explain,
  parked,
  conflicts,
  undo,
  ledger,
  config,
  completion,
};

/** Runs one command line (without the program's name) and answers with its exit code. Never throws. */
export async function execute(argv: readonly string[], host: Host): Promise<number> {
  let exitCode: number = exitCodes.done;
  const act: Act =
    (work) =>
    async (...parameters) => {
      // Commander appends the options and the command itself.
      const command = parameters.pop() as Command;
      exitCode = await perform(work, parameters, new CommandContext(host, flagsOf(command)));
    };
  try {
    await buildProgram(act, host, namedIn(argv)).parseAsync(argv, { from: 'user' });
    return exitCode;
  } catch (failure) {
    if (failure instanceof CommanderError) return failure.exitCode === 0 ? exitCodes.done : exitCodes.usage;
    throw failure;
  }
}

/**
 * All commands with their flags, examples and help, or the one that is named alone. Loads nothing that a command only
 * needs when it works.
 */
export function buildProgram(act: Act, host: Pick<Host, 'stdout' | 'stderr'>, only?: string): Command {
  const program = new Command('isobar')
    .description(
      'Keeps the same data, at the same state, in S3, Google Cloud Storage, Azure Blob Storage and folders.',
    )
    .option('-c, --config <file>', 'the configuration', 'isobar.yaml')
    .option('--json', 'print data as JSON, one object per line')
    .option('-q, --quiet', 'say nothing but data and failures')
    .option('-v, --verbose', 'say more; show the stack of a failure')
    .version(ownVersion(), '-V, --version', 'print the version')
    .helpCommand('help [command]', 'explain a command')
    .configureHelp({ showGlobalOptions: true, sortSubcommands: false })
    .showSuggestionAfterError(true)
    .showHelpAfterError('(`isobar help` lists the commands, `isobar COMMAND --help` explains one)')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => host.stdout.write(text),
      writeErr: (text) => host.stderr.write(text),
    })
    .addHelpText('after', examples);
  for (const [name, add] of Object.entries(commands))
    if (only === undefined || name === only) add(program, act);
  return program;
}

/**
 * The command that stands in `argv`, where that is plain to see: to declare the others as well takes 3 ms. Undefined
 * otherwise, and for what tells of all of them.
 */
export function namedIn(argv: readonly string[]): string | undefined {
  let at = 0;
  while (globalFlag.test(argv[at] ?? '')) at += argv[at] === '-c' || argv[at] === '--config' ? 2 : 1;
  const name = argv[at] ?? '';
  return Object.hasOwn(commands, name) && name !== 'completion' ? name : undefined;
}

const globalFlag = /^(-[cqv]|--(json|quiet|verbose|config(=.*)?))$/s;

const examples = `
Examples:
  isobar init                         write an isobar.yaml
  isobar doctor                       is every site reachable, and honest?
  isobar sync photos --dry-run        what would be copied and deleted?
  isobar sync photos                  make every site agree, once
  isobar run                          ... and keep it so
  isobar verify photos --deep         compare every byte

Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 to 5 see \`sync --help\` and \`verify --help\`,
130 interrupted. JSON fields and everything else scripts need: docs/cli.md`;

function flagsOf(command: Command): GlobalFlags {
  const given = command.optsWithGlobals<Partial<GlobalFlags>>();
  return {
    config: given.config ?? 'isobar.yaml',
    json: given.json === true,
    quiet: given.quiet === true,
    verbose: given.verbose === true,
  };
}

function ownVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

async function perform(work: Work, parameters: unknown[], context: CommandContext): Promise<number> {
  let exitCode: number;
  try {
    const answer = await work(context, ...parameters);
    exitCode = typeof answer === 'number' ? answer : exitCodes.done;
  } catch (failure) {
    exitCode = explainFailure(failure, context);
  }
  context.output.endProgress();
  try {
    await context.close();
  } catch (failure) {
    exitCode = exitCode === exitCodes.done ? explainFailure(failure, context) : exitCode;
  }
  const { reason } = context.signal;
  // Whatever the command made of it: who pressed Ctrl-C must be able to tell that it did not run to its end.
  return reason instanceof Interrupted && reason.exitCode === exitCodes.interrupted
    ? reason.exitCode
    : exitCode;
}

function explainFailure(failure: unknown, { output, signal }: CommandContext): number {
  if (
    failure instanceof OutputClosed ||
    (failure instanceof Error && failure.cause instanceof OutputClosed)
  ) {
    return exitCodes.done;
  }
  const told = tell(signal.aborted && signal.reason instanceof Interrupted ? signal.reason : failure);
  output.endProgress();
  if (output.settings.json) output.fail(told);
  else
    output.warn(
      `${output.paintTalk('red', 'isobar:')} ${told.message}${told.hint === undefined ? '' : `\n  ${told.hint}`}`,
    );
  if (output.settings.verbose && failure instanceof Error) output.warn(stackOf(failure));
  return told.exitCode;
}

function stackOf(failure: Error): string {
  const own = failure.stack ?? String(failure);
  return failure.cause instanceof Error ? `${own}\ncaused by ${stackOf(failure.cause)}` : own;
}
