/* `npm run servers [name...]`: brings what npm does not bring into the user's cache folder. Safe to run again and
 * to interrupt: a folder appears there only when it is whole. */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { findAzurite } from './azurite.ts';
import { cacheFolder, findProgram, programFolder, pythonPathFile } from './cache.ts';
import { sweepLeftovers } from './process.ts';
import {
  type GoProgramName,
  goPrograms,
  type ProgramName,
  type PythonProgramName,
  pythonPrograms,
  requiredGo,
  versionOf,
} from './versions.ts';

/** What a person can do about a failure. */
class Problem extends Error {
  readonly remedy: string;
  constructor(message: string, remedy: string) {
    super(message);
    this.remedy = remedy;
  }
}

// Quick ones first; each Go program finds compiled what it shares with those before it.
const order: readonly ProgramName[] = [
  'ministack',
  'versitygw',
  'fake-gcs-server',
  'gcsemulator',
  'minio',
  'rclone',
];

async function main(wanted: readonly string[]): Promise<number> {
  const unknown = wanted.filter((name) => !order.some((known) => known === name));
  if (unknown.length > 0) {
    say(`unknown: ${unknown.join(', ')}; there are ${order.join(', ')}`);
    return 1;
  }
  mkdirSync(cacheFolder(), { recursive: true });
  sweepUnfinished();
  sweepLeftovers();
  const problems: Problem[] = [];
  for (const name of order) {
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    const label = `${name} ${versionOf(name)}`;
    if (findProgram(name) !== undefined) {
      say(`${label}: already there`);
      continue;
    }
    const start = performance.now();
    try {
      await install(name);
      say(`${label}: installed in ${Math.round((performance.now() - start) / 1000)} s`);
    } catch (error) {
      const problem =
        error instanceof Problem ? error : new Problem(String(error), 'run `npm run servers` again');
      say(`${label}: FAILED: ${problem.message}`);
      problems.push(problem);
    }
  }
  const azurite = findAzurite();
  if (wanted.length === 0)
    say(
      azurite === undefined ? 'azurite: missing, run `npm install`' : `azurite ${azurite.version}: from npm`,
    );
  for (const remedy of new Set(problems.map((problem) => problem.remedy))) say(`To mend: ${remedy}`);
  return problems.length === 0 ? 0 : 1;
}

/** Into a folder of another name first: an interrupted install is not taken for a finished one. */
async function install(name: ProgramName): Promise<void> {
  const folder = programFolder(name);
  const unfinished = `${folder}.unfinished-${process.pid}`;
  mkdirSync(unfinished, { recursive: true });
  try {
    if (isGo(name)) await buildGo(name, unfinished);
    else await installPython(name, unfinished);
    renameSync(unfinished, folder);
  } catch (error) {
    // Somebody else may have been quicker: then theirs is as good.
    if (!existsSync(folder)) throw error;
  } finally {
    rmSync(unfinished, { recursive: true, force: true });
  }
}

async function buildGo(name: GoProgramName, folder: string): Promise<void> {
  const program = goPrograms[name];
  const remedy = `install Go ${requiredGo} or newer, put it on the PATH and run \`npm run servers\` again`;
  const version = /go(\d+)\.(\d+)/.exec(await run('go', ['env', 'GOVERSION'], {}, remedy));
  const [major = 0, minor = 0] = requiredGo.split('.').map(Number);
  if (Number(version?.[1]) === major && Number(version?.[2]) < minor) {
    throw new Problem(`needs Go ${requiredGo}, the PATH has ${version?.[0]}`, remedy);
  }
  const target = `${program.package}@${program.version}`;
  const env = { GOBIN: folder, CGO_ENABLED: '0' };
  await run(
    'go',
    ['install', '-trimpath', '-ldflags=-s -w', target],
    env,
    `see what Go says above, then run \`npm run servers ${name}\` again`,
  );
  const built = join(folder, basename(program.package));
  if (built !== join(folder, name)) renameSync(built, join(folder, name));
}

async function installPython(name: PythonProgramName, folder: string): Promise<void> {
  const remedy = 'install Python 3.10 or newer with pip and run `npm run servers` again';
  const python = (await run('python3', ['-c', 'import sys; print(sys.executable)'], {}, remedy)).trim();
  const pip = [
    '-m',
    'pip',
    'install',
    '--quiet',
    '--no-deps',
    '--only-binary=:all:',
    '--no-warn-script-location',
  ];
  const env = { PIP_ROOT_USER_ACTION: 'ignore', PIP_DISABLE_PIP_VERSION_CHECK: '1' };
  await run(python, [...pip, '--target', folder, ...pythonPrograms[name].packages], env, remedy);
  writeFileSync(join(folder, pythonPathFile), python);
}

function isGo(name: ProgramName): name is GoProgramName {
  return name in goPrograms;
}

/** What a run that was interrupted has left. */
function sweepUnfinished(): void {
  for (const entry of readdirSync(cacheFolder())) {
    const pid = /\.unfinished-(\d+)$/.exec(entry)?.[1];
    if (pid !== undefined && !isAlive(Number(pid)))
      rmSync(join(cacheFolder(), entry), { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Its standard output; throws with the end of what it said when it fails. */
async function run(
  command: string,
  args: readonly string[],
  env: Record<string, string>,
  remedy: string,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    let said = '';
    child.stdout.on('data', (data: Buffer) => {
      output += data.toString();
      said += data.toString();
    });
    child.stderr.on('data', (data: Buffer) => {
      said += data.toString();
    });
    child.on('error', (error) => reject(new Problem(`cannot run ${command}: ${error.message}`, remedy)));
    child.on('close', (code) => {
      if (code === 0) resolve(output);
      else
        reject(
          new Problem(
            `${command} ${args[0]} ended with ${code}\n${said.trimEnd().split('\n').slice(-15).join('\n')}`,
            remedy,
          ),
        );
    });
  });
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

process.exitCode = await main(process.argv.slice(2));
