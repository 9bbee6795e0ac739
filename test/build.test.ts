import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

/** What is published: what the source, which all other tests run, cannot show. */

const root = join(import.meta.dirname, '..');
const manifest = join(root, 'package.json');
const cache = join(root, 'node_modules', '.cache');
mkdirSync(cache, { recursive: true });
// From here the libraries that are not in the bundle are found.
const folder = realpathSync(mkdtempSync(join(cache, 'isobar-build-test-')));
const bundled = join(folder, 'dist', 'cli');
const main = join(bundled, 'main.cjs');
/** Nobody listens there. */
const nowhere = 'http://127.0.0.1:9';
after(() => rmSync(folder, { recursive: true }));

before(async () => {
  copyFileSync(manifest, join(folder, 'package.json'));
  await promisify(execFile)(process.execPath, [join(root, 'scripts', 'build.ts'), join(folder, 'dist')]);
});

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function isobar(argv: readonly string[], nodeFlags: readonly string[] = []): Promise<Ran> {
  const args = [...nodeFlags, main, ...argv];
  // The SDK's chain finds these before it looks for an instance.
  const env = { ...process.env, AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b' };
  return new Promise((resolve) => {
    const child = execFile(process.execPath, args, { cwd: folder, env }, (_, stdout, stderr) =>
      resolve({ code: child.exitCode ?? -1, stdout, stderr }),
    );
  });
}

/** What a command loads: the bundle's files, libraries by their URLs, and Node's own modules as `node:name`. */
async function loadedBy(argv: readonly string[]): Promise<string[]> {
  const trace = join(folder, 'trace.mjs');
  writeFileSync(
    trace,
    `import { registerHooks } from 'node:module';
    import { writeFileSync } from 'node:fs';
    const loaded = [];
    registerHooks({ load: (url, context, next) => (loaded.push(url), next(url, context)) });
    process.on('exit', () => {
      const builtin = process.moduleLoadList.filter((name) => name.startsWith('NativeModule '));
      writeFileSync(${JSON.stringify(join(folder, 'loaded.json'))}, JSON.stringify([loaded, builtin]));
    });`,
  );
  await isobar(argv, ['--import', pathToFileURL(trace).href]);
  const [loaded, builtin] = JSON.parse(readFileSync(join(folder, 'loaded.json'), 'utf8')) as [
    string[],
    string[],
  ];
  const own = (url: string): boolean => url.startsWith(pathToFileURL(bundled).href);
  return [
    ...loaded.map((url) => (own(url) ? basename(url) : url)),
    ...builtin.map((name) => name.replace('NativeModule ', 'node:')),
  ];
}

test('a pass over two folders, with the bundled command', async () => {
  mkdirSync(join(folder, 'a'));
  writeFileSync(join(folder, 'a', 'key'), 'body');
  writeFileSync(
    join(folder, 'isobar.yaml'),
    'sites: { a: { kind: filesystem, path: a }, b: { kind: filesystem, path: b } }\ndatasets: { d: { sites: [a, b] } }\n',
  );
  mkdirSync(join(folder, 'b'));
  const { code, stdout, stderr } = await isobar(['sync', 'd', '--json']);
  assert.deepEqual([code, stderr], [0, '']);
  assert.equal((JSON.parse(stdout) as { copiedKeys: number }).copiedKeys, 1);
  assert.equal(readFileSync(join(folder, 'b', 'key'), 'utf8'), 'body');
});

test('a pass starts no other process', async () => {
  // Whatever tries to is refused.
  const granted = ['fs-read=*', 'fs-write=*', 'net', 'addons'].map((right) => `--allow-${right}`);
  const flags = ['--permission', ...granted, '--no-warnings'];
  const { code, stdout, stderr } = await isobar(['sync', 'd', '--json'], flags);
  assert.deepEqual([code, stderr], [0, '']);
  assert.equal((JSON.parse(stdout) as { copiedKeys: number }).copiedKeys, 0);
});

test('every driver loads, with what it needs for credentials', async () => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const key = { type: 'service_account', client_email: 'a@b.c', token_uri: `${nowhere}/token` };
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' });
  writeFileSync(join(folder, 'key.json'), JSON.stringify({ ...key, private_key: pem }));
  const sites = {
    s3: { kind: 's3', bucket: 'one', endpoint: nowhere },
    gcs: { kind: 'gcs', bucket: 'two', endpoint: nowhere, keyFile: 'key.json' },
    azure: { kind: 'azure', container: 'three', endpoint: nowhere, account: 'acc', accountKey: 'a2V5' },
  };
  const config = { state: 'nowhere', sites, datasets: { d: { sites: Object.keys(sites) } } };
  writeFileSync(join(folder, 'nowhere.yaml'), JSON.stringify(config));
  const { stdout } = await isobar(['doctor', '--json', '-c', 'nowhere.yaml']);
  const checks = stdout.split('\n').filter((line) => line.includes('"status":"failed"'));
  const reached = checks.map((line) => JSON.parse(line) as { site: string; detail: string });
  assert.deepEqual(
    reached.map(({ site, detail }) => [site, detail.includes('ECONNREFUSED')]),
    Object.keys(sites).map((site) => [site, true]),
    stdout,
  );
});

test('the daemon serves its metrics, and ends with 0 at SIGTERM', async (t) => {
  const folders = 'sites: { a: { kind: filesystem, path: c }, b: { kind: filesystem, path: d } }';
  const rest = 'state: daemon\nlisten: "127.0.0.1:0"\ndatasets: { d: { sites: [a, b] } }';
  writeFileSync(join(folder, 'daemon.yaml'), `${folders}\n${rest}\n`);
  const child = spawn(process.execPath, [main, 'run', '--json', '-c', 'daemon.yaml'], { cwd: folder });
  t.after(() => child.kill('SIGKILL'));
  const ended = once(child, 'close');
  const [ready] = (await Promise.race([once(child.stdout, 'data'), ended])) as [Buffer];
  const { url } = JSON.parse(String(ready)) as { url: string };
  assert.match(await (await fetch(`${url}/metrics`)).text(), /^isobar_backlog_keys/m);
  child.kill('SIGTERM');
  assert.deepEqual(await ended, [0, null]);
});

test('the library stands beside it, with its types', async () => {
  const index = join(folder, 'dist', 'index');
  const library = (await import(pathToFileURL(`${index}.js`).href)) as { openDataset: unknown };
  assert.equal(typeof library.openDataset, 'function');
  assert.match(readFileSync(`${index}.d.ts`, 'utf8'), /openDataset/);
});

test('its version is that of the package', async () => {
  const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string };
  assert.equal((await isobar(['--version'])).stdout, `${version}\n`);
});

test('a failure is told as from source, and its stack names functions', async () => {
  const { code, stderr } = await isobar(['sync', 'nothing', '-v']);
  assert.equal(code, 2);
  assert.match(stderr, /there is no dataset `nothing`/);
  assert.match(stderr, /at datasetOf /);
});

test('help loads neither what a command works with nor the larger of Node’s own modules', async () => {
  const loaded = await loadedBy(['sync', '--help']);
  assert.ok(loaded.includes('program.cjs'), 'the trace works');
  for (const heavy of ['work.cjs', 'node:crypto', 'node:child_process'])
    assert.ok(!loaded.includes(heavy), heavy);
  const libraries = loaded
    .filter((name) => name.endsWith('.cjs'))
    .flatMap(
      (name) => readFileSync(join(bundled, name), 'utf8').match(/(?<=^\/\/ node_modules\/)[^/]+/gm) ?? [],
    );
  assert.deepEqual([...new Set(libraries)], ['commander']);
});

test('a pass over S3 loads no SDK, no other driver, no web server, no logs and no metrics', async () => {
  const site = (bucket: string) =>
    `{ kind: s3, bucket: ${bucket}, endpoint: "${nowhere}", accessKeyId: a, secretAccessKey: b }`;
  writeFileSync(
    join(folder, 's3.yaml'),
    `state: s3-state\nsites: { a: ${site('one')}, b: ${site('two')} }\ndatasets: { d: { sites: [a, b] } }\n`,
  );
  const loaded = await loadedBy(['sync', 'd', '-c', 's3.yaml']);
  assert.ok(loaded.includes('work.cjs'), 'the trace works');
  const heavy =
    /^(daemon.cjs|node:(http|http2|tls))$|node_modules\/(@aws-sdk|@azure|google-auth|pino|prom-client)/;
  assert.deepEqual(
    loaded.filter((name) => heavy.test(name)),
    [],
  );
});

test('the configuration is checked by the small half of zod, which is built in half the time', () => {
  const work = readFileSync(join(bundled, 'work.cjs'), 'utf8');
  assert.match(work, /^\/\/ node_modules\/zod\/v4\/mini\//m);
  assert.doesNotMatch(work, /^\/\/ node_modules\/zod\/v4\/(classic|locales)\//m);
});

test('every file is strict, as the source is, and in ASCII', () => {
  for (const name of readdirSync(bundled)) {
    if (!name.endsWith('.cjs')) continue;
    const text = readFileSync(join(bundled, name), 'utf8');
    assert.match(text, /^(#!.*\n)?"use strict";\n/, name);
    assert.match(text, /^[\0-\x7f]*$/, name);
  }
});

test('the licences of what is in the bundle go with it', () => {
  const licenses = readFileSync(join(bundled, 'LICENSES.txt'), 'utf8');
  for (const name of ['commander', 'yaml', 'zod'])
    assert.match(licenses, new RegExp(`^${name} [0-9.]+\n\n.*`, 'm'));
  assert.match(licenses, /The above copyright notice and this permission notice shall be included/);
});
