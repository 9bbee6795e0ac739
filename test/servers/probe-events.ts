import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { subscribeQueue } from './ministack.ts';
import { expectEqual, type Finding, runChecks } from './probe.ts';
import { encode, send, signS3 } from './request.ts';
import type { RunningServer, S3SiteConfig } from './running.ts';
import { type ServerName, startServer } from './start.ts';

interface EventRecord {
  readonly eventName: string;
  readonly s3: {
    readonly bucket: { name: string };
    readonly object: { key: string; eTag?: string; size?: number; sequencer?: string; versionId?: string };
  };
}

interface Arrived {
  readonly record: EventRecord;
  readonly atMs: number;
}

/** A receiver of webhooks that can be made to refuse. */
interface Receiver {
  readonly url: string;
  readonly arrived: Arrived[];
  refuse: boolean;
  close(): void;
}

/** Where a server's events come out: pushed to us, or polled from its queue. */
export async function probeEvents(name: ServerName, webhookQueue = false): Promise<Finding[]> {
  const receiver = await startReceiver();
  const server = (await startServer(name, {
    webhookUrl: receiver.url,
    webhookQueue,
  })) as RunningServer<S3SiteConfig>;
  let poll: Promise<void> | undefined;
  const stopped = new AbortController();
  try {
    const bucket = await server.newBucket();
    if (name === 'ministack') {
      const queue = await subscribeQueue(server, bucket);
      poll = pollQueue(server.siteConfig(bucket), queue, receiver, stopped.signal);
    }
    return await checkEvents(server.siteConfig(bucket), receiver);
  } finally {
    stopped.abort();
    await poll?.catch(() => undefined);
    await server.stop();
    receiver.close();
  }
}

async function checkEvents(site: S3SiteConfig, receiver: Receiver): Promise<Finding[]> {
  const call = async (
    method: string,
    key: string,
    query = '',
    body = '',
    headers: Record<string, string> = {},
  ) => {
    const path = key.split('/').map(encode).join('/');
    return send(
      signS3({ method, url: `${site.endpoint}/${site.bucket}/${path}${query}`, body, headers }, site),
    );
  };
  const next = async (
    change: () => Promise<unknown>,
    timeoutMs = 5_000,
  ): Promise<Arrived & { sentMs: number }> => {
    const before = receiver.arrived.length;
    const sentMs = performance.now();
    await change();
    while (performance.now() - sentMs < timeoutMs) {
      const arrived = receiver.arrived[before];
      if (arrived !== undefined) return { ...arrived, sentMs };
      await sleep(1);
    }
    throw new Error(`no event in ${timeoutMs} ms`);
  };
  const shown = ({ record }: Arrived) =>
    `${record.eventName} ${record.s3.object.key} ${record.s3.object.eTag?.replaceAll('"', '')}`;
  const md5OfX = '9dd4e461268c8034f5c8564e155c67a6';
  return runChecks([
    [
      'PutObject: name, key, eTag',
      async () =>
        expectEqual(shown(await next(() => call('PUT', 'a/b', '', 'x'))), `ObjectCreated:Put a/b ${md5OfX}`),
    ],
    [
      'key as in a form: blank as +, others percent-encoded',
      async () =>
        expectEqual((await next(() => call('PUT', 'é b+c', '', 'x'))).record.s3.object.key, '%C3%A9+b%2Bc'),
    ],
    [
      'CopyObject',
      async () => {
        const copied = await next(() =>
          call('PUT', 'copied', '', '', { 'x-amz-copy-source': `/${site.bucket}/a/b` }),
        );
        return expectEqual(shown(copied), `ObjectCreated:Copy copied ${md5OfX}`);
      },
    ],
    [
      'CompleteMultipartUpload',
      async () => {
        const id = /<UploadId>([^<]*)</.exec((await call('POST', 'mp', '?uploads')).text)?.[1] ?? '';
        const part = await call('PUT', 'mp', `?partNumber=1&uploadId=${encode(id)}`, 'x');
        const list = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${part.headers.etag}</ETag></Part></CompleteMultipartUpload>`;
        const done = await next(() => call('POST', 'mp', `?uploadId=${encode(id)}`, list));
        return expectEqual(
          `${done.record.eventName} ${done.record.s3.object.key} ${/-1"?$/.test(done.record.s3.object.eTag ?? '')}`,
          'ObjectCreated:CompleteMultipartUpload mp true',
        );
      },
    ],
    [
      'DeleteObject',
      async () => {
        const { record } = await next(() => call('DELETE', 'a/b'));
        return expectEqual(`${record.eventName} ${record.s3.object.key}`, 'ObjectRemoved:Delete a/b');
      },
    ],
    [
      'sequencer grows for 50 writes of one key',
      async () => {
        const from = receiver.arrived.length;
        for (let i = 0; i < 50; i++) await call('PUT', 'grow', '', String(i));
        for (let waited = 0; receiver.arrived.length < from + 50 && waited < 200; waited++) await sleep(25);
        const sequencers = receiver.arrived.slice(from).map(({ record }) => record.s3.object.sequencer ?? '');
        const width = Math.max(...sequencers.map((s) => s.length));
        const padded = sequencers.map((s) => s.padEnd(width, '0'));
        const sorted = [...padded].sort();
        const order = padded.every((s, i) => s === sorted[i]) ? 'in order' : 'out of order';
        const lengths = [...new Set(sequencers.map((s) => s.length))];
        const distinct = new Set(padded).size;
        return distinct === 50 && lengths.length === 1
          ? `yes (${sequencers.at(-1)}; arrived ${order})`
          : `no: ${distinct} distinct of ${sequencers.length}, lengths ${lengths}`;
      },
    ],
    [
      'delay from the start of the write to the event, median of 9',
      async () => {
        const delays: number[] = [];
        for (let i = 0; i < 9; i++) {
          const event = await next(() => call('PUT', 'delay', '', String(i)));
          delays.push(event.atMs - event.sentMs);
        }
        return `${delays.sort((a, b) => a - b)[4]?.toFixed(1)} ms`;
      },
    ],
    [
      'receiver refuses (503) for 2 s: the event comes later',
      async () => {
        receiver.refuse = true;
        const event = next(() => call('PUT', 'later', '', 'x'), 15_000);
        await sleep(2_000);
        receiver.refuse = false;
        const { atMs, sentMs } = await event;
        return `yes, after ${((atMs - sentMs) / 1000).toFixed(1)} s`;
      },
    ],
  ]);
}

async function startReceiver(): Promise<Receiver> {
  const arrived: Arrived[] = [];
  const server = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    request.on('end', () => {
      if (receiver.refuse) return void response.writeHead(503).end();
      take(text, arrived);
      response.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const receiver: Receiver = {
    url,
    arrived,
    refuse: false,
    close: () => void server.close().closeAllConnections(),
  };
  return receiver;
}

function take(text: string, arrived: Arrived[]): void {
  // Test events, such as versitygw's at its start, carry no records.
  const { Records = [] } = JSON.parse(text || '{}') as { Records?: EventRecord[] };
  for (const record of Records) arrived.push({ record, atMs: performance.now() });
}

/** While the receiver refuses, messages stay in the queue. */
async function pollQueue(
  site: S3SiteConfig,
  queue: string,
  receiver: Receiver,
  signal: AbortSignal,
): Promise<void> {
  const sqs = async (parameters: Record<string, string>) => {
    const body = new URLSearchParams({ Version: '2012-11-05', QueueUrl: queue, ...parameters }).toString();
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    return (
      await send(
        signS3({ method: 'POST', url: `${site.endpoint}/`, headers, body }, { ...site, service: 'sqs' }),
      )
    ).text;
  };
  while (!signal.aborted) {
    if (receiver.refuse) {
      await sleep(50);
      continue;
    }
    const xml = await sqs({ Action: 'ReceiveMessage', MaxNumberOfMessages: '10', WaitTimeSeconds: '1' });
    for (const [, message = ''] of xml.matchAll(/<Message>([\s\S]*?)<\/Message>/g)) {
      const body = /<Body>([\s\S]*?)<\/Body>/.exec(message)?.[1] ?? '';
      take(
        body.replaceAll('&quot;', '"').replaceAll('&#34;', '"').replaceAll('&amp;', '&'),
        receiver.arrived,
      );
      const handle = /<ReceiptHandle>([\s\S]*?)<\/ReceiptHandle>/.exec(message)?.[1] ?? '';
      await sqs({ Action: 'DeleteMessage', ReceiptHandle: handle });
    }
  }
}
