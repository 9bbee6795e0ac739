import { createHash, hash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { HashThreads } from './threads.ts';

export type Algorithm = 'sha256' | 'md5';

/** What takes longer than other work should have to wait: about 1 ms; a message to another thread costs half of that. */
const atOnceBytes = 1024 * 1024;

let threads: HashThreads | undefined;

/**
 * Hex digest of `bytes`, which must not change meanwhile. What is large and stands in shared memory is left to another
 * thread, so that this one goes on moving bytes; where that cannot be, it is done here, with turns between.
 */
export function hashOf(algorithm: Algorithm, bytes: Uint8Array): string | Promise<string> {
  if (bytes.length <= atOnceBytes) return hash(algorithm, bytes);
  const { buffer, byteOffset: from, byteLength } = bytes;
  if (buffer instanceof SharedArrayBuffer) {
    threads ??= new HashThreads();
    const elsewhere = threads.hash({ algorithm, memory: buffer, from, bytes: byteLength });
    if (elsewhere) return elsewhere;
  }
  return hashInTurns(algorithm, bytes);
}

/** Memory that other threads can see, all zero. */
export function sharedMemory(bytes: number): Uint8Array {
  return Buffer.from(new SharedArrayBuffer(bytes));
}

async function hashInTurns(algorithm: Algorithm, bytes: Uint8Array): Promise<string> {
  const digest = createHash(algorithm);
  for (let from = 0; from < bytes.length; from += atOnceBytes) {
    digest.update(bytes.subarray(from, from + atOnceBytes));
    await nextTurn();
  }
  return digest.digest('hex');
}
