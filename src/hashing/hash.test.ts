import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { test } from 'node:test';
import { leafBytes, leavesOf } from '../model/digest.ts';
import { hashOf, sharedMemory } from './hash.ts';
import { leavesIn } from './leaves.ts';
import { HashThreads } from './threads.ts';

const MiB = 1024 * 1024;

function filled(bytes: number): Uint8Array {
  const memory = sharedMemory(bytes);
  for (let at = 0; at < bytes; at++) memory[at] = (at * 31 + (at >>> 9)) & 0xff;
  return memory;
}

const memory = filled(3 * MiB + 7);

for (const [name, view] of [
  ['nothing', memory.subarray(0, 0)],
  ['a small body', memory.subarray(5, 1_000)],
  ['a body in the middle of its memory', memory.subarray(3, 2 * MiB + 1)],
  ['all of it', memory],
  ['memory of its own', Buffer.from(memory)],
] as const) {
  test(`a digest is that of exactly these bytes: ${name}`, async () => {
    for (const algorithm of ['sha256', 'md5'] as const)
      assert.equal(await hashOf(algorithm, view), hash(algorithm, Buffer.from(view)));
  });
}

test('many at once come back to those who asked', async () => {
  const views = Array.from({ length: 40 }, (_, at) => memory.subarray(at * 11, MiB + 5000 + at * 17));
  const hex = await Promise.all(views.map((view) => hashOf('sha256', view)));
  assert.deepEqual(
    hex,
    views.map((view) => hash('sha256', view)),
  );
});

test('leaves are those that the whole body has', async () => {
  const body = sharedMemory(2 * leafBytes + 5);
  body[leafBytes] = 1;
  assert.deepEqual(await leavesIn(body), leavesOf(body));
  assert.deepEqual(await leavesIn(body.subarray(0, 0)), []);
});

test('no more is left to the threads than they can do soon, and nothing where there are none', async () => {
  const threads = new HashThreads(2);
  const job = { algorithm: 'md5', memory: memory.buffer as SharedArrayBuffer, from: 0, bytes: memory.length };
  const given = Array.from({ length: 6 }, () => threads.hash(job));
  assert.deepEqual(
    given.map((one) => one !== undefined),
    [true, true, true, true, false, false],
  );
  assert.deepEqual(new Set(await Promise.all(given.slice(0, 4))), new Set([hash('md5', memory)]));
  assert.equal(new HashThreads(0).hash(job), undefined);
});

test('what a thread that broke had to do is done here', async () => {
  const threads = new HashThreads(1);
  const job = { algorithm: 'sha256', memory: memory.buffer as SharedArrayBuffer, from: 2, bytes: 10 };
  const breaking = threads.hash({ ...job, from: -1 });
  const next = threads.hash(job);
  await assert.rejects(async () => breaking);
  assert.equal(await next, hash('sha256', memory.subarray(2, 12)));
});
