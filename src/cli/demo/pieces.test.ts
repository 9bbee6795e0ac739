import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { SiteStatus } from '../../replicate/lag.ts';
import { Output } from '../output.ts';
import { bodyOf, type Content, differencesAt } from './content.ts';
import { ArgumentFailure, DemoFailure } from './failure.ts';
import type { Places } from './places.ts';
import { type Row, Screen } from './screen.ts';
import { settle } from './settle.ts';
import { filesOfFolder, fillUp, freeFolderName, type SourceLimits, takeOver } from './source.ts';

const signal = AbortSignal.timeout(20_000);
const limits: SourceLimits = { files: 3, bytes: 100, copyMs: 10_000 };

async function folderOf(t: TestContext, files: Record<string, string>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'isobar-demo-pieces-'));
  t.after(() => rm(folder, { recursive: true }));
  for (const [key, text] of Object.entries(files)) {
    await mkdir(join(folder, key, '..'), { recursive: true });
    await writeFile(join(folder, key), text);
  }
  return folder;
}

function contentOf(files: Record<string, string>): Content {
  return new Map(Object.entries(files).map(([key, text]) => [key, bodyOf(Buffer.from(text))]));
}

test('differences: what is absent, what is too much, what has other bytes', async (t) => {
  const folder = await folderOf(t, { a: 'one', 'b/c': 'two', '.isobar/x': 'own' });
  assert.deepEqual(await differencesAt(folder, contentOf({ a: 'one', 'b/c': 'two' }), signal), []);
  assert.deepEqual(await differencesAt(folder, contentOf({ a: 'one', d: 'x' }), signal), [
    { key: 'b/c', kind: 'must not have' },
    { key: 'd', kind: 'lacks' },
  ]);
  const other = [{ key: 'a', kind: 'has other bytes in' }];
  assert.deepEqual(await differencesAt(folder, contentOf({ a: 'long', 'b/c': 'two' }), signal), other);
  assert.deepEqual(await differencesAt(folder, contentOf({ a: 'eno', 'b/c': 'two' }), signal), other);
});

test('differences: a file that was read before is read again when it was written since', async (t) => {
  const folder = await folderOf(t, { a: 'one' });
  const before = new Map();
  assert.deepEqual(await differencesAt(folder, contentOf({ a: 'one' }), signal, before), []);
  await writeFile(join(folder, 'a'), 'two');
  assert.equal((await differencesAt(folder, contentOf({ a: 'one' }), signal, before)).length, 1);
});

test('a source is taken up to its limits, the top first, and says that it is not whole', async (t) => {
  const folder = await folderOf(t, { 'deep/1': 'x', b: 'bb', a: 'a'.repeat(99), c: 'c', d: 'd' });
  const target = await folderOf(t, {});
  const source = await filesOfFolder(folder, limits);
  assert.deepEqual(
    source.files.map(({ key }) => key),
    ['a', 'b', 'c'],
  );
  assert.ok(source.isPartial);
  const { content, bytes, isPartial } = await takeOver(
    { ...source, isPartial: false },
    target,
    limits,
    signal,
  );
  assert.deepEqual([...content.keys()], ['a', 'c'], 'b would have been too much');
  assert.equal(bytes, 100);
  assert.ok(isPartial);
  assert.deepEqual(await differencesAt(target, content, signal), []);
});

test('a source of which nothing fits is a wrong argument', async (t) => {
  const folder = await folderOf(t, { a: 'a'.repeat(101) });
  const target = await folderOf(t, {});
  const source = await filesOfFolder(folder, limits);
  await assert.rejects(takeOver(source, target, limits, signal), ArgumentFailure);
});

test("the demo's own files keep out of the way of the user's", async (t) => {
  assert.equal(freeFolderName(contentOf({ a: '' })), 'isobar-demo');
  assert.equal(freeFolderName(contentOf({ 'isobar-demo': '', 'isobar-demo-2/x': '' })), 'isobar-demo-3');
  const target = await folderOf(t, { a: 'one' });
  const content = contentOf({ a: 'one' });
  assert.equal(await fillUp(content, target, 'own', 3), 2);
  assert.deepEqual([...content.keys()], ['a', 'own/note-1.txt', 'own/note-2.txt']);
  assert.deepEqual(await differencesAt(target, content, signal), []);
});

const well: SiteStatus = {
  site: 'gcp',
  state: 'ok',
  lagMs: 0,
  scannedMs: 1,
  backlogKeys: 0,
  backlogBytes: 0,
  parked: 0,
  lastError: undefined,
  lastErrorMs: undefined,
  rate: undefined,
};

function aimAt(folder: string, content: Content, status: SiteStatus) {
  const places: Places = { root: folder, configFile: '', folderOf: () => folder };
  const sites = ['gcp'] as const;
  return { places, status: async () => [status], content, sites, before: new Map(), timeoutMs: 250 };
}

test('a step that does not finish says which site lacks what', async (t) => {
  const folder = await folderOf(t, { a: 'one' });
  await settle(aimAt(folder, contentOf({ a: 'one' }), well), signal);
  const ill = { ...well, state: 'away', backlogKeys: 2, lagMs: 12_000, lastError: 'it is gone' } as const;
  const wanted = contentOf({ a: 'one', b: '', c: '', d: '', e: '' });
  await assert.rejects(settle(aimAt(folder, wanted, ill), signal), (failure: Error) => {
    assert.ok(failure instanceof DemoFailure);
    assert.match(failure.message, /not done within 0\.3 s/);
    assert.match(failure.message, /gcp lacks b, lacks c, lacks d and 1 more; its state is away, 2 to come/);
    assert.match(failure.message, /lag 12 s, last error: it is gone/);
    return true;
  });
});

test('files that agree are not enough while status tells of work to come', async (t) => {
  const folder = await folderOf(t, { a: 'one' });
  const aim = aimAt(folder, contentOf({ a: 'one' }), { ...well, backlogKeys: 1 });
  await assert.rejects(settle(aim, signal), /gcp holds what it must; its state is ok, 1 to come/);
});

class Sink extends EventEmitter {
  text = '';
  write(piece: string): boolean {
    this.text += piece;
    return true;
  }
}

async function drawn(rewrites: boolean, color: boolean): Promise<string> {
  const sink = new Sink();
  const settings = { json: false, quiet: false, verbose: false, color, talkColor: color };
  const output = new Output(sink as never, new Sink() as never, settings, () => 0);
  const screen = new Screen(output, { rewrites, columns: () => 30 });
  let turn = 0;
  const rows = async (): Promise<Row[]> => {
    turn += 1;
    return [
      { text: `aws ${turn}`, tone: 'plain' },
      { text: `azure ${'x'.repeat(40)}`, tone: 'yellow' },
    ];
  };
  const live = screen.live(rows);
  await live.stop();
  return sink.text;
}

test('rows are rewritten in place on a terminal, cut to its width, and printed once elsewhere', async () => {
  const esc = '\u001b';
  const cut = `azure ${'x'.repeat(23)}`;
  assert.equal(await drawn(true, false), `aws 1\n${cut}\n${esc}[2A${esc}[0Jaws 2\n${cut}\n`);
  assert.equal(await drawn(false, false), `aws 1\nazure ${'x'.repeat(40)}\n`);
  assert.ok((await drawn(true, true)).includes(`${esc}[33mazure`));
});
