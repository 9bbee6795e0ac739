import { ConfigFailure, type Problem } from '../config/problems.ts';
import { redact } from '../config/secret.ts';
import { StateFailure, StoreFailure, type StoreFailureCode } from '../model/failure.ts';

/** What the process ends with; scripts depend on these (docs/cli.md). */
export const exitCodes = {
  done: 0,
  failed: 1,
  /** Usage, configuration, or a dataset or site that does not exist. */
  usage: 2,
  /** `--dry-run` with work to do; `verify`: missing or extra. */
  different: 3,
  /** `sync`: guarded, parked, or a site away; `verify`: a site could not be read. */
  incomplete: 4,
  /** `verify`: differing content. */
  differing: 5,
  interrupted: 130,
} as const;

/** A failure that is told in the command line's own words. */
export class CliFailure extends Error {
  override readonly name: string = 'CliFailure';
  readonly hint: string | undefined;
  readonly exitCode: number;

  /** `message`: what happened and why; `hint`: what to do. */
  constructor(message: string, options: { hint?: string; exitCode?: number; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.hint = options.hint;
    this.exitCode = options.exitCode ?? exitCodes.failed;
  }
}

/** The command was not given as it must be. */
export class UsageFailure extends CliFailure {
  override readonly name = 'UsageFailure';

  constructor(message: string, hint?: string) {
    super(message, { exitCode: exitCodes.usage, ...(hint === undefined ? {} : { hint }) });
  }
}

/** The reason of an abort by a signal of the operating system. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
  readonly exitCode: number;

  constructor(signal: 'SIGINT' | 'SIGTERM') {
    super(signal);
    this.exitCode = signal === 'SIGINT' ? exitCodes.interrupted : 143;
  }
}

export interface Told {
  readonly message: string;
  readonly hint?: string;
  readonly exitCode: number;
  /** Of a configuration: each mistake with its place. */
  readonly problems?: readonly Problem[];
  /** A defect of Isobar rather than of what it was given. */
  readonly unexpected?: true;
}

/** What a person reads of a failure. Never a stack trace, never a secret. */
export function tell(failure: unknown): Told {
  const told = inWords(failure);
  const { hint } = told;
  return { ...told, message: redact(told.message), ...(hint === undefined ? {} : { hint: redact(hint) }) };
}

function inWords(failure: unknown): Told {
  if (failure instanceof Interrupted) return { message: 'stopped', exitCode: failure.exitCode };
  if (failure instanceof ConfigFailure)
    return { message: failure.message, exitCode: exitCodes.usage, problems: failure.problems };
  if (failure instanceof CliFailure) return withHint(failure.message, failure.hint, failure.exitCode);
  if (failure instanceof StoreFailure) return withHint(failure.message, storeHints[failure.code]);
  if (failure instanceof StateFailure) return withHint(failure.message, stateHints[failure.code]);
  if (failure instanceof Error && expected.has(failure.name))
    return withHint(failure.message, undefined, expected.get(failure.name));
  if (isSystemError(failure)) return withHint(systemMessage(failure), systemHints[failure.code]);
  const message = failure instanceof Error ? failure.message : String(failure);
  return {
    message: `unexpected failure: ${message}`,
    hint: 'this is a defect in Isobar; please report it with the output of the same command and --verbose',
    exitCode: exitCodes.failed,
    unexpected: true,
  };
}

/** Failures of the engine whose message says what to do; named here so that the engine need not be loaded. */
const expected = new Map<string, number>([
  ['WriteFailure', exitCodes.failed],
  ['UsageFailure', exitCodes.usage],
]);

function withHint(message: string, hint: string | undefined, exitCode: number = exitCodes.failed): Told {
  return { message, exitCode, ...(hint === undefined ? {} : { hint }) };
}

const storeHints: Readonly<Record<StoreFailureCode, string | undefined>> = {
  unavailable: 'try again when the site answers; `isobar doctor` shows what is wrong with it',
  throttled: 'try again later, or lower `limits.concurrency` of the site',
  denied: 'check the credentials and permissions of the site; `isobar doctor` names what is missing',
  misplaced:
    'check bucket, container, path and `endpoint` of the site; `isobar doctor` shows what answers there',
  full: 'make room at the site, or raise its quota',
  corrupt: 'try again; when it repeats, something between here and the store damages data',
  'broken-listing': 'try again; nothing was concluded from the incomplete listing',
  changed: 'somebody wrote the key meanwhile: try again',
  'upload-lost': 'try again: the upload starts anew',
  invalid: undefined,
  unmerged: undefined,
  unsupported:
    '`isobar doctor` shows what the store can promise; `accept` of the site names risks that you take',
};

const stateHints: Readonly<Record<StateFailure['code'], string | undefined>> = {
  unavailable: 'is another Isobar starting or ending there? Try again',
  full: 'make room on the disk of the `state` folder; nothing that was acknowledged is lost',
  unreadable:
    'put the `state` folder aside and run `isobar sync`: the ledger is rebuilt from the sites, and no data is lost',
};

type SystemError = Error & { readonly code: string; readonly syscall: string; readonly path?: string };

function isSystemError(failure: unknown): failure is SystemError {
  return (
    failure instanceof Error && 'code' in failure && 'syscall' in failure && typeof failure.code === 'string'
  );
}

const systemReasons: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file or folder',
  EACCES: 'permission denied',
  EPERM: 'not permitted',
  EISDIR: 'this is a folder',
  ENOTDIR: 'a part of the path is not a folder',
  ENOSPC: 'no space left on the device',
  EROFS: 'the disk is read-only',
  EADDRINUSE: 'the address is already in use',
  ECONNREFUSED: 'nothing listens there',
};

const systemHints: Readonly<Record<string, string>> = {
  ENOENT: 'check the path',
  EACCES: 'check the permissions of the file and of its folders',
  EADDRINUSE: 'is another `isobar run` up? Otherwise choose another port in the configuration',
  ENOSPC: 'make room and try again',
};

function systemMessage(failure: SystemError): string {
  const reason = systemReasons[failure.code] ?? failure.code;
  return failure.path === undefined ? `${failure.syscall}: ${reason}` : `${failure.path}: ${reason}`;
}
