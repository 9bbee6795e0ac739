import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request, type Server } from 'node:http';
import { after, afterEach, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { FaultProxy } from './fault-proxy.ts';

let server: Server;
let proxy: FaultProxy;
/** Bodies that reached the server, in order. */
const taken: string[] = [];
const answer = 'x'.repeat(10_000);

before(async () => {
  server = createServer((incoming, outgoing) => {
    let body = '';
    incoming.on('data', (piece) => {
      body += String(piece);
    });
    incoming.on('end', () => {
      taken.push(body);
      outgoing.end(answer);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  proxy = await FaultProxy.before({ port: typeof address === 'object' && address ? address.port : 0 });
});

afterEach(async () => {
  await proxy.heal();
  taken.length = 0;
});

after(async () => {
  await proxy.stop();
  server.close();
});

/** Resolves with the answer; rejects with the code of what broke. */
function post(body: string, signal?: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const outgoing = request(proxy.endpoint, { method: 'POST', agent: false, ...(signal ? { signal } : {}) });
    outgoing.on('error', reject);
    outgoing.on('response', (incoming) => {
      let text = '';
      incoming.on('data', (piece) => {
        text += String(piece);
      });
      incoming.on('error', reject);
      incoming.on('end', () => resolve(text));
    });
    outgoing.end(body);
  });
}

test('without a cut everything passes', async () => {
  assert.equal(await post('hello'), answer);
  assert.deepEqual(taken, ['hello']);
});

test('refuse: nobody listens, and what was open breaks; healed it is the same address', async () => {
  await proxy.cut({ kind: 'blackhole' });
  const open = assert.rejects(post('open'), { code: 'ECONNRESET' });
  await sleep(50);
  await proxy.cut({ kind: 'refuse' });
  await open;
  await assert.rejects(post('new'), { code: 'ECONNREFUSED' });
  assert.deepEqual(taken, []);
  await proxy.heal();
  assert.equal(await post('again'), answer);
});

test('reset: in the middle of the request the server never sees it whole', async () => {
  await proxy.cut({ kind: 'reset', afterBytes: 200 });
  await assert.rejects(post('y'.repeat(5_000)), { code: /ECONNRESET|EPIPE/ });
  assert.deepEqual(taken, []);
});

test('reset: in the middle of the answer the request has taken effect', async () => {
  await proxy.cut({ kind: 'reset', afterBytes: 3_000 });
  await assert.rejects(post('done'), { code: 'ECONNRESET' });
  assert.deepEqual(taken, ['done']);
});

test('blackhole: nothing passes, and after it is healed what was sent arrives', async () => {
  await proxy.cut({ kind: 'blackhole' });
  const answered = post('late');
  assert.equal(await Promise.race([answered, sleep(150, 'silence')]), 'silence');
  assert.deepEqual(taken, []);
  await proxy.heal();
  assert.equal(await answered, answer);
});

test('blackhole: the request of a client that gave up takes effect late', async () => {
  await proxy.cut({ kind: 'blackhole' });
  await assert.rejects(post('abandoned', AbortSignal.timeout(100)), { name: 'AbortError' });
  await proxy.heal();
  for (let waitedMs = 0; taken.length === 0 && waitedMs < 5_000; waitedMs += 20) await sleep(20);
  assert.deepEqual(taken, ['abandoned']);
});
