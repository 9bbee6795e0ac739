import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** A copy of what is published, compiled, where the project's dependencies are found; `buildIsobar` makes it. */
export const published = join(import.meta.dirname, '..', 'node_modules', '.cache', 'isobar-bench', 'package');

/** A module of it, for measurements inside a process; `path` without suffix, as in `src`. */
export async function load<T>(path: string): Promise<T> {
  return (await import(pathToFileURL(join(published, 'dist', `${path}.js`)).href)) as T;
}
