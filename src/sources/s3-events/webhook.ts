import { timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Change } from '../../model/change.ts';
import { keyProblem } from '../../model/key.ts';
import { derivedOperation, type SiteId } from '../../model/version.ts';
import type { ChangeSource } from '../../ports/change-source.ts';

export interface WebhookSettings {
  readonly dataset: string;
  readonly site: SiteId;
  readonly bucket: string;
  /** Key prefix of the site, stripped from the keys of the events. */
  readonly prefix: string;
  readonly host: string;
  readonly port: number;
  readonly path: string;
  /** Expected as `?token=` or as a bearer token. */
  readonly secret?: string;
  readonly nowMs: () => number;
  /** Called with the URL once it listens. */
  readonly listening?: (url: string) => void;
}

/** Larger bodies are refused: 413. Real notifications carry one to a few records. */
const maxBodyBytes = 1024 * 1024;

/**
 * Takes S3 event notifications by HTTP POST, as Ceph, MinIO and other S3-compatible servers push them:
 * `{ Records: [{ eventName, s3: { bucket: { name }, object: { key, eTag, sequencer } } }] }`, keys URL-encoded.
 * Answers 200 only when the notices are durable, so that the server sends again what was not.
 */
export function s3Webhook(settings: WebhookSettings): ChangeSource {
  return {
    async watch(accept, signal) {
      const server = createServer((request, response) => {
        void answer(settings, accept, request, response);
      });
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(settings.port, settings.host, resolve);
      });
      const address = server.address();
      const port = typeof address === 'object' && address ? address.port : settings.port;
      settings.listening?.(`http://${settings.host}:${port}${settings.path}`);
      await new Promise<void>((resolve) => {
        if (signal.aborted) resolve();
        else signal.addEventListener('abort', () => resolve(), { once: true });
      });
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function answer(
  settings: WebhookSettings,
  accept: (changes: readonly Change[]) => Promise<void>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const end = (status: number, text: string) => response.writeHead(status).end(`${text}\n`);
  try {
    const url = new URL(request.url ?? '/', 'http://localhost');
    if (url.pathname !== settings.path) return void end(404, 'no such path');
    if (!authorized(settings, request, url)) return void end(403, 'the token is missing or wrong');
    if (request.method !== 'POST') return void end(405, 'POST an S3 event notification here');
    const body = await bodyOf(request);
    if (body === undefined) return void end(413, `more than ${maxBodyBytes} bytes`);
    const changes = noticesIn(settings, body);
    if (changes === undefined) return void end(400, 'not an S3 event notification');
    if (changes.length > 0) await accept(changes);
    end(200, 'ok');
  } catch {
    end(503, 'not durable; send it again');
  }
}

function authorized(settings: WebhookSettings, request: IncomingMessage, url: URL): boolean {
  if (settings.secret === undefined) return true;
  const given = url.searchParams.get('token') ?? request.headers.authorization?.replace(/^Bearer /, '') ?? '';
  const [a, b] = [Buffer.from(given), Buffer.from(settings.secret)];
  return a.length === b.length && timingSafeEqual(a, b);
}

/**
 * Undefined: too large. The rest is then read and thrown away, so that the sender takes the answer: a connection
 * that closes would look like a failure, and be tried again for ever.
 */
function bodyOf(request: IncomingMessage): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const pieces: Buffer[] = [];
    let bytes = 0;
    request.on('data', (piece: Buffer) => {
      bytes += piece.length;
      if (bytes <= maxBodyBytes) pieces.push(piece);
      else {
        pieces.length = 0;
        resolve(undefined);
      }
    });
    request.on('end', () => resolve(Buffer.concat(pieces).toString('utf8')));
    request.on('error', reject);
    request.on('close', () => reject(new Error('the sender went away')));
  });
}

interface S3Record {
  readonly eventTime?: string;
  readonly s3?: {
    readonly bucket?: { readonly name?: string };
    readonly object?: { readonly key?: string; readonly eTag?: string; readonly sequencer?: string };
  };
}

/** Undefined: not a notification. Some servers send a single record, or an empty test message. */
export function noticesIn(settings: WebhookSettings, body: string): Change[] | undefined {
  let parsed: { Records?: unknown; Event?: unknown };
  try {
    parsed = body.trim() === '' ? {} : JSON.parse(body);
  } catch {
    return undefined;
  }
  if (typeof parsed !== 'object' || parsed === null) return undefined;
  const records = Array.isArray(parsed.Records) ? (parsed.Records as (S3Record | null)[]) : [];
  return records.flatMap((record) => (record && noticeOf(settings, record)) ?? []);
}

function noticeOf(settings: WebhookSettings, { eventTime, s3 }: S3Record): Change | undefined {
  const encoded = s3?.object?.key;
  if (typeof encoded !== 'string' || s3?.bucket?.name !== settings.bucket) return undefined;
  const whole = decode(encoded);
  if (!whole.startsWith(settings.prefix)) return undefined;
  const key = whole.slice(settings.prefix.length);
  if (keyProblem(key) !== undefined) return undefined;
  const { site, dataset } = settings;
  const atMs = Math.min(Date.parse(eventTime ?? '') || settings.nowMs(), settings.nowMs());
  const id = derivedOperation(site, key, `${s3.object?.eTag ?? ''}`, `${s3.object?.sequencer ?? atMs}`);
  return { id, dataset, site, key, atMs };
}

/** Keys come form-encoded: `+` is a space. */
function decode(key: string): string {
  try {
    return decodeURIComponent(key.replaceAll('+', '%20'));
  } catch {
    return key;
  }
}
