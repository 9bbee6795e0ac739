import assert from 'node:assert/strict';
import { PassThrough, Writable } from 'node:stream';
import { test } from 'node:test';
import { Output, OutputClosed, type OutputSettings } from './output.ts';
import { ProgressLine } from './progress.ts';

const settings: OutputSettings = {
  json: false,
  quiet: false,
  verbose: false,
  color: false,
  talkColor: false,
};

function progressOn(terminal: boolean, columns = 100) {
  let nowMs = 1000;
  const written: string[] = [];
  const line = new ProgressLine({
    write: (text) => written.push(text),
    nowMs: () => nowMs,
    terminal,
    columns: () => columns,
  });
  return { line, written, at: (ms: number) => (nowMs = ms) };
}

test('progress on a terminal rewrites one line, at most ten times a second, with rate and time to go', () => {
  const { line, written, at } = progressOn(true);
  const show = (keys: number) =>
    line.show({ phase: 'copying', keys, totalKeys: 100, bytes: keys * 1024, totalBytes: 102_400 });
  show(0);
  at(1050);
  show(5);
  at(2000);
  show(10);
  line.end();
  assert.equal(written.length, 3);
  assert.ok(written.every((text) => text.startsWith('\r') && text.length < 105));
  assert.equal(
    written[1],
    '\rcopying: 10 of 100 keys, 10.0 KiB of 100 KiB, 10.0 KiB/s, 9.0 s to go, 10 keys/s\u001b[K',
  );
  assert.equal(written[2], '\r\u001b[K');
});

test('a narrow terminal shows what fits', () => {
  const { line, written } = progressOn(true, 24);
  line.show({ phase: 'copying', keys: 1, totalKeys: 1_000_000, bytes: 0 });
  assert.deepEqual(written, ['\rcopying: 1 of 1,000,000\u001b[K']);
});

test('progress elsewhere is a plain line every five seconds', () => {
  const { line, written, at } = progressOn(false);
  for (let ms = 1000; ms <= 12_000; ms += 100) {
    at(ms);
    line.show({ phase: 'listing', keys: ms / 100, bytes: 0, note: 'b away' });
  }
  assert.deepEqual(written, [
    'listing: 60 keys, 10 keys/s, b away\n',
    'listing: 110 keys, 10 keys/s, b away\n',
  ]);
});

test('a new phase starts the rate anew', () => {
  const { line, written, at } = progressOn(true);
  line.show({ phase: 'listing', keys: 1000, bytes: 0 });
  at(2000);
  line.show({ phase: 'copying', keys: 1, bytes: 0 });
  assert.doesNotMatch(written[1] ?? '', /keys\/s/);
});

test('a line of data takes the progress line away first', async () => {
  const both = new PassThrough();
  const text: string[] = [];
  both.on('data', (piece) => text.push(String(piece)));
  const screen = Object.assign(both, { isTTY: true, columns: 80 });
  const output = new Output(screen, screen, settings, () => 1000);
  output.progress({ phase: 'listing', keys: 1, bytes: 0 });
  await output.line('data');
  assert.equal(text.join(''), '\rlisting: 1 keys\u001b[K\r\u001b[Kdata\n');
});

test('quiet and JSON say nothing but what must not be missed', async () => {
  for (const flags of [{ quiet: true }, { json: true }]) {
    const stdout = new PassThrough();
    const stderr = new PassThrough();
    const output = new Output(stdout, stderr, { ...settings, ...flags }, () => 1000);
    output.say('talk');
    output.explain('more');
    output.progress({ phase: 'listing', keys: 1, bytes: 0 });
    assert.equal(stderr.read(), null);
    output.warn('away');
    assert.equal(String(stderr.read()), 'away\n');
  }
});

test('when the reader of stdout is gone, nothing waits for it and the signal says so', async () => {
  const closed = new Writable({
    highWaterMark: 1,
    write: (_, __, done) => setImmediate(() => done(Object.assign(new Error('gone'), { code: 'EPIPE' }))),
  });
  const output = new Output(closed, new PassThrough(), settings, () => 0);
  await output.line('first');
  await output.line('second');
  assert.ok(output.gone.aborted && output.gone.reason instanceof OutputClosed);
});

test('a slow reader is waited for', async () => {
  let taken = 0;
  const slow = new Writable({
    highWaterMark: 8,
    write: (_, __, done) => {
      taken += 1;
      setTimeout(done, 5);
    },
  });
  const output = new Output(slow, new PassThrough(), settings, () => 0);
  for (let line = 0; line < 5; line++) await output.line('0123456789');
  assert.equal(taken, 5);
});
