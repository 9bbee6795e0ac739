import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { goPrograms, type ProgramName, versionOf } from './versions.ts';

/** Where `npm run servers` puts what npm does not bring. */
export function cacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'isobar', 'servers');
}

export function programFolder(name: ProgramName): string {
  return join(cacheFolder(), `${name}-${versionOf(name)}`);
}

/**
 * A Go program's path, a Python program's folder; undefined when `npm run servers` has not brought it. Folders
 * appear whole: the install renames them into place.
 */
export function findProgram(name: ProgramName): string | undefined {
  const path = name in goPrograms ? join(programFolder(name), name) : programFolder(name);
  return existsSync(path) ? path : undefined;
}

export function requireProgram(name: ProgramName): string {
  const path = findProgram(name);
  if (path === undefined) throw new Error(`${name} is not installed: run \`npm run servers\``);
  return path;
}

/** Inside a Python program's folder: the Python it was installed for. Some packages fit only that version. */
export const pythonPathFile = 'python-path';
