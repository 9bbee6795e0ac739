import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { Agent, type IncomingMessage, request as nodeRequest } from 'node:http';
import { test } from 'node:test';
import { cut, startRawServer, writeInPieces } from '../../../test/servers/raw-http.ts';
import { bytesOf, HttpClient, type HttpRequest } from './send.ts';

// Random valid answers, read by our client and by Node's own: both must see the same.

interface Answer {
  readonly method: 'GET' | 'HEAD' | 'PUT';
  readonly pieces: readonly Uint8Array[];
  readonly endsConnection: boolean;
}

interface Seen {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

const patient = new AbortController().signal;
const oneOf = <T>(...choices: readonly T[]): T => choices[randomInt(choices.length)]!;
const times = <T>(most: number, make: () => T): T[] => Array.from({ length: randomInt(most + 1) }, make);

const letters = 'abcXYZ019-_.!~';
const visible = `${letters} \t"=;,:/<>\xe9\xff\xa0`;
const textOf = (alphabet: string, most: number) => times(most, () => oneOf(...alphabet)).join('');
const bodyText = () =>
  oneOf('', textOf(visible, 40), '\r\n0\r\n\r\n'.repeat(randomInt(3)), 'x'.repeat(randomInt(70_000)));

function headerLine(): string {
  const name = `x-${textOf('abcXYZ019-', 5)}`;
  return `${name}:${textOf(' \t', 3)}${textOf(visible, 12)}${textOf(' \t', 3)}\r\n`;
}

function chunked(body: string): string {
  let wire = '';
  for (let at = 0; at < body.length; ) {
    const chunk = body.slice(at, at + randomInt(1, 9_000));
    at += chunk.length;
    const size = oneOf(chunk.length.toString(16), chunk.length.toString(16).toUpperCase().padStart(5, '0'));
    wire += `${size}${oneOf('', ';a', ';a=b;c="d"')}\r\n${chunk}\r\n`;
  }
  return `${wire}0\r\n${times(2, headerLine).join('')}\r\n`;
}

function randomAnswer(): Answer {
  const method = oneOf('GET', 'GET', 'GET', 'HEAD', 'PUT');
  const status = oneOf(200, 200, 200, 404, 503, 204, 304);
  const version = oneOf('1.1', '1.1', '1.0');
  const framing = version === '1.0' ? oneOf('sized', 'close') : oneOf('sized', 'chunked', 'close');
  const hasBody = method !== 'HEAD' && status !== 204 && status !== 304;
  const body = bodyText();
  const interim =
    method === 'PUT' ? times(2, () => `HTTP/1.1 ${oneOf('100 Continue', '102 Wait')}\r\n\r\n`) : [];
  const told = {
    sized: `${oneOf('Content-Length', 'content-length')}: ${oneOf('', ' ', ' \t')}${body.length}\r\n`,
    chunked: `Transfer-Encoding: ${oneOf('chunked', 'Chunked')}\r\n`,
    close: '',
  }[status === 204 ? 'close' : framing];
  const lines = [told, ...times(6, headerLine), oneOf('', '', 'Connection: close\r\n')];
  const head = `HTTP/${version} ${status}${oneOf('', ' ', ' OK', ` ${textOf('abc ', 9)}`)}\r\n`;
  const sent = hasBody ? (framing === 'chunked' ? chunked(body) : body) : '';
  const wire = Buffer.from(`${interim.join('')}${head}${lines.join('')}\r\n${sent}`, 'latin1');
  const cuts = times(8, () => randomInt(wire.length)).sort((a, b) => a - b);
  return { method, pieces: cut(wire, cuts), endsConnection: hasBody && framing === 'close' };
}

async function seenByUs(client: HttpClient, request: HttpRequest): Promise<Seen> {
  const answer = await client.send(request, patient);
  const body = Buffer.from(await bytesOf(answer, patient)).toString('latin1');
  return { status: answer.status, headers: { ...answer.headers }, body };
}

async function seenByNode(agent: Agent, { method, origin, path }: HttpRequest): Promise<Seen> {
  const sent = nodeRequest(`${origin}${path}`, { method, agent, headers: { 'content-length': '0' } }).end();
  const [answer] = (await once(sent, 'response')) as [IncomingMessage];
  const body = Buffer.concat(await Array.fromAsync(answer)).toString('latin1');
  const headers: Record<string, string> = {};
  for (let at = 0; at < answer.rawHeaders.length; at += 2) {
    const name = answer.rawHeaders[at]!.toLowerCase();
    const value = answer.rawHeaders[at + 1]!;
    headers[name] = name in headers ? `${headers[name]}, ${value}` : value;
  }
  return { status: answer.statusCode!, headers, body };
}

test('random valid answers are to us what they are to node:http', async () => {
  const answers = Array.from({ length: 800 }, randomAnswer);
  await using server = await startRawServer(async ({ next, socket }) => {
    for (let asked = await next(); asked; asked = await next()) {
      const { pieces, endsConnection } = answers[Number(asked.path.slice(1))]!;
      await writeInPieces(socket, pieces);
      if (endsConnection) socket.end();
    }
  });
  const client = new HttpClient();
  const agent = new Agent({ keepAlive: true });
  for (const [nth, { method, pieces }] of answers.entries()) {
    const request = { method, origin: server.origin, path: `/${nth}`, headers: {} };
    const wire = Buffer.concat(pieces).toString('latin1').slice(0, 2_000);
    const theirs = await seenByNode(agent, request).catch((error: Error) =>
      assert.fail(`${error.message}: ${wire}`),
    );
    assert.deepEqual({ ...(await seenByUs(client, request)), wire }, { ...theirs, wire });
  }
  agent.destroy();
  await client.close();
});
