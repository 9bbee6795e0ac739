import assert from 'node:assert/strict';
import { createCipheriv, createHash } from 'node:crypto';
import { StoreFailure, type StoreFailureCode } from '../../model/failure.ts';
import type {
  ListEntry,
  ListRequest,
  ObjectRead,
  ObjectStore,
  ReadOptions,
  Removed,
  StoreDigests,
  Token,
  Written,
} from '../../ports/object-store.ts';
import type { Scratch } from './subject.ts';

/** Bytes that repeat nowhere, the same for the same name. */
export function bodyOf(name: string, size: number): Uint8Array {
  const key = createHash('sha256').update(name).digest().subarray(0, 16);
  return createCipheriv('aes-128-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(size));
}

export function text(value: string): Uint8Array {
  return Buffer.from(value);
}

/** The order that the contract names, computed from the bytes and not by the code under test. */
export function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

export async function readOrFail(
  scratch: Scratch,
  key: string,
  options: ReadOptions = {},
): Promise<ObjectRead> {
  const read = await scratch.store.read(key, options, scratch.signal);
  assert.ok(read, `${JSON.stringify(key)} is absent`);
  return read;
}

/** The body through the stream, piece by piece. */
export async function streamed(read: ObjectRead): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of read.body) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}

export async function bodyAt(scratch: Scratch, key: string, options: ReadOptions = {}): Promise<Buffer> {
  return Buffer.from(await (await readOrFail(scratch, key, options)).bytes());
}

/** Compares by digest, so that a failure does not print megabytes. */
export function assertSameBytes(actual: Uint8Array, expected: Uint8Array, what = 'the body'): void {
  assert.equal(actual.length, expected.length, `${what} has the wrong length`);
  assert.ok(Buffer.compare(actual, expected) === 0, `${what} has the right length and the wrong bytes`);
}

export async function assertBody(scratch: Scratch, key: string, expected: Uint8Array): Promise<void> {
  assertSameBytes(await bodyAt(scratch, key), expected, `the body of ${JSON.stringify(key)}`);
}

export async function assertAbsent(scratch: Scratch, key: string): Promise<void> {
  assert.equal(
    await scratch.store.head(key, scratch.signal),
    undefined,
    `${JSON.stringify(key)} must be absent`,
  );
}

export async function headToken(scratch: Scratch, key: string): Promise<Token> {
  const head = await scratch.store.head(key, scratch.signal);
  assert.ok(head, `${JSON.stringify(key)} is absent`);
  return head.token;
}

/** The token as a listing tells it. */
export async function listedToken(scratch: Scratch, key: string): Promise<Token> {
  const entry = (await entriesOf(scratch.store, { prefix: key }, scratch.signal)).find((e) => e.key === key);
  assert.ok(entry, `${JSON.stringify(key)} is not listed`);
  return entry.token;
}

export async function pagesOf(
  store: ObjectStore,
  request: ListRequest,
  signal: AbortSignal,
): Promise<ListEntry[][]> {
  const pages: ListEntry[][] = [];
  for await (const page of store.list(request, signal)) pages.push([...page]);
  return pages;
}

export async function entriesOf(
  store: ObjectStore,
  request: ListRequest,
  signal: AbortSignal,
): Promise<ListEntry[]> {
  return (await pagesOf(store, request, signal)).flat();
}

export async function keysOf(scratch: Scratch, request: ListRequest): Promise<string[]> {
  return (await entriesOf(scratch.store, request, scratch.signal)).map((entry) => entry.key);
}

export function assertWritten(answer: { readonly kind: string }): asserts answer is Written {
  assert.equal(answer.kind, 'written');
}

export function assertRemoved(answer: { readonly kind: string }): asserts answer is Removed {
  assert.equal(answer.kind, 'removed');
}

export function assertConflict(answer: { readonly kind: string }): void {
  assert.equal(answer.kind, 'conflict');
}

/** Demands a `StoreFailure` of one of `codes`, with a message for a person. */
export async function assertFails(work: Promise<unknown>, ...codes: StoreFailureCode[]): Promise<void> {
  let outcome: unknown;
  try {
    outcome = await work;
  } catch (error) {
    assert.ok(error instanceof StoreFailure, `not a StoreFailure but ${String(error)}`);
    assert.ok(
      codes.includes(error.code),
      `expected ${codes.join(' or ')}, got ${error.code}: ${error.message}`,
    );
    assert.ok(error.message.length > 0, 'the failure says nothing');
    return;
  }
  assert.fail(`expected ${codes.join(' or ')}, but it resolved with ${JSON.stringify(outcome)}`);
}

/** Every digest that the store reports must be that of `body`; one it does not know is no fault. */
export function assertDigests(digests: StoreDigests, body: Uint8Array): void {
  const expected: Required<StoreDigests> = {
    md5: createHash('md5').update(body).digest('hex'),
    sha256: createHash('sha256').update(body).digest('hex'),
    crc32c: crc32c(body),
  };
  for (const name of ['md5', 'sha256', 'crc32c'] as const) {
    if (digests[name] !== undefined) assert.equal(digests[name], expected[name], `the reported ${name}`);
  }
}

/** Bit by bit, from the definition (reflected polynomial 0x82F63B78): for small bodies. */
function crc32c(body: Uint8Array): string {
  let crc = 0xffffffff;
  for (const byte of body) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ((crc ^ 0xffffffff) >>> 0).toString(16).padStart(8, '0');
}

/** Runs `task` for 0..count-1, at most `lanes` at once. */
export async function inLanes(
  count: number,
  lanes: number,
  task: (i: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) await task(next++);
  };
  await Promise.all(Array.from({ length: Math.min(lanes, count) }, lane));
}
