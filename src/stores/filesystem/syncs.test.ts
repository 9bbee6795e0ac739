import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ObjectStore } from '../../ports/object-store.ts';
import { never, put, type ScratchFolder, scratchFolder } from './scratch-folder.ts';
import { createFilesystemStore } from './store.ts';
import { type Call, watchedCalls } from './watched-calls.ts';

/**
 * A model of a disk that keeps after a power loss only what was synced: bytes by a sync of the file, names by a
 * sync of their directory. It follows the calls and can say at any time what is not safe yet.
 */
class PowerLossModel {
  readonly #pathOfFd = new Map<number, string>();
  /** Directories with names made or taken away since their last sync, and what these were. */
  readonly unsafeFolders = new Map<string, string[]>();
  readonly unsafeFiles = new Set<string>();
  readonly trace: string[] = [];

  readonly calls = watchedCalls(
    () => undefined,
    (call, outcome) => this.#follow(call, outcome),
  );

  #follow({ name, args }: Call, outcome: unknown): void {
    const [first, second] = args.map((arg) => (typeof arg === 'string' ? this.#real(arg) : arg));
    if (name === 'open') this.#opened(outcome as number, String(first), Number(args[1]));
    const path = typeof first === 'number' ? (this.#pathOfFd.get(first) ?? '') : String(first);
    if (['write', 'truncate'].includes(name)) this.unsafeFiles.add(path);
    if (name === 'sync' || name === 'syncData') this.#synced(path);
    if (name === 'link' || name === 'linkNow') this.#named(path, String(second));
    if (name === 'rename' || name === 'renameNow') this.#renamed(path, String(second));
    if (['unlink', 'rmdir', 'mkdir'].includes(name)) this.#touched(path);
    this.trace.push(`${name} ${path}${typeof second === 'string' ? ` ${second}` : ''}`);
  }

  #opened(fd: number, path: string, flags: number): void {
    this.#pathOfFd.set(fd, path);
    const creates = (flags & 0o100) !== 0;
    if (creates) this.#touched(path);
  }

  #synced(path: string): void {
    this.unsafeFiles.delete(path);
    this.unsafeFolders.delete(path);
  }

  #named(from: string, to: string): void {
    assert.ok(!this.unsafeFiles.has(from), `${to} gets its name before its bytes are safe`);
    this.#touched(to);
  }

  #renamed(from: string, to: string): void {
    this.#named(from, to);
    this.#touched(from);
  }

  #touched(path: string): void {
    const folder = path.slice(0, path.lastIndexOf('/'));
    this.unsafeFolders.set(folder, [
      ...(this.unsafeFolders.get(folder) ?? []),
      path.slice(folder.length + 1),
    ]);
  }

  #real(path: string): string {
    return path.replace(/^\/proc\/self\/fd\/(\d+)/, (_, fd: string) => this.#pathOfFd.get(Number(fd)) ?? '');
  }
}

async function traced(
  work: (store: ObjectStore, model: PowerLossModel, folder: ScratchFolder) => Promise<void>,
) {
  const folder = await scratchFolder();
  const model = new PowerLossModel();
  const store = createFilesystemStore({ path: folder.path }, { calls: model.calls });
  try {
    await work(store, model, folder);
  } finally {
    await store.close();
    await folder.remove();
  }
}

/** Folders whose names matter after a power loss; what a crash leaves in the others is tidied up. */
function unsafeThatMatter(model: PowerLossModel, folder: ScratchFolder): string[] {
  const own = `${folder.path}/.isobar/store/`;
  const matters = (path: string) =>
    !path.startsWith(own) || /^(meta|uploads|aside|kept)/.test(path.slice(own.length));
  // A file that only lost an entry (an old mark) or a folder that was removed is no loss.
  return [...model.unsafeFolders.keys()].filter(matters).map((path) => path.slice(folder.path.length));
}

const metadata = { contentType: 'text/plain', user: { isobar: '1' }, tags: {} };

test('before a creation resolves, its bytes, metadata, name and new folders are safe', () =>
  traced(async (store, model, folder) => {
    await put(store, 'new/folders/a', 'body', metadata);
    assert.deepEqual([...model.unsafeFiles], []);
    assert.deepEqual(unsafeThatMatter(model, folder), []);
  }));

test('before a replacement resolves, bytes, metadata and name are safe', () =>
  traced(async (store, model, folder) => {
    await put(store, 'd/a', 'old', metadata);
    await put(store, 'd/a', 'new', metadata);
    assert.deepEqual([...model.unsafeFiles], []);
    // The old body's way out of `aside/`: after a power loss it is there again, known as replaced, and goes.
    assert.deepEqual(unsafeThatMatter(model, folder), ['/.isobar/store/aside']);
  }));

test('metadata are safe before the body gets its name', () =>
  traced(async (store, model) => {
    await put(store, 'd/a', 'body', metadata);
    const named = model.trace.findLastIndex((line) => /^link .*\/d\/a$/.test(line));
    const metadataSynced = model.trace.findLastIndex((line) => /^sync .*\/meta\/.$/.test(line));
    assert.ok(metadataSynced >= 0 && metadataSynced < named, model.trace.join('\n'));
  }));

test('before a removal resolves, the name is gone for good, and nothing aside can bring it back', () =>
  traced(async (store, model, folder) => {
    const token = await put(store, 'd/a', 'body');
    await put(store, 'd/b', 'body');
    assert.equal((await store.remove('d/a', token, never)).kind, 'removed');
    assert.deepEqual(unsafeThatMatter(model, folder), []);
    const retired = model.trace.findLastIndex((line) => /^rename .*\/aside\/.* .*\/retired\//.test(line));
    const asideSynced = model.trace.findLastIndex((line) => /^sync .*\/aside$/.test(line));
    assert.ok(retired >= 0 && asideSynced > retired, 'first out of `aside/`, then synced');
  }));

test('before a part resolves, its bytes are safe; before the upload does, its name', () =>
  traced(async (store, model, folder) => {
    const request = { key: 'd/a', size: 5, partSizeBytes: 3, metadata };
    const upload = await store.startUpload(request, never);
    assert.deepEqual(unsafeThatMatter(model, folder), []);
    const receipts: string[] = [];
    for (const [index, text] of ['abc', 'de'].entries()) {
      receipts.push(await store.writePart(upload, { index, bytes: Buffer.from(text) }, never));
      assert.deepEqual([...model.unsafeFiles], []);
    }
    const outcome = await store.completeUpload(
      upload,
      receipts,
      { condition: { kind: 'absent' }, metadata },
      never,
    );
    assert.equal(outcome.kind, 'written');
    assert.deepEqual([...model.unsafeFiles], []);
    // The finished upload may be there again after a power loss; its file has two names then, and is not touched.
    const matters = (path: string) => !path.startsWith('/.isobar/store/uploads');
    assert.deepEqual(unsafeThatMatter(model, folder).filter(matters), []);
  }));
