import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { noMetadata, type ObjectMetadata } from '../../model/metadata.ts';
import type { ListRequest, ObjectStore, Token } from '../../ports/object-store.ts';

/** For tests: an empty folder. */
export interface ScratchFolder {
  readonly path: string;
  /** Everything below, relative, folders with `/` behind, sorted. */
  tree(below?: string): Promise<string[]>;
  text(name: string): Promise<string>;
  remove(): Promise<void>;
}

export async function scratchFolder(): Promise<ScratchFolder> {
  const path = await mkdtemp(join(tmpdir(), 'isobar-folder-'));
  return {
    path,
    tree: async (below = '') => {
      const entries = await readdir(join(path, below), { recursive: true, withFileTypes: true });
      const name = (at: string) => at.slice(join(path, below).length + 1);
      const shown = entries.map(
        (entry) => join(entry.parentPath, entry.name) + (entry.isDirectory() ? '/' : ''),
      );
      return shown.map(name).sort();
    },
    text: (name) => readFile(join(path, name), 'utf8'),
    remove: () => rm(path, { recursive: true, force: true }),
  };
}

export const never: AbortSignal = new AbortController().signal;

/** Creates, or replaces what is there; the token. */
export async function put(
  store: ObjectStore,
  key: string,
  text: string,
  metadata: ObjectMetadata = noMetadata,
): Promise<Token> {
  const head = await store.head(key, never);
  const condition = head ? { kind: 'match' as const, token: head.token } : { kind: 'absent' as const };
  const outcome = await store.write({ key, body: Buffer.from(text), metadata, condition }, never);
  if (outcome.kind === 'conflict') throw new Error(`nobody else writes ${key}, and yet there was a conflict`);
  return outcome.token;
}

export async function textAt(store: ObjectStore, key: string): Promise<string | undefined> {
  const read = await store.read(key, {}, never);
  return read && Buffer.from(await read.bytes()).toString('utf8');
}

export async function keysOf(store: ObjectStore, request: ListRequest = {}): Promise<string[]> {
  const keys: string[] = [];
  for await (const page of store.list(request, never)) keys.push(...page.map((entry) => entry.key));
  return keys;
}

/** What the driver keeps for moments only, and must not leave behind. */
export async function leftovers(folder: ScratchFolder): Promise<string[]> {
  const names = await folder.tree('.isobar/store');
  const announcing = /^tmp\/(id\.|link\.|.*\.owner$)/;
  const isLeft = (name: string) => /^(tmp|locks|aside|uploads)\/./.test(name) && !announcing.test(name);
  return names.filter((name) => isLeft(name) && !name.endsWith('%c/'));
}
