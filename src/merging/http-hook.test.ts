import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { StoreFailure } from '../model/failure.ts';
import { noMetadata } from '../model/metadata.ts';
import { systemWorld } from '../system-world.ts';
import { bytes, rawSide, text, versionAt } from '../testing/merging.ts';
import { askHook, type HookRequest, hookLimits, mergedBy, moduleTransport } from './hook.ts';
import { httpTransport } from './http-hook.ts';
import { limits } from './rule.ts';

const origin = versionAt('aws.1', 100);
const winner = rawSide(versionAt('gcp.1', 300, origin), 'of gcp');
const loser = rawSide(versionAt('aws.2', 200, origin), 'of aws', { contentType: 'text/plain' });
const ids = [winner, loser].map((side) => side.version.operation);

const request: HookRequest = {
  dataset: 'photos',
  key: 'a/b',
  sides: [
    { ...winner, size: 6 },
    { ...loser, size: 6 },
  ],
};

type Answering = (request: IncomingMessage, response: ServerResponse, body: string) => void;

/** A server on a free port; `asked` holds what it got. */
async function served(t: TestContext, answer: Answering): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = [];
  const server = createServer(async (incoming, response) => {
    const body = Buffer.concat(await Array.fromAsync(incoming)).toString();
    asked.push(body);
    answer(incoming, response, body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/merge`, asked };
}

const saying =
  (answer: unknown): Answering =>
  (_, response) => {
    response.end(typeof answer === 'string' ? answer : JSON.stringify(answer));
  };

/** Pauses between attempts take no time; the deadline is real. */
function patience(timeoutMs = 5_000, signal = new AbortController().signal) {
  const pauses: number[] = [];
  const sleep = (ms: number, until: AbortSignal) => {
    if (ms === timeoutMs) return systemWorld.sleep(ms, until);
    pauses.push(ms);
    return Promise.resolve();
  };
  return { world: { sleep, random: () => 0.5 }, timeoutMs, signal, pauses };
}

test('the endpoint gets both versions and decides', async (t) => {
  const { url, asked } = await served(t, saying({ outcome: 'pick', version: loser.version.operation }));
  const outcome = await askHook(request, httpTransport(url), patience());
  assert.deepEqual(outcome, { kind: 'pick', id: 'op aws.2' });
  const sent = JSON.parse(asked[0]!);
  assert.deepEqual(sent, {
    isobar: 1,
    dataset: 'photos',
    key: 'a/b',
    versions: [
      {
        id: 'op gcp.1',
        stamp: winner.version.stamp,
        site: 'gcp',
        size: 6,
        metadata: noMetadata,
        body: 'b2YgZ2Nw',
      },
      {
        id: 'op aws.2',
        stamp: loser.version.stamp,
        site: 'aws',
        size: 6,
        metadata: loser.metadata,
        body: 'b2YgYXdz',
      },
    ],
  });
  const merged = mergedBy(outcome, winner, loser);
  assert.deepEqual(merged && [text(merged.body), merged.metadata.contentType], ['of aws', 'text/plain']);
  assert.deepEqual(merged && [merged.dropped, merged.droppedOfWinner], [[], ['']]);
});

test('it may write a body and metadata of its own, keep both, or park', async (t) => {
  const metadata = { contentType: 'a/b', user: { owner: 'é' }, tags: {} };
  const body = Buffer.from('both').toString('base64');
  const { url } = await served(t, (_, response, asked) => {
    const answers = {
      one: { outcome: 'write', body, metadata },
      two: { outcome: 'keep-both' },
      three: { outcome: 'park', because: 'ask Ann' },
    };
    response.end(JSON.stringify(answers[JSON.parse(asked).key as 'one']));
  });
  const ask = (key: string) => askHook({ ...request, key }, httpTransport(url), patience());
  const written = await ask('one');
  const merged = mergedBy(written, winner, loser);
  assert.deepEqual(merged && [text(merged.body), merged.metadata], ['both', metadata]);
  assert.deepEqual(merged && [merged.dropped, merged.droppedOfWinner], [[''], ['']]);
  assert.equal(mergedBy(await ask('two'), winner, loser), undefined);
  await assert.rejects(ask('three'), unmerged(/it asked to park: "ask Ann"/));
});

test('a body above the limit is named, not sent', async (t) => {
  const { url, asked } = await served(t, saying({ outcome: 'keep-both' }));
  const body = new Uint8Array(hookLimits.inlineBytes + 1);
  const at = { site: 'gcp', key: 'a/b' };
  const large = { ...request.sides[0], body, size: body.length, at };
  const unread = {
    version: loser.version,
    size: 5 * 2 ** 30,
    metadata: noMetadata,
    at: { site: 'aws', key: 'a/b' },
  };
  await askHook({ ...request, sides: [large, unread] }, httpTransport(url), patience());
  const [first, second] = JSON.parse(asked[0]!).versions;
  assert.deepEqual([first.body, first.at, second.body, second.size], [undefined, at, undefined, 5 * 2 ** 30]);
});

function unmerged(why: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof StoreFailure && error.code === 'unmerged' && error.remedy === 'park');
    assert.match(error.message, why);
    return true;
  };
}

const megabytes = 'x'.repeat(hookLimits.answerBytes + 1);
const tooLarge = Buffer.alloc(limits.bodyBytes + 1).toString('base64');
const write = { outcome: 'write', body: 'YQ==' };

/** Answers that asking again does not mend: one attempt. */
const lies: Readonly<Record<string, readonly [answer: Answering, why: RegExp]>> = {
  'a version that is none of the two': [
    saying({ outcome: 'pick', version: 'op x' }),
    /"op x", which is none of the two: op gcp.1, op aws.2/,
  ],
  'no version': [saying({ outcome: 'pick' }), /"version" is absent/],
  'a name of an object': [saying({ outcome: '__proto__' }), /"outcome" is "__proto__", not "pick"/],
  'no outcome': [saying({}), /"outcome" is absent/],
  'an array': [saying([1]), /the answer is \[1\], not an object/],
  null: [saying('null'), /the answer is null, not an object/],
  'no JSON': [saying('<html>no</html>'), /not JSON, it begins with "<html>/],
  nothing: [saying(''), /not JSON/],
  'a field too many': [saying({ ...write, key: 'c' }), /unknown field, "key"/],
  'a body that is no base64': [saying({ outcome: 'write', body: 'a b' }), /not base64/],
  'a body that is no text': [saying({ outcome: 'write', body: 5 }), /"body" is 5/],
  'a body over the limit': [
    saying({ outcome: 'write', body: tooLarge }),
    /8388609 bytes long; the limit is 8388608/,
  ],
  'metadata that is a list': [saying({ ...write, metadata: [] }), /"metadata" is \[\], not an object/],
  'an unknown field of metadata': [saying({ ...write, metadata: { etag: 'x' } }), /unknown field, "etag"/],
  'a number among the metadata': [
    saying({ ...write, metadata: { user: { a: 1 } } }),
    /"metadata.user.a" is 1/,
  ],
  'a line break in the metadata': [
    saying({ ...write, metadata: { contentType: 'a\r\nb: c' } }),
    /without control characters/,
  ],
  'a version of its own': [
    saying({ ...write, metadata: { user: { isobar: '1;2' } } }),
    /a name that cannot be one: "isobar"/,
  ],
  'megabytes, announced': [saying(megabytes), /its answer is 12582913 bytes; the limit/],
  'megabytes, one after another': [
    (_, response) => {
      const pour = () => {
        while (response.write('y'.repeat(65_536)));
        response.once('drain', pour);
      };
      pour();
    },
    /its answer is longer; the limit is 12582912/,
  ],
  'a redirect': [
    (_, response) => response.writeHead(307, { location: '/merge?again' }).end(),
    /307; redirects are not followed/,
  ],
  'a refusal': [(_, response) => response.writeHead(403).end('no'), /answered 403 instead of 200/],
  'no content': [(_, response) => response.writeHead(204).end(), /answered 204/],
};

for (const [what, [answer, why]] of Object.entries(lies)) {
  test(`parked at once: an answer with ${what}`, async (t) => {
    const { url, asked } = await served(t, answer);
    const waiting = patience();
    await assert.rejects(askHook(request, httpTransport(url), waiting), unmerged(why));
    assert.equal(asked.length, 1);
    assert.deepEqual(waiting.pauses, []);
  });
}

const failing: Readonly<Record<string, readonly [answer: Answering, why: RegExp, timeoutMs?: number]>> = {
  'a 500': [(_, response) => response.writeHead(500).end(), /answered 500/],
  'a 429': [(_, response) => response.writeHead(429).end(), /answered 429/],
  'a broken connection': [(incoming) => incoming.socket.destroy(), /no answer/],
  'half an answer': [
    (_, response) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('{"outcome":', () => response.destroy());
    },
    /no answer/,
  ],
  'a hang': [() => undefined, /no answer within 100 ms/, 100],
  'a hang within the answer': [
    (_, response) => {
      response.writeHead(200);
      response.write('{');
    },
    /no answer within 100 ms/,
    100,
  ],
};

for (const [what, [answer, why, timeoutMs]] of Object.entries(failing)) {
  test(`asked ${hookLimits.attempts} times with growing pauses, then parked: ${what}`, async (t) => {
    const { url, asked } = await served(t, answer);
    const waiting = patience(timeoutMs);
    await assert.rejects(askHook(request, httpTransport(url), waiting), unmerged(why));
    assert.equal(asked.length, hookLimits.attempts);
    assert.deepEqual(waiting.pauses, [375, 750]);
  });
}

test('nobody listens: asked again, then parked with what the system said', async (t) => {
  const { url } = await served(t, saying({}));
  const dead = new URL(url);
  const free = createServer();
  await new Promise<void>((resolve) => free.listen(0, '127.0.0.1', resolve));
  dead.port = String((free.address() as AddressInfo).port);
  await new Promise((resolve) => free.close(resolve));
  const waiting = patience();
  await assert.rejects(
    askHook(request, httpTransport(dead.href), waiting),
    unmerged(/asked 3 times.*ECONNREFUSED/),
  );
  assert.equal(waiting.pauses.length, 2);
});

test('a 503 that passes does no harm', async (t) => {
  let times = 0;
  const { url, asked } = await served(t, (_, response) => {
    if (++times < 3) response.writeHead(503).end();
    else response.end('{"outcome":"keep-both"}');
  });
  assert.deepEqual(await askHook(request, httpTransport(url), patience()), { kind: 'keep-both' });
  assert.equal(asked.length, 3);
});

test('who gives up waiting is not told that the hook failed', async (t) => {
  const { url } = await served(t, () => undefined);
  const stop = new AbortController();
  const asking = askHook(request, httpTransport(url), patience(60_000, stop.signal));
  stop.abort(new Error('the daemon ends'));
  await assert.rejects(asking, /^Error: the daemon ends$/);
});

test('a module decides in the same words, and is held to the same', async () => {
  const transport = moduleTransport((asked) => ({
    outcome: 'pick',
    version: (asked as { versions: { id: string }[] }).versions[1]!.id,
  }));
  assert.deepEqual(await askHook(request, transport, patience()), { kind: 'pick', id: ids[1] });
  await assert.rejects(
    askHook(
      request,
      moduleTransport(() => undefined),
      patience(),
    ),
    unmerged(/not JSON/),
  );
  await assert.rejects(
    askHook(
      request,
      moduleTransport(() => new Promise(() => undefined)),
      patience(50),
    ),
    unmerged(/within 50 ms/),
  );
  const throwing = moduleTransport(() => {
    throw new TypeError('x is undefined');
  });
  await assert.rejects(askHook(request, throwing, patience()), unmerged(/asked 3 times.*x is undefined/));
});

test('without metadata a body of its own keeps those of the greater version', () => {
  const merged = mergedBy({ kind: 'write', body: bytes('x') }, winner, loser);
  assert.deepEqual(merged?.metadata, winner.metadata);
});
