import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { systemWorld } from '../../src/system-world.ts';
import { Daemon, isobar } from './daemon-process.ts';

const signal = AbortSignal.timeout(2 * 60_000);
const secret = 'nobody-may-read-this-in-a-log';
const names = ['aws', 'gcp', 'azure'];

interface Place {
  readonly configFile: string;
  folder(site: string): string;
  run(): Promise<Daemon>;
}

/** Three folder sites and their configuration. */
async function place(t: TestContext, dataset: object = {}): Promise<Place> {
  const root = await mkdtemp(join(tmpdir(), 'isobar-daemon-'));
  const folder = (site: string) => join(root, site);
  for (const name of names) await mkdir(folder(name));
  const sites = Object.fromEntries(names.map((name) => [name, { kind: 'filesystem', path: folder(name) }]));
  const document = {
    sites: {
      ...sites,
      spare: {
        kind: 's3',
        bucket: 'unused',
        region: 'eu-central-1',
        accessKeyId: 'AKIAUNUSED',
        secretAccessKey: secret,
      },
    },
    datasets: { photos: { sites: names, scan: { every: '1s' }, ...dataset } },
    listen: '127.0.0.1:0',
    log: { level: 'debug' },
  };
  const configFile = join(root, 'isobar.yaml');
  await writeFile(configFile, JSON.stringify(document));
  const daemons: Daemon[] = [];
  t.after(async () => {
    for (const daemon of daemons) await daemon.stop();
    await rm(root, { recursive: true });
  });
  return {
    configFile,
    folder,
    async run() {
      const daemon = await Daemon.start(configFile, signal);
      daemons.push(daemon);
      return daemon;
    },
  };
}

async function textIn(folder: string, key: string): Promise<string | undefined> {
  return readFile(join(folder, key), 'utf8').catch(() => undefined);
}

async function arrives(it: Place, key: string, text: string | undefined, sites = names): Promise<void> {
  for (const site of sites) {
    while ((await textIn(it.folder(site), key)) !== text) await systemWorld.sleep(50, signal);
  }
}

test('a native change in a folder is found by the scan and carried to the others', async (t) => {
  const it = await place(t);
  const daemon = await it.run();
  for (const [at, text] of [
    ['gcp', 'created'],
    ['azure', 'overwritten elsewhere'],
  ] as const) {
    await writeFile(join(it.folder(at), 'note.txt'), text);
    await arrives(it, 'note.txt', text);
  }
  // A site that lost its last key would wait for a person.
  await writeFile(join(it.folder('aws'), 'stays.txt'), 'x');
  await arrives(it, 'stays.txt', 'x');
  await rm(join(it.folder('aws'), 'note.txt'));
  await arrives(it, 'note.txt', undefined);
  assert.equal(await daemon.kill('SIGTERM'), 0);
});

test('health and metrics: the names of the documentation, never a key', async (t) => {
  const it = await place(t);
  const daemon = await it.run();
  await writeFile(join(it.folder('aws'), 'secret-key-name.txt'), 'x');
  await arrives(it, 'secret-key-name.txt', 'x');
  await daemon.scanned(3, signal);
  assert.deepEqual(await daemon.get('/livez'), { status: 200, text: 'ok\n' });
  assert.deepEqual(await daemon.get('/readyz'), { status: 200, text: 'ok\n' });
  assert.equal((await daemon.get('/')).status, 404);
  const { text } = await daemon.get('/metrics');
  for (const line of [
    /^isobar_replication_lag_seconds\{dataset="photos",site="azure"\} \d/m,
    /^isobar_backlog_keys\{dataset="photos",site="azure"\} \d/m,
    /^isobar_backlog_bytes\{dataset="photos",site="azure"\} \d/m,
    /^isobar_copied_bytes_total\{dataset="photos",site="azure",outcome="copied"\} 1$/m,
    /^# TYPE isobar_verify_mismatches_total counter$/m,
    /^isobar_site_up\{dataset="photos",site="aws"\} 1$/m,
  ]) {
    assert.match(text, line);
  }
  assert.ok(!text.includes('secret-key-name'));
});

test('metrics are measured when they are asked for', async (t) => {
  const it = await place(t);
  const daemon = await it.run();
  await daemon.scanned(3, signal);
  const ages: number[] = [];
  while (ages.length < 8) {
    const { text } = await daemon.get('/metrics');
    ages.push(Number(/^isobar_scan_age_seconds\{dataset="photos",site="aws"\} (.*)$/m.exec(text)![1]));
    await systemWorld.sleep(5, signal);
  }
  assert.equal(new Set(ages).size, ages.length, `${ages}`);
  assert.equal(await daemon.kill('SIGTERM'), 0);
});

test('logs are JSON lines that name dataset, key, site, version and change, and no secret', async (t) => {
  const it = await place(t);
  const daemon = await it.run();
  await writeFile(join(it.folder('aws'), 'logged.txt'), 'x');
  await arrives(it, 'logged.txt', 'x');
  assert.equal(await daemon.kill('SIGTERM'), 0);
  const copied = daemon.log.find((line) => line['key'] === 'logged.txt' && line['msg'] === 'copied');
  assert.ok(copied, daemon.stderr);
  assert.equal(copied['dataset'], 'photos');
  assert.ok(['gcp', 'azure'].includes(String(copied['site'])));
  assert.match(String(copied['version']), /^[0-9a-f]{16}$/);
  assert.match(String(copied['change']), /^[\w-]{22}$/);
  assert.deepEqual(
    daemon.stderr.split('\n').filter((line) => line !== '' && !line.startsWith('{')),
    [],
  );
  assert.ok(!daemon.stderr.includes(secret));
});

test('beside a running daemon the other commands work through it', async (t) => {
  const it = await place(t);
  const daemon = await it.run();
  const put = await isobar(it.configFile, ['put', 'photos', 'a.txt', '-', '--json'], 'by a guest');
  assert.equal(put.code, 0, put.stderr);
  await arrives(it, 'a.txt', 'by a guest');
  const status = await isobar(it.configFile, ['status', '--json']);
  assert.equal(status.code, 0, status.stderr);
  const report = JSON.parse(status.stdout) as { sites: { site: string; state: string }[] };
  assert.deepEqual(
    report.sites.map(({ site }) => site),
    names,
  );
  await writeFile(join(it.folder('gcp'), 'b.txt'), 'native');
  const sync = await isobar(it.configFile, ['sync', 'photos', '--json']);
  assert.equal(sync.code, 0, sync.stderr);
  for (const site of names) assert.equal(await textIn(it.folder(site), 'b.txt'), 'native', site);
  assert.equal((await isobar(it.configFile, ['rm', 'photos', 'a.txt'])).code, 0);
  await arrives(it, 'a.txt', undefined);
  assert.equal((await daemon.get('/livez')).status, 200);
});

test('Ctrl-C ends it with 130', async (t) => {
  const it = await place(t);
  const daemon = await it.run();
  assert.equal(await daemon.kill('SIGINT'), 130);
});

test('SIGTERM amid work: it ends by itself with 0, nothing is half done, and the next run goes on', async (t) => {
  const it = await place(t);
  const count = 500;
  for (let i = 0; i < count; i++) await writeFile(join(it.folder('aws'), `k-${i}`), `body ${i}`);
  const daemon = await it.run();
  while ((await readdir(it.folder('azure'))).length < 50) await systemWorld.sleep(10, signal);
  const begunMs = performance.now();
  assert.equal(await daemon.kill('SIGTERM'), 0);
  t.diagnostic(`ended after ${Math.round(performance.now() - begunMs)} ms`);
  t.diagnostic(`at azure by then: ${(await readdir(it.folder('azure'))).length - 1} of ${count}`);
  const next = await it.run();
  for (let i = 0; i < count; i++) await arrives(it, `k-${i}`, `body ${i}`);
  assert.equal(await next.kill('SIGTERM'), 0);
  const verify = await isobar(it.configFile, ['verify', 'photos', '--deep', '--json']);
  assert.equal(verify.code, 0, verify.stdout + verify.stderr);
});
