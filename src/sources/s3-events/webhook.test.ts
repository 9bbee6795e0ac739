import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import type { Change } from '../../model/change.ts';
import { s3Webhook, type WebhookSettings } from './webhook.ts';

const nowMs = Date.parse('2026-01-02T03:04:05Z');

interface Receiver {
  readonly url: string;
  readonly accepted: Change[];
  refuse: boolean;
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

async function receiver(t: TestContext, settings: Partial<WebhookSettings> = {}): Promise<Receiver> {
  const stop = new AbortController();
  const listening = Promise.withResolvers<string>();
  const source = s3Webhook({
    dataset: 'photos',
    site: 'aws',
    bucket: 'bucket',
    prefix: '',
    host: '127.0.0.1',
    port: 0,
    path: '/events',
    nowMs: () => nowMs,
    listening: listening.resolve,
    ...settings,
  });
  const accepted: Change[] = [];
  const watched = source.watch(async (changes) => {
    if (it.refuse) throw new Error('the bus is full');
    accepted.push(...changes);
  }, stop.signal);
  t.after(async () => {
    stop.abort();
    await watched;
  });
  const it: Receiver = { url: await listening.promise, accepted, refuse: false };
  return it;
}

async function post(url: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const answer = await fetch(url, { method: 'POST', body: text, headers });
  return { status: answer.status, text: await answer.text() };
}

function record(
  key: string,
  more: { bucket?: string; eTag?: string; sequencer?: string; eventTime?: string } = {},
) {
  const { bucket = 'bucket', eventTime, ...object } = more;
  return {
    eventVersion: '2.2',
    eventName: 'ObjectCreated:Put',
    ...(eventTime === undefined ? {} : { eventTime }),
    s3: { bucket: { name: bucket }, object: { key, ...object } },
  };
}

const of = (...records: unknown[]) => ({ Records: records });

test('keys are form-encoded: a plus is a blank', async (t) => {
  const it = await receiver(t);
  const keys = ['a+b%2F', 'plain/x.jpg', '%C3%A9+b%2Bc', '100%', 'a%00b'];
  assert.deepEqual(await post(it.url, of(...keys.map((key) => record(key)))), { status: 200, text: 'ok\n' });
  assert.deepEqual(
    it.accepted.map(({ key }) => key),
    ['a b/', 'plain/x.jpg', 'é b+c', '100%', 'a\0b'],
  );
});

test('a notice is a change without a version, at the site, with the time of the event', async (t) => {
  const it = await receiver(t);
  await post(it.url, of(record('a', { eTag: 'e', sequencer: '0A', eventTime: '2026-01-02T03:04:00.500Z' })));
  const [{ id, ...change } = { id: '' }] = it.accepted;
  assert.match(id, /^[\w-]{22}$/);
  assert.deepEqual(change, { dataset: 'photos', site: 'aws', key: 'a', atMs: nowMs - 4_500 });
});

test('a time in the future or none at all is now', async (t) => {
  const it = await receiver(t);
  await post(
    it.url,
    of(record('a', { eventTime: '2099-01-01T00:00:00Z' }), record('b', { eventTime: 'soon' })),
  );
  assert.deepEqual(
    it.accepted.map(({ atMs }) => atMs),
    [nowMs, nowMs],
  );
});

test('the same notice twice has one id, another write of the key another', async (t) => {
  const it = await receiver(t);
  const ids = ['01', '01', '02'].map((sequencer) => record('a', { eTag: 'e', sequencer }));
  await post(it.url, of(...ids));
  const [first, again, other] = it.accepted.map(({ id }) => id);
  assert.equal(first, again);
  assert.notEqual(first, other);
});

test('the prefix of the site is stripped, and what lies outside is not its own', async (t) => {
  const it = await receiver(t, { prefix: 'team-a/' });
  await post(
    it.url,
    of(record('team-a/x'), record('team-b/x'), record('team-a/'), record('team-a/.isobar/site')),
  );
  assert.deepEqual(
    it.accepted.map(({ key }) => key),
    ['x'],
  );
});

const ignored: Readonly<Record<string, unknown>> = {
  'another bucket': of(record('a', { bucket: 'other' })),
  'a reserved key': of(record('.isobar/site')),
  'an empty key': of(record('')),
  'a key that no cloud takes': of(record('k'.repeat(1025))),
  'half of a surrogate pair': of(record('\ud800')),
  "Amazon's test event": { Service: 'Amazon S3', Event: 's3:TestEvent', Bucket: 'bucket' },
  'no records': of(),
  'an empty body': '',
  'records of other kinds': of(null, 1, 'x', [], {}, { s3: null }, { s3: { object: { key: 7 } } }),
};

for (const [what, body] of Object.entries(ignored)) {
  test(`taken and ignored: ${what}`, async (t) => {
    const it = await receiver(t);
    assert.equal((await post(it.url, body)).status, 200);
    assert.deepEqual(it.accepted, []);
  });
}

test('what is no notification is refused', async (t) => {
  const it = await receiver(t);
  for (const body of ['not JSON', '{', '7', 'null', '"x"'])
    assert.equal((await post(it.url, body)).status, 400, body);
  assert.equal((await fetch(it.url)).status, 405);
  assert.equal((await post(it.url.replace('/events', '/'), of(record('a')))).status, 404);
  assert.deepEqual(it.accepted, []);
});

test('without the right token nothing is taken', async (t) => {
  const it = await receiver(t, { secret: 'open-sesame' });
  for (const query of ['', '?token=', '?token=open', '?token=open-sesamf']) {
    assert.equal((await post(`${it.url}${query}`, of(record('a')))).status, 403, query);
  }
  assert.equal((await post(it.url, of(record('a')), { authorization: 'Bearer wrong' })).status, 403);
  assert.deepEqual(it.accepted, []);
  assert.equal((await post(`${it.url}?token=open-sesame`, of(record('a')))).status, 200);
  assert.equal((await post(it.url, of(record('b')), { authorization: 'Bearer open-sesame' })).status, 200);
  assert.equal(it.accepted.length, 2);
});

test('503 until the notices are durable, so that the sender sends again', async (t) => {
  const it = await receiver(t);
  it.refuse = true;
  const { status, text } = await post(it.url, of(record('a')));
  assert.equal(status, 503);
  assert.doesNotMatch(text, /bus/);
  it.refuse = false;
  assert.equal((await post(it.url, of(record('a')))).status, 200);
  assert.equal(it.accepted.length, 1);
});

test('a body of 100 MB is refused without being kept, and the connection lives on', async (t) => {
  const it = await receiver(t);
  const { hostname, port, pathname } = new URL(it.url);
  const socket = connect(Number(port), hostname);
  t.after(() => socket.destroy());
  let answers = '';
  socket.setEncoding('utf8').on('data', (text: string) => {
    answers += text;
  });
  const send = (bytes: Buffer | string) =>
    new Promise<void>((resolve) => socket.write(bytes, () => resolve()));
  const head = (bytes: number) => `POST ${pathname} HTTP/1.1\r\nhost: x\r\ncontent-length: ${bytes}\r\n\r\n`;
  const piece = Buffer.alloc(256 * 1024, ' ');
  const pieces = 400;
  await send(head(pieces * piece.length));
  for (let sent = 0; sent < pieces; sent++) {
    // Refused long before the end: what comes after that cannot matter.
    while (sent === 8 && answers === '') await new Promise((resolve) => socket.once('data', resolve));
    await send(piece);
  }
  const small = JSON.stringify(of(record('a')));
  await send(`${head(small.length)}${small}`);
  while (!answers.includes('200 OK')) await new Promise((resolve) => socket.once('data', resolve));
  assert.match(answers, /^HTTP\/1.1 413 /);
  assert.equal(it.accepted.length, 1);
});

test('it ends when it is told to, with a request under way', async () => {
  const stop = new AbortController();
  const listening = Promise.withResolvers<string>();
  const source = s3Webhook({
    dataset: 'photos',
    site: 'aws',
    bucket: 'bucket',
    prefix: '',
    host: '127.0.0.1',
    port: 0,
    path: '/',
    nowMs: () => nowMs,
    listening: listening.resolve,
  });
  const watched = source.watch(() => new Promise(() => {}), stop.signal);
  const answer = post(await listening.promise, of(record('a'))).then(
    () => 'answered',
    () => 'closed',
  );
  await new Promise((resolve) => setTimeout(resolve, 100));
  stop.abort();
  await watched;
  assert.equal(await answer, 'closed');
});
