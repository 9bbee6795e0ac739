import { hash } from 'node:crypto';
import { hashOf } from '../../hashing/hash.ts';
import { StoreFailure } from '../../model/failure.ts';
import type { Condition, Conflict, Token, Written } from '../../ports/object-store.ts';
import type { BlobRequest, Container } from './container.ts';
import { AzureError } from './failure.ts';
import { base64Of, etagOf, md5FromBase64, tokenOf } from './head.ts';
import { blockId, blockListXml, sendBlock } from './uploads.ts';

type Headers = Readonly<Record<string, string>>;

/** A whole body under a condition; `headers` are those of its metadata. */
export interface BlobWrite {
  readonly name: string;
  readonly headers: Headers;
  readonly body: Uint8Array;
  readonly condition: Condition;
  /** Names blocks, where they are needed: 22 characters, unique. */
  readonly id: string;
  readonly what: string;
}

/** Put Blob: one request, one digest that the service checks and keeps. */
export async function writeBlob(
  container: Container,
  write: BlobWrite,
  signal: AbortSignal,
): Promise<Written | Conflict> {
  const { name, headers, body, condition, what } = write;
  const md5 = await hashOf('md5', body);
  const request = {
    method: 'PUT',
    name,
    headers: { ...headers, 'x-ms-blob-type': 'BlockBlob', 'content-md5': base64Of(md5) },
    body,
    what,
  } as const;
  const answer = await commit(container, request, condition, signal);
  if (answer === 'conflict') {
    if (condition.kind === 'match' || !(await onlyBlocksAreThere(container, write, signal))) return conflict;
    return writeOverBlocks(container, write, md5, signal);
  }
  const reported = md5FromBase64(answer['content-md5']);
  if (reported !== md5) {
    const said = reported === undefined ? 'reports no digest' : `reports the digest ${reported}`;
    throw new StoreFailure('corrupt', `${what}: ${container.where} ${said}, and ${md5} was sent. Try again.`);
  }
  return { kind: 'written', token: tokenIn(container, answer, what), digests: { md5 } };
}

const conflict: Conflict = { kind: 'conflict' };

/**
 * Azurite takes uncommitted blocks for a blob when Put Blob is to create one, and says that it exists; so
 * an upload that nobody ended would keep its key from being created for ever. Put Block List does not.
 */
async function onlyBlocksAreThere(
  container: Container,
  { name, what }: BlobWrite,
  signal: AbortSignal,
): Promise<boolean> {
  const answer = await container.send({ method: 'HEAD', name, what }, signal);
  if (answer instanceof AzureError) {
    if (answer.code === 'BlobNotFound') return true;
    throw container.failure(answer, { what });
  }
  await answer.body.dump();
  return false;
}

/** The same write as one block and its commit, under the same condition. */
async function writeOverBlocks(
  container: Container,
  write: BlobWrite,
  md5: string,
  signal: AbortSignal,
): Promise<Written | Conflict> {
  const { name, body, condition, what } = write;
  const ids = body.length === 0 ? [] : [blockId(write, 0)];
  for (const id of ids) await sendBlock(container, { name, id, bytes: body, what }, signal);
  const headers = { ...write.headers, 'x-ms-blob-content-md5': base64Of(md5) };
  const committed = await commitBlocks(container, { name, ids, headers, condition, what }, signal);
  if (committed === 'conflict') return conflict;
  return { kind: 'written', token: committed, digests: { md5 } };
}

export interface BlockCommit {
  readonly name: string;
  readonly ids: readonly string[];
  readonly headers: Headers;
  readonly condition: Condition;
  readonly what: string;
}

/** Put Block List: the token of what is there now. */
export async function commitBlocks(
  container: Container,
  { name, ids, headers, condition, what }: BlockCommit,
  signal: AbortSignal,
): Promise<Token | 'conflict'> {
  const body = blockListXml(ids);
  const request = {
    method: 'PUT',
    name,
    query: { comp: 'blocklist' },
    headers: { ...headers, 'content-md5': base64Of(hash('md5', body)) },
    body,
    what,
  } as const;
  const answer = await commit(container, request, condition, signal);
  return answer === 'conflict' ? 'conflict' : tokenIn(container, answer, what);
}

export async function removeBlob(
  container: Container,
  { name, token, what }: { readonly name: string; readonly token: Token; readonly what: string },
  signal: AbortSignal,
): Promise<'removed' | 'conflict'> {
  const headers = { 'x-ms-delete-snapshots': 'include' };
  const condition = { kind: 'match', token } as const;
  const answer = await commit(container, { method: 'DELETE', name, headers, what }, condition, signal);
  return answer === 'conflict' ? 'conflict' : 'removed';
}

/** Sends what changes a blob, under its condition; the headers of the answer, or that it did not hold. */
async function commit(
  container: Container,
  request: BlobRequest,
  condition: Condition,
  signal: AbortSignal,
): Promise<Headers | 'conflict'> {
  const conditional = conditionHeaders(condition);
  if (conditional === undefined) return 'conflict';
  const headers = { ...request.headers, ...conditional };
  const answer = await container.send({ ...request, headers }, signal);
  if (!(answer instanceof AzureError)) {
    await answer.body.dump();
    return answer.headers;
  }
  if (isConflict(answer, condition)) return 'conflict';
  throw container.failure(answer, request);
}

/** Undefined when the condition cannot hold whatever is there. */
function conditionHeaders(condition: Condition): Headers | undefined {
  if (condition.kind === 'absent') return { 'if-none-match': '*' };
  const match = etagOf(condition.token);
  return match === undefined ? undefined : { 'if-match': match };
}

/** 412 also says that somebody holds a lease: that is no lost race. */
function isConflict(error: AzureError, condition: Condition): boolean {
  if (error.code === 'ConditionNotMet' || error.code === 'TargetConditionNotMet') return true;
  return condition.kind === 'absent' ? error.code === 'BlobAlreadyExists' : error.code === 'BlobNotFound';
}

function tokenIn(container: Container, headers: Headers, what: string): Token {
  const token = tokenOf(headers.etag ?? '');
  if (token !== '') return token;
  throw new StoreFailure(
    'misplaced',
    `${what}: ${container.where} answers without an ETag. Check the endpoint.`,
  );
}
