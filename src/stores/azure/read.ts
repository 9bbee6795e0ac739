import { StoreFailure } from '../../model/failure.ts';
import type { ObjectHead, ObjectRead, ReadOptions, Token } from '../../ports/object-store.ts';
import { bytesOf, piecesOf, textOf } from '../http/send.ts';
import type { BlobRequest, Container } from './container.ts';
import { AzureError } from './failure.ts';
import { etagOf, headFromHeaders, tokenOf } from './head.ts';
import { parseTags } from './page.ts';

/** A key and the blob's name for it, with the site's prefix. */
export interface Named {
  readonly key: string;
  readonly name: string;
}

/** Undefined when absent. */
export async function headBlob(
  container: Container,
  named: Named,
  signal: AbortSignal,
): Promise<ObjectHead | undefined> {
  const request = { method: 'HEAD', name: named.name, what: `reading ${JSON.stringify(named.key)}` } as const;
  const answer = await container.send(request, signal);
  if (answer instanceof AzureError) return absentOr(container, answer, request);
  await answer.body.dump();
  return withTags(container, named, answer.headers, signal);
}

/** Undefined when absent; `changed` when `options.token` names another write. */
export async function readBlob(
  container: Container,
  named: Named,
  options: ReadOptions,
  signal: AbortSignal,
): Promise<ObjectRead | undefined> {
  const { token, range } = options;
  const match = token === undefined ? undefined : etagOf(token);
  if (token !== undefined && match === undefined) throw changed(container, named.key);
  if (range !== undefined && range.to <= range.from) return readNothing(container, named, token, signal);
  const request = {
    method: 'GET',
    name: named.name,
    headers: {
      ...(match === undefined ? {} : { 'if-match': match }),
      ...(range === undefined ? {} : { 'x-ms-range': `bytes=${range.from}-${range.to - 1}` }),
    },
    what: `reading ${JSON.stringify(named.key)}`,
  } as const;
  const answer = await container.send(request, signal);
  if (answer instanceof AzureError) {
    if (answer.status === 416) return readNothing(container, named, token, signal);
    if (answer.code !== 'ConditionNotMet') return absentOr(container, answer, request);
    // The service says the same of an absent blob.
    if ((await headBlob(container, named, signal)) === undefined) return undefined;
    throw changed(container, named.key, answer);
  }
  try {
    const { headers } = answer;
    const head =
      (range?.from ?? 0) === 0
        ? await withTags(container, named, headers, signal)
        : headFromHeaders(named.key, headers, container.where);
    return { head, body: piecesOf(answer, signal), bytes: (into) => bytesOf(answer, signal, into) };
  } catch (error) {
    answer.body.destroy();
    throw error;
  }
}

/** An empty range, or one beyond the end: no body, but the head must be that of the same object. */
async function readNothing(
  container: Container,
  named: Named,
  token: Token | undefined,
  signal: AbortSignal,
): Promise<ObjectRead | undefined> {
  const head = await headBlob(container, named, signal);
  if (head === undefined) return undefined;
  if (token !== undefined && tokenOf(token) !== head.token) throw changed(container, named.key);
  return { head, body: nothing(), bytes: async () => new Uint8Array(0) };
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

/** Index tags cost a request of their own, so they are asked for only where there are any. */
async function withTags(
  container: Container,
  named: Named,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<ObjectHead> {
  const head = headFromHeaders(named.key, headers, container.where);
  if (!container.usesTags || Number(headers['x-ms-tag-count'] ?? 0) === 0) return head;
  const request = {
    method: 'GET',
    name: named.name,
    query: { comp: 'tags' },
    // Not the tags of another write.
    headers: { 'x-ms-blob-if-match': `"${head.token}"` },
    what: `reading the tags of ${JSON.stringify(named.key)}`,
  } as const;
  const answer = await container.send(request, signal);
  if (answer instanceof AzureError) {
    const gone = answer.code === 'ConditionNotMet' || answer.code === 'BlobNotFound';
    throw gone ? changed(container, named.key, answer) : container.failure(answer, request);
  }
  const tags = tagsIn(await textOf(answer, signal), container, request);
  return { ...head, metadata: { ...head.metadata, tags: { ...head.metadata.tags, ...tags } } };
}

function tagsIn(text: string, container: Container, { what }: BlobRequest): Record<string, string> {
  try {
    return parseTags(text);
  } catch (cause) {
    throw new StoreFailure('unavailable', `${what} failed at ${container.where}: the answer is not whole`, {
      cause,
    });
  }
}

function absentOr(container: Container, error: AzureError, request: BlobRequest): undefined {
  if (error.code === 'BlobNotFound') return undefined;
  throw container.failure(error, request);
}

function changed(container: Container, key: string, cause?: unknown): StoreFailure {
  const what = `${JSON.stringify(key)} at ${container.where} is no longer the object that was asked for`;
  return new StoreFailure('changed', `${what}. Look again.`, { cause });
}
