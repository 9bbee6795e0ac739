import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

const program = join(import.meta.dirname, 'main.ts');
const isobar = join(import.meta.dirname, '..', 'main.ts');
const isRoot = process.getuid?.() === 0;

let scratch = '';
/** Where the demo makes its folder. */
let temporary = '';
let source = '';

before(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'isobar-demo-test-'));
  await chmod(scratch, 0o755);
  temporary = join(scratch, 'tmp');
  await mkdir(temporary);
  await chmod(temporary, 0o777);
  source = join(scratch, 'source');
  await mkdir(join(source, 'deep', 'er'), { recursive: true });
  await writeFile(join(source, 'a.txt'), 'a');
  await writeFile(join(source, 'empty'), '');
  await writeFile(join(source, 'isobar-demo'), 'a file where the demo would put its own');
  await writeFile(join(source, 'deep', 'ä b.bin'), Buffer.alloc(3_000_000, 7));
  await writeFile(join(source, 'deep', 'er', 'large.bin'), Buffer.alloc(20_000_000, 'large'));
});

after(() => rm(scratch, { recursive: true }));

interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(file: string, args: readonly string[], uid?: number): ChildProcess {
  const env = { ...process.env, TMPDIR: temporary, npm_lifecycle_event: '' };
  return spawn(process.execPath, [file, ...args], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(uid === undefined ? {} : { uid }),
  });
}

async function finished(child: ChildProcess): Promise<Ran> {
  const texts = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]!.setEncoding('utf8').on('data', (text: string) => {
      texts[name] += text;
    });
  }
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, ...texts };
}

function rootIn(stdout: string): string {
  const root = /^Sites: (.+)$/m.exec(stdout)?.[1];
  assert.ok(root, stdout);
  return root;
}

/** Every file as text by its path, Isobar's own left out. */
async function filesIn(folder: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile() && !path.startsWith(join(folder, '.isobar'))) {
      files[path.slice(folder.length + 1)] = await readFile(path, 'latin1');
    }
  }
  return files;
}

test('the demo ends with 0, its claims are true, and the given folder is only read', async () => {
  const given = await filesIn(source);
  const { code, stdout, stderr } = await finished(start(program, [source]));
  assert.equal(code, 0, stdout + stderr);
  assert.equal(stderr, '');
  for (const claim of [
    /all three sites hold the same 9 files, 21\.9 MiB, read back and compared/,
    /all 9 reached every site: the same 9 files/,
    /6 puts and 3 changes in the folders reached aws and gcp; azure's absence deleted nothing/,
    /status knows that azure lacks these 9, the oldest for/,
    /azure caught up by itself: all three hold the same 15 files/,
    /15 keys at 3 sites, .*: no difference/,
    /^ {3}azure {2}away .* lag \d.* 9 to come$/m,
  ]) {
    assert.match(stdout, claim);
  }
  assert.ok(!stdout.includes('\u001b'), 'no escape sequences where there is no terminal');
  assert.deepEqual(await filesIn(source), given);
  const root = rootIn(stdout);
  const aws = await filesIn(join(root, 'aws'));
  assert.equal(Object.keys(aws).length, 15);
  assert.equal(aws['deep/er/large.bin'], given['deep/er/large.bin']);
  assert.match(aws['isobar-demo-2/put-6.txt']!, /through Isobar/);
  for (const site of ['gcp', 'azure']) assert.deepEqual(await filesIn(join(root, site)), aws);
  const status = await finished(
    start(isobar, ['--config', join(root, 'isobar.yaml'), 'status', 'files', '--json']),
  );
  assert.equal(status.code, 0, status.stderr);
  const { sites } = JSON.parse(status.stdout) as { sites: { state: string; backlogKeys: number }[] };
  assert.deepEqual(
    sites.map(({ state, backlogKeys }) => ({ state, backlogKeys })),
    Array(3).fill({ state: 'healthy', backlogKeys: 0 }),
  );
});

test('Ctrl-C ends it with 130 and leaves whole sites behind', async () => {
  const child = start(program, [source]);
  const ended = finished(child);
  child.stdout!.on('data', (text: string) => {
    if (text.includes('3. azure goes away')) setTimeout(() => child.kill('SIGINT'), 300);
  });
  const { code, stdout, stderr } = await ended;
  assert.equal(code, 130, stdout + stderr);
  const root = rootIn(stdout);
  assert.match(stderr, /stopped/);
  assert.ok(stdout.includes(`The files stay in ${root}`));
  assert.deepEqual((await readdir(root)).sort(), ['.isobar-state', 'aws', 'azure', 'gcp', 'isobar.yaml']);
  assert.notDeepEqual(await filesIn(join(root, 'azure')), {});
});

test('wrong arguments end with 2, say why, and leave nothing behind', async () => {
  const empty = join(scratch, 'empty');
  await mkdir(join(empty, 'more'), { recursive: true });
  const left = (await readdir(temporary)).length;
  const cases: [string, string[], RegExp][] = [
    ['absent', [join(scratch, 'nowhere')], /nowhere cannot be read: there is no such folder/],
    ['a file', [join(source, 'a.txt')], /a\.txt is not a folder/],
    ['empty', [empty], /empty holds no files/],
    ['below a file', [join(source, 'a.txt', 'x')], /a part of the path is not a folder/],
    ['two folders', [source, source], /give one folder/],
    ['an unknown flag', ['--fast'], /give one folder/],
    ['no name', [''], /name of the folder is empty/],
  ];
  for (const [what, args, message] of cases) {
    const { code, stdout, stderr } = await finished(start(program, args));
    assert.equal(code, 2, what);
    assert.equal(stdout, '', what);
    assert.match(stderr, message, what);
    assert.match(stderr, /Usage: npm run demo/, what);
    assert.doesNotMatch(stderr, /\n\s+at /, what);
  }
  assert.equal((await readdir(temporary)).length, left);
});

test('a file that cannot be read ends it with 2', { skip: process.platform === 'win32' }, async (t) => {
  const closed = join(scratch, 'closed');
  await mkdir(closed);
  await writeFile(join(closed, 'open.txt'), 'open');
  await writeFile(join(closed, 'secret.txt'), 'secret', { mode: 0o000 });
  const left = (await readdir(temporary)).length;
  // Root reads everything, and so is somebody else here.
  const { code, stderr } = await finished(start(program, [closed], isRoot ? 65_534 : undefined));
  if (/Cannot find module|EACCES.*main\.ts/.test(stderr))
    return t.skip('the project is not readable for others');
  assert.equal(code, 2, stderr);
  assert.match(stderr, /secret\.txt cannot be read: permission denied; make it readable/);
  assert.equal((await readdir(temporary)).length, left);
});

test('--help explains it', async () => {
  const { code, stdout } = await finished(start(program, ['--help']));
  assert.equal(code, 0);
  assert.match(stdout, /npm run demo \[-- FOLDER\]/);
});
