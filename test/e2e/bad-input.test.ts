// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is the syntax of the configuration
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createSocketServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';

// Whatever a person gets wrong: a clear message, exit code 1 or 2, no stack trace, no secret, and nothing lost.

const main = join(import.meta.dirname, '../../src/cli/main.ts');
const secret = 'wJalrXUtnFEMI/SeCrEt/bPxRfiCYEXAMPLEKEY';

interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

class Place {
  readonly folder = mkdtempSync(join(tmpdir(), 'isobar-bad-'));

  constructor(t: TestContext) {
    for (const site of ['a', 'b']) mkdirSync(join(this.folder, site));
    writeFileSync(join(this.folder, 'a', 'kept.txt'), 'precious');
    this.configure();
    t.after(() => rmSync(this.folder, { recursive: true, force: true }));
  }

  /** Sites `a` and `b` are folders; `more` may change or add lines. */
  configure(more: { sites?: string; datasets?: string; end?: string } = {}): void {
    const sites = `sites:\n  a: { kind: filesystem, path: a }\n  b: { kind: filesystem, path: b }\n${more.sites ?? ''}`;
    const datasets = `datasets:\n  d: { sites: [${more.datasets ?? 'a, b'}] }\n`;
    writeFileSync(join(this.folder, 'isobar.yaml'), `${sites}${datasets}state: state\n${more.end ?? ''}`);
  }

  write(yaml: string): void {
    writeFileSync(join(this.folder, 'isobar.yaml'), yaml);
  }

  run(...argv: readonly string[]): Promise<Finished> {
    return finish(process.execPath, [main, ...argv], this.folder);
  }

  /** No file may grow beyond so many KiB: what a full disk is to the ledger. */
  runWithFullDisk(kib: number, ...argv: readonly string[]): Promise<Finished> {
    const command = `ulimit -f ${kib}; trap '' XFSZ; exec "$0" "$@"`;
    return finish('bash', ['-c', command, process.execPath, main, ...argv], this.folder);
  }

  /** What the users have at the sites. */
  files(): Record<string, string> {
    const found: Record<string, string> = {};
    for (const site of ['a', 'b']) {
      for (const name of readdirSync(join(this.folder, site), { recursive: true, encoding: 'utf8' })) {
        const path = join(this.folder, site, name);
        if (!name.startsWith('.isobar') && statSync(path).isFile())
          found[`${site}/${name}`] = readFileSync(path, 'utf8');
      }
    }
    return found;
  }

  /** Runs what must be refused, and sees that nothing at the sites has changed. */
  async refused(code: number, message: RegExp, ...argv: readonly string[]): Promise<void> {
    const before = this.files();
    assertClear(await this.run(...argv), code, message);
    assert.deepEqual(this.files(), before);
  }
}

async function finish(program: string, argv: readonly string[], cwd: string): Promise<Finished> {
  const env = { ...process.env, NO_COLOR: '1', AWS_EC2_METADATA_DISABLED: 'true' };
  const child = spawn(program, argv, { cwd, stdio: ['ignore', 'pipe', 'pipe'], env });
  const [stdout, stderr]: [string[], string[]] = [[], []];
  child.stdout.on('data', (piece) => stdout.push(String(piece)));
  child.stderr.on('data', (piece) => stderr.push(String(piece)));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout: stdout.join(''), stderr: stderr.join('') };
}

function assertClear({ code, stdout, stderr }: Finished, expected: number, message: RegExp): void {
  assert.match(stderr, message);
  assert.equal(code, expected, stderr);
  assert.doesNotMatch(stderr, /^\s+at .*[(:]\d+/m, 'no stack trace');
  assert.doesNotMatch(stderr, /unexpected failure/);
  assert.ok(!`${stdout}${stderr}`.includes(secret), 'no secret');
}

test('a configuration that cannot be right: 2, with the place and what to do', async (t) => {
  const place = new Place(t);
  const cases: readonly (readonly [string, RegExp])[] = [
    ['sites: { a: [', /isobar\.yaml:1:\d+: /],
    ['sites:\n\ta: {}\n', /isobar\.yaml:2:\d+: .*tab/i],
    [
      'sites: { a: { kind: filesystem, pth: a } }\ndatasets: {}\n',
      /isobar\.yaml:1:\d+: .*`pth`.*did you mean `path`/s,
    ],
    ['sites: { a: { kind: filesystem, path: "${NOT_SET_ANYWHERE}" } }\n', /NOT_SET_ANYWHERE is not set/],
    ['sites: { a: { kind: floppy } }\n', /isobar\.yaml:1:\d+: .*kind/],
    ['', /isobar\.yaml: the file is empty.*isobar init/s],
  ];
  for (const [yaml, message] of cases) {
    place.write(yaml);
    await place.refused(2, message, 'sync', 'd');
  }
  place.write(`sites: { a: { kind: s3, bucket: b, region: r, secretAccesKey: "${secret}" } }\n`);
  await place.refused(2, /secretAccesKey/, 'sync', 'd');
});

test('a dataset, a site or a key that does not exist', async (t) => {
  const place = new Place(t);
  await place.refused(2, /no dataset `photos`.*\bd\b/s, 'sync', 'photos');
  await place.refused(2, /no site .?zz.*\ba\b.*\bb\b/s, 'ls', 'd', '--site', 'zz');
  await place.refused(2, /no site .?zz/, 'get', 'd', 'kept.txt', '--site', 'zz');
  await place.refused(1, /absent\.txt/, 'get', 'd', 'absent.txt');
  await place.refused(1, /no-such-file/, 'put', 'd', 'k', 'no-such-file');
  await place.refused(2, /\.isobar\/.*reserved/, 'put', 'd', '.isobar/site', 'isobar.yaml');
});

test('the same folder twice: two sites would be one', async (t) => {
  const place = new Place(t);
  place.configure({ sites: '  c: { kind: filesystem, path: ./b/../a }\n', datasets: 'a, c' });
  await place.refused(2, /same (folder|place)/i, 'sync', 'd');
});

test('a key of 1,024 bytes is carried, one more is refused', async (t) => {
  const place = new Place(t);
  const longest = `${'x'.repeat(200)}/`.repeat(5).slice(0, 1024).padEnd(1024, 'y');
  assert.equal(Buffer.byteLength(longest), 1024);
  assert.equal((await place.run('put', 'd', longest, 'isobar.yaml')).code, 0);
  assert.equal((await place.run('sync', 'd')).code, 0);
  const { code, stdout } = await place.run('get', 'd', longest, '--site', 'b');
  assert.equal(code, 0);
  assert.match(stdout, /kind: filesystem/);
  await place.refused(2, /1025 bytes.*1024/, 'put', 'd', `${longest}z`, 'isobar.yaml');
});

test('an endpoint that is no store, and one where nobody listens', async (t) => {
  const place = new Place(t);
  const html = createServer((_, response) => response.end('<html><body>Welcome to nginx!</body></html>'));
  html.listen(0, '127.0.0.1');
  await once(html, 'listening');
  t.after(() => html.close().closeAllConnections());
  const closed = createSocketServer().listen(0, '127.0.0.1');
  await once(closed, 'listening');
  const [htmlPort, closedPort] = [html, closed].map((server) => (server.address() as AddressInfo).port);
  closed.close();
  const site = (port: number) =>
    `  s: { kind: s3, bucket: photos, region: eu-west-1, endpoint: "http://127.0.0.1:${port}", pathStyle: true, accessKeyId: AKIAEXAMPLE, secretAccessKey: "${secret}" }\n`;
  for (const [port, message] of [
    [htmlPort!, /is not an S3 endpoint.*check endpoint/],
    [closedPort!, /(refused|nothing listens|ECONNREFUSED|connect)/i],
  ] as const) {
    place.configure({ sites: site(port), datasets: 'a, s, b' });
    const synced = await place.run('sync', 'd');
    assertClear(synced, 4, message);
    assert.equal(place.files()['b/kept.txt'], 'precious', 'the healthy sites go on');
    assertClear(await place.run('get', 'd', 'kept.txt', '--site', 's'), 1, message);
  }
});

test('a folder that is gone, and one that is a file: said, and the others go on', async (t) => {
  const place = new Place(t);
  place.configure({ sites: '  c: { kind: filesystem, path: not-mounted }\n', datasets: 'a, b, c' });
  assertClear(await place.run('sync', 'd'), 4, /not-mounted does not exist.*(create it|mount)/s);
  assert.deepEqual(place.files(), { 'a/kept.txt': 'precious', 'b/kept.txt': 'precious' });
});

test('a corrupted ledger: said, and nothing at the sites is touched', async (t) => {
  const place = new Place(t);
  assert.equal((await place.run('sync', 'd')).code, 0);
  const file = readdirSync(join(place.folder, 'state'), { recursive: true, encoding: 'utf8' }).find(
    (name) => name.endsWith('data.mdb') || name.endsWith('.mdb'),
  );
  assert.ok(file, 'the ledger is an lmdb file');
  const path = join(place.folder, 'state', file);
  writeFileSync(path, Buffer.alloc(statSync(path).size, 'rubbish '));
  await place.refused(1, /(damaged|no ledger|not a ledger|unreadable).*state.*rebuilt/is, 'sync', 'd');
  rmSync(join(place.folder, 'state'), { recursive: true });
  assert.equal((await place.run('sync', 'd')).code, 0, 'the advice works');
  assert.deepEqual(place.files(), { 'a/kept.txt': 'precious', 'b/kept.txt': 'precious' });
});

test('a full disk under the ledger: said, nothing is lost, and it goes on when there is room', async (t) => {
  const place = new Place(t);
  for (let i = 0; i < 200; i++) writeFileSync(join(place.folder, 'a', `f${i}`), `body ${i}`);
  assert.equal((await place.run('sync', 'd')).code, 0);
  for (let i = 200; i < 1_200; i++) writeFileSync(join(place.folder, 'a', `f${i}`), `body ${i}`);
  const kib = Math.ceil(statSync(join(place.folder, 'state', 'data.mdb')).size / 1024);
  const full = await place.runWithFullDisk(kib + 64, 'sync', 'd');
  assertClear(full, 1, /No space left for the state folder.*(room|Free some space)/s);
  assert.equal(Object.keys(place.files()).filter((name) => name.startsWith('a/')).length, 1_201);
  assert.equal((await place.run('sync', 'd')).code, 0);
  assert.equal(Object.keys(place.files()).length, 2_402);
});
