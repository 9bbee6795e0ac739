import { createHash } from 'node:crypto';
import type { Dirent } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isReserved, keyProblem } from '../../model/key.ts';
import { type Body, bodyOf, type Content } from './content.ts';
import { ArgumentFailure } from './failure.ts';

export interface SourceFile {
  readonly key: string;
  readonly path: string;
}

export interface Source {
  /** How it is called on the screen. */
  readonly title: string;
  readonly files: readonly SourceFile[];
  /** There was more than the demo takes. */
  readonly isPartial: boolean;
}

/** Bounds that keep the whole demo well under half a minute on an ordinary disk. */
export interface SourceLimits {
  readonly files: number;
  readonly bytes: number;
  /** How long taking the files over may last: slow disks get fewer. */
  readonly copyMs: number;
}

/** The files of a folder of the user's, which is only read; those nearest to its top come first. */
export async function filesOfFolder(folder: string, limits: SourceLimits): Promise<Source> {
  const found = await stat(folder).catch((cause: NodeJS.ErrnoException) => {
    throw unreadable(folder, cause);
  });
  if (!found.isDirectory()) {
    throw new ArgumentFailure(`${folder} is not a folder; give the folder whose files the demo shall take`);
  }
  const files = await walk([{ key: '', path: folder }], limits.files + 1);
  if (files.length === 0) {
    throw new ArgumentFailure(`${folder} holds no files; give a folder that has some, or none at all`);
  }
  return { title: folder, files: files.slice(0, limits.files), isPartial: files.length > limits.files };
}

/** The project's own documents: what is there of README.md, ARCHITECTURE.md and docs/. */
export async function filesOfProject(root: string, limits: SourceLimits): Promise<Source> {
  const top: SourceFile[] = [];
  for (const name of ['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md']) {
    const path = join(root, name);
    if (await stat(path).catch(() => undefined)) top.push({ key: name, path });
  }
  const docs = await walk([{ key: 'docs/', path: join(root, 'docs') }], limits.files);
  return { title: "the project's own documents", files: [...top, ...docs], isPartial: false };
}

/** Breadth first, so that a deep folder does not push out the rest. Symbolic links are not followed. */
async function walk(folders: SourceFile[], most: number): Promise<SourceFile[]> {
  const files: SourceFile[] = [];
  for (let folder = folders.shift(); folder !== undefined; folder = folders.shift()) {
    for (const entry of await entriesOf(folder.path)) {
      const key = folder.key + entry.name;
      const path = join(folder.path, entry.name);
      if (isReserved(key) || keyProblem(key) !== undefined) continue;
      if (entry.isDirectory()) folders.push({ key: `${key}/`, path });
      else if (entry.isFile()) files.push({ key, path });
      if (files.length >= most) return files;
    }
  }
  return files;
}

async function entriesOf(folder: string): Promise<Dirent[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((cause: NodeJS.ErrnoException) => {
    throw unreadable(folder, cause);
  });
  return entries.sort((a, b) => (a.name < b.name ? -1 : 1));
}

export interface Taken {
  readonly content: Content;
  readonly bytes: number;
  /** Fewer files than the source has. */
  readonly isPartial: boolean;
}

/** Copies the source's files into `target` with plain file calls, as far as the limits go. */
export async function takeOver(
  source: Source,
  target: string,
  limits: SourceLimits,
  signal: AbortSignal,
): Promise<Taken> {
  const content: Content = new Map();
  const begunMs = performance.now();
  let bytes = 0;
  let { isPartial } = source;
  for (const file of source.files) {
    signal.throwIfAborted();
    const isLate = performance.now() - begunMs > limits.copyMs;
    const body = isLate ? undefined : await copyFile(file, join(target, file.key), limits.bytes - bytes);
    if (body) content.set(file.key, body);
    else isPartial = true;
    bytes += body?.size ?? 0;
  }
  if (content.size === 0) {
    const most = Math.floor(limits.bytes / 1024 / 1024);
    throw new ArgumentFailure(`no file of ${source.title} fits into the ${most} MiB that the demo takes`);
  }
  return { content, bytes, isPartial };
}

const pieceBytes = 1024 * 1024;

/** Undefined when the file is larger than `mostBytes`, or gone by now. */
async function copyFile(file: SourceFile, target: string, mostBytes: number): Promise<Body | undefined> {
  const source = await open(file.path, 'r').catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return undefined;
    throw unreadable(file.path, cause);
  });
  if (source === undefined) return undefined;
  try {
    const { size } = await source.stat();
    if (size > mostBytes) return undefined;
    await mkdir(dirname(target), { recursive: true });
    return await copyBytes(source, file.path, size, target);
  } finally {
    await source.close();
  }
}

/** The first `size` bytes: a file that grows meanwhile has no end. */
async function copyBytes(source: FileHandle, path: string, size: number, target: string): Promise<Body> {
  const hash = createHash('sha256');
  const piece = Buffer.alloc(Math.min(pieceBytes, Math.max(size, 1)));
  let copied = 0;
  await using to = await open(target, 'wx');
  while (copied < size) {
    const length = Math.min(piece.length, size - copied);
    const { bytesRead } = await source
      .read(piece, 0, length, copied)
      .catch((cause: NodeJS.ErrnoException) => {
        throw unreadable(path, cause);
      });
    if (bytesRead === 0) break;
    const bytes = piece.subarray(0, bytesRead);
    hash.update(bytes);
    await to.writeFile(bytes);
    copied += bytesRead;
  }
  // So that the time that this takes tells of the disk, as the limit on it needs.
  await to.sync();
  return { size: copied, digest: hash.digest('hex') };
}

/** The folder for files of the demo's own: a name that no file of the user's has, or is below. */
export function freeFolderName(content: Content): string {
  for (let n = 1; ; n++) {
    const name = n === 1 ? 'isobar-demo' : `isobar-demo-${n}`;
    const isTaken = [...content.keys()].some((key) => key === name || key.startsWith(`${name}/`));
    if (!isTaken) return name;
  }
}

/** Files of the demo's own, where the user's are too few to change and delete some; answers with how many. */
export async function fillUp(
  content: Content,
  target: string,
  folder: string,
  least: number,
): Promise<number> {
  const missing = Math.max(0, least - content.size);
  for (let n = 1; n <= missing; n++) {
    const key = `${folder}/note-${n}.txt`;
    const bytes = Buffer.from(`Note ${n} of the Isobar demo: something to change and to delete.\n`.repeat(n));
    await mkdir(join(target, folder), { recursive: true });
    await writeFile(join(target, key), bytes, { flag: 'wx' });
    content.set(key, bodyOf(bytes));
  }
  return missing;
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such folder; check the path',
  ENOTDIR: 'a part of the path is not a folder; check the path',
  EACCES: 'permission denied; make it readable, or give another folder',
  EPERM: 'not permitted; make it readable, or give another folder',
};

function unreadable(path: string, cause: NodeJS.ErrnoException): ArgumentFailure {
  const why = reasons[cause.code ?? ''] ?? cause.message;
  return new ArgumentFailure(`${path} cannot be read: ${why}`, { cause });
}
