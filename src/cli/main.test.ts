// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is the syntax of the configuration
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** The real process: what only it can show. */

const main = fileURLToPath(new URL('./main.ts', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'isobar-main-'));
after(() => rmSync(folder, { recursive: true }));

function start(argv: readonly string[], nodeFlags: readonly string[] = [], env: Record<string, string> = {}) {
  return spawn(process.execPath, [...nodeFlags, main, ...argv], {
    cwd: folder,
    stdio: 'pipe',
    env: { ...process.env, ...env },
  });
}

async function finish(
  child: ReturnType<typeof start>,
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const [stdout, stderr]: [string[], string[]] = [[], []];
  child.stdout.on('data', (piece) => stdout.push(String(piece)));
  child.stderr.on('data', (piece) => stderr.push(String(piece)));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout: stdout.join(''), stderr: stderr.join('') };
}

test('help loads nothing heavy', async () => {
  const trace = join(folder, 'loaded.mjs');
  writeFileSync(
    trace,
    `import { registerHooks } from 'node:module';
    registerHooks({ load: (url, context, next) => (process._rawDebug(url), next(url, context)) });`,
  );
  for (const argv of [['--help'], ['sync', '--help'], ['--version'], ['help', 'parked']]) {
    const { code, stderr } = await finish(start(argv, ['--import', `file://${trace}`]));
    assert.equal(code, 0);
    assert.match(stderr, /program\.ts/, 'the trace works');
    const heavy = stderr
      .split('\n')
      .filter((line) =>
        /node_modules\/(?!commander\/)|src\/(stores|embedded|replicate|assembly)\/|config\/(schema|load)/.test(
          line,
        ),
      );
    assert.deepEqual(heavy, [], argv.join(' '));
  }
});

test('a reader that goes away ends the program quietly', async () => {
  // A pipe holds 64 KiB: the schema is made longer than that by asking often enough.
  const child = start(['config', 'schema']);
  child.stdout.destroy();
  const { code, stderr } = await finish(child);
  assert.deepEqual([code, stderr], [0, '']);
});

test('all that was written arrives, also in a pipe', async () => {
  const { code, stdout } = await finish(start(['config', 'schema', '--json']));
  assert.equal(code, 0);
  assert.equal((JSON.parse(stdout) as { title: string }).title, 'isobar.yaml');
});

test('without a configuration: 2, and what to do', async () => {
  const { code, stdout, stderr } = await finish(start(['sync', 'd']));
  assert.deepEqual([code, stdout], [2, '']);
  assert.match(stderr, /isobar\.yaml: there is no such file\n.*isobar init/);
});

test('variables come from the environment', async () => {
  writeFileSync(
    join(folder, 'isobar.yaml'),
    'sites: { a: { kind: filesystem, path: "${P}" }, b: { kind: filesystem, path: b } }\ndatasets: { d: { sites: [a, b] } }\n',
  );
  assert.equal((await finish(start(['config', 'check'], [], { P: 'x' }))).code, 0);
  assert.match(
    (await finish(start(['config', 'check']))).stderr,
    /isobar\.yaml:1:\d+: the environment variable P is not set/,
  );
});

test('Ctrl-C in the middle: 130, and it is said how to stop at once', async () => {
  writeFileSync(
    join(folder, 'two.yaml'),
    'sites: { a: { kind: filesystem, path: a }, b: { kind: filesystem, path: b } }\ndatasets: { d: { sites: [a, b] } }\n',
  );
  const child = start(['status', 'd', '--watch', '--every', '60', '-c', 'two.yaml']);
  const ended = finish(child);
  await once(child.stdout, 'data');
  child.kill('SIGINT');
  const { code, stderr } = await ended;
  assert.equal(code, 130);
  assert.match(stderr, /Ctrl-C again stops at once/);
});

test('Ctrl-C while a body is awaited on stdin: 130, and nothing is written', async () => {
  const two =
    'sites: { a: { kind: filesystem, path: a }, b: { kind: filesystem, path: b } }\ndatasets: { d: { sites: [a, b] } }\n';
  writeFileSync(join(folder, 'three.yaml'), `${two}state: three-state\n`);
  const child = start(['put', 'd', 'k', '-c', 'three.yaml']);
  const ended = finish(child);
  child.stdin.write('half of a bo');
  while (!existsSync(join(folder, 'three-state'))) await sleep(20);
  await sleep(200);
  child.kill('SIGINT');
  assert.equal((await ended).code, 130);
  assert.ok(!existsSync(join(folder, 'a', 'k')));
});
