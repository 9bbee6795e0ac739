import { newestOf } from '../decide/resolve.ts';
import { digestOfLeaves, leafBytes } from '../model/digest.ts';
import { StoreFailure } from '../model/failure.ts';
import type { ObjectMetadata } from '../model/metadata.ts';
import type { SiteId } from '../model/version.ts';
import type {
  ByteRange,
  Condition,
  Conflict,
  StoreDigests,
  StoreLimits,
  Token,
  Upload,
} from '../ports/object-store.ts';
import type { Target } from './copy.ts';
import type { PartRow, UploadRow } from './records.ts';
import type { Lease } from './shared-reads.ts';
import type { Shell, Site } from './shell.ts';

export interface LargeBody {
  readonly key: string;
  readonly size: number;
  /** Of the write that it carries: a crash may go on with the parts of the same one. */
  readonly operation: string;
  readonly condition: Condition;
  /** See `WriteRequest`. */
  readonly untilMs?: number;
  /** With the digest where it is known by then. */
  readonly metadata: (digest: string | undefined) => ObjectMetadata;
  /** The digest the body must turn out to have, when it is known. */
  readonly digest?: string;
  readonly read: (range: ByteRange) => Promise<Lease<Part>>;
}

/** Bytes of a range, and digests of its leaves. */
export interface Part {
  readonly bytes: Uint8Array;
  readonly leaves: readonly string[];
  /** Memory of the pool that the bytes stand in. */
  readonly lent?: Uint8Array | undefined;
}

export interface Uploaded {
  readonly kind: 'uploaded';
  readonly token: Token;
  readonly digests: StoreDigests;
  readonly digest: string;
}

/** An upload that the store knows. */
type StartedRow = UploadRow & { readonly upload: Upload };

/** How wide one object goes: parts of it under way at once. */
const partsAtOnce = 5;

/**
 * Sends a large body in parallel parts and commits it with one conditional request. Every finished part is
 * remembered, so that a restart does not send it again.
 */
export async function uploadInParts(
  shell: Shell,
  body: LargeBody,
  target: Target,
  signal: AbortSignal,
): Promise<Uploaded | Conflict> {
  const id = `${target.site.id}\0${body.key}`;
  shell.uploading.add(id);
  try {
    return await sendAndCommit(shell, body, target, signal);
  } finally {
    shell.uploading.delete(id);
  }
}

async function sendAndCommit(
  shell: Shell,
  body: LargeBody,
  target: Target,
  signal: AbortSignal,
): Promise<Uploaded | Conflict> {
  const { store } = target.site;
  const { row, done } = await resumeOrStart(shell, body, target.site, signal);
  const parts = await sendParts(shell, body, row, done, target, signal);
  const digest = digestOfLeaves(parts.flatMap((part) => part.leaves));
  if (body.digest !== undefined && body.digest !== digest) {
    await abandonUpload(shell, target.site, row, signal);
    throw new StoreFailure(
      'corrupt',
      `the body of ${body.key} does not have the digest it was written with; it was not copied`,
    );
  }
  try {
    const { condition, untilMs } = body;
    const until = untilMs === undefined ? {} : { untilMs };
    const commit = { condition, metadata: body.metadata(digest), ...until };
    const written = await store.completeUpload(
      row.upload,
      parts.map((part) => part.receipt),
      commit,
      signal,
    );
    if (written.kind === 'conflict') {
      await abandonUpload(shell, target.site, row, signal);
      return written;
    }
    await forgetUpload(shell, target.site.id, row);
    return { kind: 'uploaded', token: written.token, digests: written.digests, digest };
  } catch (failure) {
    if (isLost(failure)) await abandonUpload(shell, target.site, row, signal);
    throw failure;
  }
}

/** Gone at the store, or finished by somebody who ended before he could tidy up: what is left is cleared away. */
function isLost(failure: unknown): boolean {
  return failure instanceof StoreFailure && failure.code === 'upload-lost';
}

/** Gives up an upload, and its parts at the store. */
async function abandonUpload(shell: Shell, site: Site, row: UploadRow, signal: AbortSignal): Promise<void> {
  if (row.upload) await site.store.abortUpload(row.upload, signal);
  else await abortUnrecorded(shell, site, row, signal);
  await forgetUpload(shell, site.id, row);
}

/** Clears away uploads that nobody goes on with: their worker has ended, and their write is there or no longer wanted. */
export async function clearUploads(shell: Shell, site: Site, signal: AbortSignal): Promise<void> {
  for await (const page of shell.records.uploads(site.id)) {
    for (const row of page) {
      if (isInHand(shell, site, row)) continue;
      const record = await shell.records.read(row.key);
      const wanted = newestOf(record, shell.ruleOf)?.replica.version.operation === row.operation;
      const there = record.replicas[site.id]?.version.operation === row.operation;
      if (wanted && !there) continue;
      await abandonUpload(shell, site, row, signal).catch((error: Error) => {
        signal.throwIfAborted();
        shell.events.failed?.({ site: site.id, key: row.key, error });
      });
    }
  }
}

const forgottenMs = 24 * 3_600_000;

function isInHand(shell: Shell, site: Site, row: UploadRow): boolean {
  if (row.worker === shell.world.worker) return shell.uploading.has(`${site.id}\0${row.key}`);
  return !shell.world.hasEnded(row.worker) && shell.world.nowMs() - row.intendedMs < forgottenMs;
}

/** The smallest multiple of a leaf that keeps the body within the store's number of parts. */
export function partSizeFor(size: number, limits: StoreLimits, preferred: number): number {
  const needed = Math.max(preferred, Math.ceil(size / limits.maxParts), limits.minPartBytes);
  const partSize = Math.ceil(needed / leafBytes) * leafBytes;
  if (size > limits.maxObjectBytes || partSize > limits.maxPartBytes) {
    throw new StoreFailure(
      'invalid',
      `a body of ${size} bytes is larger than this store can hold (${limits.maxObjectBytes})`,
    );
  }
  return partSize;
}

function partCount(upload: Upload): number {
  return Math.ceil(upload.size / upload.partSizeBytes);
}

async function resumeOrStart(
  shell: Shell,
  body: LargeBody,
  site: Site,
  signal: AbortSignal,
): Promise<{ row: StartedRow; done: Map<number, PartRow> }> {
  const { key, size, operation } = body;
  const { records, world } = shell;
  const earlier = await resumable(shell, body, site);
  if (earlier) {
    const row = { ...earlier, worker: world.worker };
    await records.commit([records.rememberUpload(site.id, row)]);
    return { row, done: await records.partsOf(site.id, row.upload.id) };
  }
  const partSizeBytes = partSizeFor(size, site.store.limits, shell.settings.partSizeBytes);
  const intended = {
    attempt: world.uniqueId(),
    key,
    operation,
    intendedMs: world.nowMs(),
    worker: world.worker,
  };
  await records.commit([records.rememberUpload(site.id, intended)]);
  const metadata = body.metadata(body.digest);
  const upload = await site.store.startUpload({ key, size, partSizeBytes, metadata }, signal);
  const row = { ...intended, upload };
  await records.commit([records.rememberUpload(site.id, row)]);
  return { row, done: new Map() };
}

/** An upload of the same write that this worker began, or one that has ended since. */
async function resumable(shell: Shell, body: LargeBody, site: Site): Promise<StartedRow | undefined> {
  const { worker } = shell.world;
  for await (const page of shell.records.uploads(site.id)) {
    for (const row of page) {
      if (row.key !== body.key || row.operation !== body.operation || row.upload?.size !== body.size)
        continue;
      if (row.worker === worker || shell.world.hasEnded(row.worker)) return { ...row, upload: row.upload };
    }
  }
  return undefined;
}

async function sendParts(
  shell: Shell,
  body: LargeBody,
  row: StartedRow,
  done: Map<number, PartRow>,
  target: Target,
  signal: AbortSignal,
): Promise<PartRow[]> {
  const parts = partCount(row.upload);
  const stop = new AbortController();
  const both = AbortSignal.any([signal, stop.signal]);
  let next = 0;
  const sender = async () => {
    for (let index = next++; index < parts; index = next++) {
      if (done.has(index)) continue;
      done.set(index, await sendPart(shell, body, row.upload, index, target, both));
    }
  };
  const senders = Array.from({ length: Math.min(partsAtOnce, parts) }, sender);
  try {
    await Promise.all(senders);
  } catch (failure) {
    stop.abort(failure);
    await Promise.allSettled(senders);
    if (isLost(failure)) await abandonUpload(shell, target.site, row, signal);
    throw failure;
  }
  return Array.from({ length: parts }, (_, index) => done.get(index)!);
}

async function sendPart(
  shell: Shell,
  body: LargeBody,
  upload: Upload,
  index: number,
  target: Target,
  signal: AbortSignal,
): Promise<PartRow> {
  const from = index * upload.partSizeBytes;
  const to = Math.min(from + upload.partSizeBytes, upload.size);
  const release = await target.partBytes.acquire(to - from, signal);
  try {
    const part = await body.read({ from, to });
    const { bytes, leaves } = part.value;
    const sha256 = leaves.length === 1 ? { sha256: leaves[0]! } : {};
    const receipt = await target.site.store.writePart(upload, { index, bytes, ...sha256 }, signal);
    part.release();
    const row = { receipt, leaves };
    await shell.records.commit([shell.records.rememberPart(target.site.id, upload.id, index, row)]);
    return row;
  } finally {
    release();
  }
}

async function forgetUpload(shell: Shell, site: SiteId, row: UploadRow): Promise<void> {
  const { records } = shell;
  const { upload } = row;
  const parts = upload
    ? Array.from({ length: partCount(upload) }, (_, index) =>
        records.rememberPart(site, upload.id, index, undefined),
      )
    : [];
  await records.commit([records.forgetUpload(site, row.attempt), ...parts]);
}

/** A crash right after the start left an upload whose id nobody knows: it is one of this key begun just then. */
async function abortUnrecorded(shell: Shell, site: Site, row: UploadRow, signal: AbortSignal): Promise<void> {
  const windowMs = 60_000;
  const known = new Set<string>();
  for await (const page of shell.records.uploads(site.id))
    for (const one of page) known.add(one.upload?.id ?? '');
  for await (const page of site.store.listUploads(signal)) {
    for (const { upload, startedMs } of page) {
      if (upload.key !== row.key || known.has(upload.id)) continue;
      if (Math.abs(startedMs - row.intendedMs) <= windowMs) await site.store.abortUpload(upload, signal);
    }
  }
}
