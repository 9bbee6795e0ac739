// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is the syntax of the configuration
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  mkdtempSync,
  readdirSync,
  rmdirSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createSocketServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { assertTold, Place } from './place.ts';

// Whatever a person gets wrong: a clear message, exit code 1 or 2, no stack trace, no secret, and nothing lost.

const secret = 'wJalrXUtnFEMI/SeCrEt/bPxRfiCYEXAMPLEKEY';

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
  place.secrets.push(secret);
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
  place.configure({ sites: { c: { kind: 'filesystem', path: './b/../a' } }, dataset: { sites: ['a', 'c'] } });
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
  assert.match(stdout, /"kind":"filesystem"/);
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
  place.secrets.push(secret);
  const keys = { accessKeyId: 'AKIAEXAMPLE', secretAccessKey: secret };
  for (const [port, message] of [
    [htmlPort!, /is not an S3 endpoint.*check endpoint/],
    [closedPort!, /(refused|nothing listens|ECONNREFUSED|connect)/i],
  ] as const) {
    const s = { kind: 's3', bucket: 'photos', endpoint: `http://127.0.0.1:${port}`, ...keys };
    place.configure({ sites: { s }, dataset: { sites: ['a', 's', 'b'] } });
    await place.told(4, message, 'sync', 'd');
    assert.equal(place.files()['b/kept.txt'], 'precious', 'the healthy sites go on');
    await place.told(1, message, 'get', 'd', 'kept.txt', '--site', 's');
  }
});

test('an account key that cannot be one: said as what it is', async (t) => {
  const place = new Place(t);
  const accountKey = 'not!base64!at!all';
  place.secrets.push(accountKey);
  place.configure({ sites: { z: { kind: 'azure', container: 'photos', account: 'acct', accountKey } } });
  const message = /account key is not base64.*Access keys/s;
  await place.refused(1, message, 'sync', 'd');
  await place.refused(1, message, 'put', 'd', 'k', 'isobar.yaml');
  const doctor = await place.run('doctor', 'z');
  assert.equal(doctor.code, 1);
  assert.match(doctor.stdout, message);
});

test('a folder that is gone, and one that is a file: said, and the others go on', async (t) => {
  const place = new Place(t);
  place.configure({ sites: { c: { kind: 'filesystem', path: 'not-mounted' } } });
  await place.told(4, /not-mounted does not exist.*(create it|mount)/s, 'sync', 'd');
  place.configure({ sites: { c: { kind: 'filesystem', path: 'isobar.yaml' } } });
  await place.told(4, /isobar\.yaml does not exist or is no directory.*correct the path/, 'sync', 'd');
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

test('a ledger that may not grow: said, nothing is lost, and it goes on when there is room', async (t) => {
  const place = new Place(t);
  for (let i = 0; i < 200; i++) writeFileSync(join(place.folder, 'a', `f${i}`), `body ${i}`);
  assert.equal((await place.run('sync', 'd')).code, 0);
  for (let i = 200; i < 1_200; i++) writeFileSync(join(place.folder, 'a', `f${i}`), `body ${i}`);
  const kib = Math.ceil(statSync(join(place.folder, 'state', 'data.mdb')).size / 1024);
  const full = await place.runWithSmallFiles(kib + 64, 'sync', 'd');
  assertTold(full, 1, /No space left for the state folder.*(room|Free some space)/s);
  assert.equal(Object.keys(place.files()).filter((name) => name.startsWith('a/')).length, 1_201);
  assert.equal((await place.run('sync', 'd')).code, 0);
  assert.equal(Object.keys(place.files()).length, 2_402);
});

/**
 * A small disk in a mount namespace of its own, which ends with this process however that ends. Undefined, and the
 * test skipped by name, where this user may not make one.
 */
async function smallDisk(t: TestContext): Promise<string | undefined> {
  const folder = mkdtempSync(join(tmpdir(), 'isobar-disk-'));
  t.after(() => rmdirSync(folder));
  const flags = process.getuid?.() === 0 ? '-m' : '-Urm';
  const script = 'mount -t tmpfs -o size=16m isobar-test "$0" && echo mounted && exec cat';
  const holder = spawn('unshare', [flags, 'sh', '-c', script, folder], { stdio: 'pipe' });
  t.after(() => holder.stdin.end());
  const why: string[] = [];
  holder.stderr.on('data', (piece: Buffer) => why.push(String(piece)));
  const mounted = once(holder.stdout, 'data').then(() => true);
  const failed = once(holder, 'close')
    .catch((failure: Error) => why.push(failure.message))
    .then(() => false);
  if (await Promise.race([mounted, failed])) return `/proc/${holder.pid}/root${folder}`;
  t.skip(`a small disk cannot be mounted here: ${why.join('').trim()}`);
  return undefined;
}

/** Takes what is left on the disk but so many bytes. */
function fill(disk: string, left: number): void {
  const { bavail, bsize } = statfsSync(disk);
  appendFileSync(join(disk, 'ballast'), Buffer.alloc(bavail * bsize - left));
  assert.ok(statfsSync(disk).bavail * bsize <= left);
}

test('a disk that fills up under the ledger: said, nothing is lost, and it goes on when there is room', async (t) => {
  const disk = await smallDisk(t);
  if (disk === undefined) return;
  const place = new Place(t);
  place.configure({ more: { state: join(disk, 'state') } });
  assert.equal((await place.run('sync', 'd')).code, 0);
  for (let i = 0; i < 1_000; i++) writeFileSync(join(place.folder, 'a', `f${i}`), `body ${i}`);
  const syncing = place.run('sync', 'd');
  while (readdirSync(join(place.folder, 'b')).length < 50) await sleep(5);
  fill(disk, 2 * 1024 * 1024);
  const message = /No space left for the state folder.*(room|Free some space)/s;
  assertTold(await syncing, 1, message);
  fill(disk, 0);
  await place.refused(1, message, 'put', 'd', 'new.txt', 'isobar.yaml');
  await place.refused(1, message, 'rm', 'd', 'kept.txt');
  await place.refused(1, message, 'sync', 'd');
  assert.equal(Object.keys(place.files()).filter((name) => name.startsWith('a/')).length, 1_001);
  rmSync(join(disk, 'ballast'));
  assert.equal((await place.run('sync', 'd')).code, 0);
  assert.equal(Object.keys(place.files()).length, 2_002);
  assert.equal((await place.run('verify', 'd', '--deep')).code, 0);
});
