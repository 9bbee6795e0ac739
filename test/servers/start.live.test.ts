import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startLatencyProxy } from './latency-proxy.ts';
import { startGroup, sweepLeftovers } from './process.ts';
import { type Request, send, signAzure, signS3 } from './request.ts';
import { available, availableServers, type RunningServer, type ServerName, startServer } from './start.ts';

/** Puts or gets an object with a body of three bytes, in the server's own language. */
async function call(
  server: RunningServer,
  bucket: string,
  method: 'PUT' | 'GET',
  base = server.endpoint,
): Promise<number> {
  const site = server.siteConfig(bucket);
  const body = method === 'PUT' ? 'abc' : '';
  const headers: Record<string, string> = method === 'PUT' ? { 'content-length': '3' } : {};
  let request: Request = { method, url: `${base}/${bucket}/key`, headers, body };
  if (site.kind === 's3') request = signS3(request, site);
  if (site.kind === 'azure') {
    const accountKey = /AccountKey=([^;]+)/.exec(site.connectionString)?.[1] ?? '';
    request = signAzure(
      { ...request, headers: { ...headers, 'x-ms-blob-type': 'BlockBlob' } },
      { account: 'isobartest', accountKey },
    );
  }
  if (site.kind === 'gcs') {
    const upload = {
      method: 'POST',
      url: `${base}/upload/storage/v1/b/${bucket}/o?uploadType=media&name=key`,
    };
    const download = { method, url: `${base}/storage/v1/b/${bucket}/o/key?alt=media` };
    request = { ...request, ...(method === 'PUT' ? upload : download) };
  }
  return (await send(request)).status;
}

/** Runs a script that starts a server and then waits; gives the server's pid and folder. */
async function startInChild(): Promise<{ child: ChildProcess; pid: number; folder: string }> {
  const script = `
    import { startServer } from ${JSON.stringify(join(import.meta.dirname, 'start.ts'))};
    const server = await startServer('gcs-memory');
    process.stdout.write(JSON.stringify({ pid: server.pid, folder: server.logFile.replace(/\\/[^/]*$/, '') }));
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const data = await new Promise<Buffer>((resolve) => child.stdout.once('data', resolve));
  return { child, ...(JSON.parse(data.toString()) as { pid: number; folder: string }) };
}

async function eventually(holds: () => boolean): Promise<boolean> {
  for (let i = 0; i < 200 && !holds(); i++) await sleep(25);
  return holds();
}

const isRunning = (pid: number): boolean =>
  existsSync(`/proc/${pid}/cmdline`) && readdirSync(`/proc/${pid}/fd`).length > 0;

for (const name of availableServers()) {
  describe(name, () => {
    test('gives a bucket, is paused and resumed, tells its CPU time, stops', async () => {
      const server = await startServer(name);
      try {
        const bucket = await server.newBucket();
        assert.ok([200, 201].includes(await call(server, bucket, 'PUT')));
        // In ticks of 10 ms: a quick server needs some work before it shows.
        while (server.cpuSeconds() === 0) await call(server, bucket, 'GET');
        server.pause();
        const answer = call(server, bucket, 'GET');
        assert.equal(await Promise.race([answer, sleep(200, 'silence')]), 'silence');
        server.resume();
        assert.equal(await answer, 200);
      } finally {
        await server.stop();
      }
      assert.equal(isRunning(server.pid), false);
    });
  });
}

const durable: readonly ServerName[] = ['versitygw', 'minio', 'azurite'];
for (const name of durable.filter((durableName) => availableServers().includes(durableName))) {
  test(`${name} has its data after a crash and a restart at the same port`, async () => {
    const dataDir = mkdtempSync(join(tmpdir(), 'isobar-test-data-'));
    let server = await startServer(name, { dataDir });
    try {
      const { port } = server;
      const bucket = await server.newBucket();
      const config = server.siteConfig(bucket);
      await call(server, bucket, 'PUT');
      // Azurite writes its index five seconds late.
      if (name === 'azurite') await sleep(6_000);
      await server.kill();
      await server.stop();
      server = await startServer(name, { dataDir, port });
      assert.deepEqual(server.siteConfig(bucket), config);
      assert.equal(await call(server, bucket, 'GET'), 200);
    } finally {
      await server.stop();
      rmSync(dataDir, { recursive: true });
    }
  });
}

describe('a server does not outlive its owner', () => {
  for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
    test(`when that gets ${signal}`, async () => {
      const { child, pid, folder } = await startInChild();
      assert.ok(isRunning(pid));
      child.kill(signal);
      assert.ok(await eventually(() => !isRunning(pid)), 'the server has ended');
      assert.ok(await eventually(() => !existsSync(folder)), 'its folder is gone');
    });
  }

  test('when the guard is killed as well: the next start sweeps', async () => {
    const { child, pid, folder } = await startInChild();
    for (const guard of childrenOf(child.pid)) if (guard !== pid) process.kill(guard, 'SIGKILL');
    child.kill('SIGKILL');
    await new Promise((resolve) => child.once('exit', resolve));
    await sleep(100);
    assert.ok(isRunning(pid), 'nobody has ended it');
    sweepLeftovers();
    assert.ok(await eventually(() => !isRunning(pid)), 'the server has ended');
    assert.equal(existsSync(folder), false);
  });
});

test('a sweep leaves the servers of living owners alone', async () => {
  const server = await startServer('gcs-memory');
  sweepLeftovers();
  assert.equal(await call(server, await server.newBucket(), 'PUT'), 200);
  await server.stop();
});

test('a start that fails tells the command and the end of the log', async () => {
  const start = startGroup({
    name: 'broken',
    launch: () => ({
      command: process.execPath,
      args: ['-e', 'console.log("no such thing as luck"); process.exit(3)'],
    }),
    ready: async () => false,
  });
  await assert.rejects(start, /broken: .*exited with 3 before it was ready[\s\S]*no such thing as luck/);
});

test('ten servers at once', async () => {
  const servers = await Promise.all(Array.from({ length: 10 }, () => startServer('gcs-memory')));
  assert.equal(new Set(servers.map((server) => server.port)).size, 10);
  await Promise.all(servers.map((server) => server.stop()));
});

test('a server of your own stands in for its kind', async () => {
  const config = { kind: 'gcs', bucket: 'mine', endpoint: 'http://127.0.0.1:1' } as const;
  process.env.ISOBAR_TEST_GCS = JSON.stringify(config);
  try {
    assert.ok((await available()).includes('gcs'));
    const server = await startServer('gcs');
    assert.deepEqual(server.siteConfig(await server.newBucket()), config);
    assert.throws(() => server.pause(), /server of your own/);
    await server.stop();
  } finally {
    delete process.env.ISOBAR_TEST_GCS;
  }
});

test('the latency proxy delays by a round trip and carries everything', async () => {
  const server = await startServer('gcs-memory');
  const proxy = await startLatencyProxy(server, 10);
  try {
    const bucket = await server.newBucket();
    const base = proxy.siteConfig(server.siteConfig(bucket)).endpoint;
    assert.equal(base, proxy.endpoint);
    await call(server, bucket, 'PUT', base);
    const start = performance.now();
    assert.equal(await call(server, bucket, 'GET', base), 200);
    const tookMs = performance.now() - start;
    assert.ok(tookMs >= 20 && tookMs < 200, `${tookMs} ms`);
  } finally {
    await proxy.stop();
    await server.stop();
  }
});

function childrenOf(parent: number | undefined): number[] {
  const pids = readdirSync('/proc').filter((pid) => /^\d+$/.test(pid));
  return pids.map(Number).filter((pid) => parentOf(pid) === parent);
}

function parentOf(pid: number): number | undefined {
  try {
    return Number(/\nPPid:\t(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]);
  } catch {
    return undefined;
  }
}
