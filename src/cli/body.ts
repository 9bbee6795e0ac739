import { type FileHandle, mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { PutBody } from './api.ts';
import { CliFailure } from './failure.ts';

/** A body that holds a file open until it is closed. */
export interface OpenBody extends PutBody {
  close(): Promise<void>;
}

/** The file is read as it is written to the sites; when somebody changes it meanwhile, the read fails. */
export async function bodyOfFile(path: string): Promise<OpenBody> {
  const file = await open(path, 'r');
  try {
    const before = await file.stat({ bigint: true });
    if (!before.isFile())
      throw new CliFailure(`${path} is not an ordinary file`, { hint: 'pipe it in and give - as the file' });
    const read = async ({ from, to }: { from: number; to: number }): Promise<Uint8Array> => {
      const bytes = await readFully(file, from, to);
      const now = await file.stat({ bigint: true });
      if (bytes === undefined || now.size !== before.size || now.mtimeNs !== before.mtimeNs) {
        throw new CliFailure(`${path} changed while it was read`, {
          hint: 'put it again once nobody writes to it',
        });
      }
      return bytes;
    };
    return { size: Number(before.size), read, close: () => file.close() };
  } catch (failure) {
    await file.close();
    throw failure;
  }
}

/** Up to here a body from a pipe stays in memory; what is larger is spooled, because it may be read again. */
const memoryBytes = 8 * 1024 * 1024;

export async function bodyOfStream(
  stream: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<OpenBody> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  let spool: Spool | undefined;
  try {
    for await (const piece of untilAborted(stream, signal)) {
      size += piece.byteLength;
      if (spool === undefined) pieces.push(piece);
      else await spool.file.write(piece);
      if (spool !== undefined || size <= memoryBytes) continue;
      spool = await openSpool();
      for (const kept of pieces.splice(0)) await spool.file.write(kept);
    }
    signal.throwIfAborted();
    return spool === undefined ? bodyOfBytes(Buffer.concat(pieces)) : bodyOfSpool(spool, size);
  } catch (failure) {
    await spool?.close();
    throw failure;
  }
}

/** A terminal or pipe that stays silent must not keep Ctrl-C waiting. */
async function* untilAborted<T>(stream: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
  aborted.catch(() => {});
  const iterator = stream[Symbol.asyncIterator]();
  for (;;) {
    signal.throwIfAborted();
    const next = await Promise.race([iterator.next(), aborted]);
    if (next.done === true) return;
    yield next.value;
  }
}

function bodyOfBytes(bytes: Uint8Array): OpenBody {
  return {
    size: bytes.byteLength,
    read: async ({ from, to }) => bytes.subarray(from, to),
    close: async () => {},
  };
}

function bodyOfSpool(spool: Spool, size: number): OpenBody {
  const read = async ({ from, to }: { from: number; to: number }): Promise<Uint8Array> => {
    const bytes = await readFully(spool.file, from, Math.min(to, size));
    if (bytes === undefined) throw new CliFailure('the spool file of stdin was cut short by somebody');
    return bytes;
  };
  return { size, read, close: () => spool.close() };
}

interface Spool {
  readonly file: FileHandle;
  close(): Promise<void>;
}

async function openSpool(): Promise<Spool> {
  const folder = await mkdtemp(join(tmpdir(), 'isobar-put-'));
  const file = await open(join(folder, 'body'), 'wx+', 0o600);
  // The name goes at once: whatever happens, nothing is left behind.
  await rm(folder, { recursive: true });
  return { file, close: () => file.close() };
}

/** Undefined when the file ends before `to`. */
async function readFully(file: FileHandle, from: number, to: number): Promise<Uint8Array | undefined> {
  const bytes = Buffer.allocUnsafe(to - from);
  let filled = 0;
  while (filled < bytes.length) {
    const { bytesRead } = await file.read(bytes, filled, bytes.length - filled, from + filled);
    if (bytesRead === 0) return undefined;
    filled += bytesRead;
  }
  return bytes;
}
