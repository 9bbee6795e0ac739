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
import type { Shell, Site } from './shell.ts';

export interface LargeBody {
  readonly key: string;
  readonly size: number;
  /** Of the write that it carries: a crash may go on with the parts of the same one. */
  readonly operation: string;
  readonly condition: Condition;
  /** With the digest where it is known by then. */
  readonly metadata: (digest: string | undefined) => ObjectMetadata;
  /** The digest the body must turn out to have, when it is known. */
  readonly digest?: string;
  /** Bytes of the range, and digests of its leaves. */
  readonly read: (
    range: ByteRange,
  ) => Promise<{ readonly bytes: Uint8Array; readonly leaves: readonly string[] }>;
}

export interface Uploaded {
  readonly kind: 'uploaded';
  readonly token: Token;
  readonly digests: StoreDigests;
  readonly digest: string;
}

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
  const { upload, done } = await resumeOrStart(shell, body, target.site, signal);
  const parts = await sendParts(shell, body, upload, done, target, signal);
  const digest = digestOfLeaves(parts.flatMap((part) => part.leaves));
  if (body.digest !== undefined && body.digest !== digest) {
    await abandonUpload(shell, target.site, body.key, signal);
    throw new StoreFailure(
      'corrupt',
      `the body of ${body.key} does not have the digest it was written with; it was not copied`,
    );
  }
  try {
    const commit = { condition: body.condition, metadata: body.metadata(digest) };
    const written = await store.completeUpload(
      upload,
      parts.map((part) => part.receipt),
      commit,
      signal,
    );
    await forgetUpload(shell, target.site.id, body.key, upload, parts.length);
    if (written.kind === 'conflict') {
      await store.abortUpload(upload, signal);
      return written;
    }
    return { kind: 'uploaded', token: written.token, digests: written.digests, digest };
  } catch (failure) {
    if (isLost(failure)) await abandonUpload(shell, target.site, body.key, signal);
    throw failure;
  }
}

/** Gone at the store, or finished by somebody who ended before he could tidy up: what is left is cleared away. */
function isLost(failure: unknown): boolean {
  return failure instanceof StoreFailure && failure.code === 'upload-lost';
}

/** Gives up the upload that is remembered for the key, and its parts at the store. */
export async function abandonUpload(
  shell: Shell,
  site: Site,
  key: string,
  signal: AbortSignal,
): Promise<void> {
  const row = await shell.records.uploadOf(site.id, key);
  if (!row) return;
  if (row.upload) {
    await site.store.abortUpload(row.upload, signal);
    await forgetUpload(shell, site.id, key, row.upload, partCount(row.upload));
    return;
  }
  await abortUnrecorded(site, key, row.intendedMs, signal);
  await shell.records.commit([shell.records.rememberUpload(site.id, key, undefined)]);
}

/** Clears away uploads that nobody goes on with: their worker has ended, and their write is there or no longer wanted. */
export async function clearUploads(shell: Shell, site: Site, signal: AbortSignal): Promise<void> {
  for await (const page of shell.records.uploads(site.id)) {
    for (const { key, row } of page) {
      if (isInHand(shell, site, key, row)) continue;
      const record = await shell.records.read(key);
      const wanted = newestOf(record)?.replica.version.operation === row.operation;
      const there = record.replicas[site.id]?.version.operation === row.operation;
      if (wanted && !there) continue;
      await abandonUpload(shell, site, key, signal).catch((error: Error) => {
        signal.throwIfAborted();
        shell.events.failed?.({ site: site.id, key, error });
      });
    }
  }
}

const forgottenMs = 24 * 3_600_000;

function isInHand(shell: Shell, site: Site, key: string, row: UploadRow): boolean {
  if (row.worker === shell.world.worker) return shell.uploading.has(`${site.id}\0${key}`);
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
): Promise<{ upload: Upload; done: Map<number, PartRow> }> {
  const { key, size, operation } = body;
  const row = await shell.records.uploadOf(site.id, key);
  if (row?.upload && row.operation === operation && row.upload.size === size) {
    const taken = { ...row, worker: shell.world.worker };
    await shell.records.commit([shell.records.rememberUpload(site.id, key, taken)]);
    return { upload: row.upload, done: await shell.records.partsOf(site.id, row.upload.id) };
  }
  if (row) await abandonUpload(shell, site, key, signal);
  const partSizeBytes = partSizeFor(size, site.store.limits, shell.settings.partSizeBytes);
  const intendedMs = shell.world.nowMs();
  const { worker } = shell.world;
  const remember = (upload?: Upload) =>
    shell.records.commit([
      shell.records.rememberUpload(site.id, key, {
        operation,
        intendedMs,
        worker,
        ...(upload ? { upload } : {}),
      }),
    ]);
  await remember();
  const metadata = body.metadata(body.digest);
  const upload = await site.store.startUpload({ key, size, partSizeBytes, metadata }, signal);
  await remember(upload);
  return { upload, done: new Map() };
}

async function sendParts(
  shell: Shell,
  body: LargeBody,
  upload: Upload,
  done: Map<number, PartRow>,
  target: Target,
  signal: AbortSignal,
): Promise<PartRow[]> {
  const parts = partCount(upload);
  const stop = new AbortController();
  const both = AbortSignal.any([signal, stop.signal]);
  let next = 0;
  const sender = async () => {
    for (let index = next++; index < parts; index = next++) {
      if (done.has(index)) continue;
      done.set(index, await sendPart(shell, body, upload, index, target, both));
    }
  };
  const senders = Array.from({ length: Math.min(partsAtOnce, parts) }, sender);
  try {
    await Promise.all(senders);
  } catch (failure) {
    stop.abort(failure);
    await Promise.allSettled(senders);
    if (isLost(failure)) await abandonUpload(shell, target.site, body.key, signal);
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
    const { bytes, leaves } = await body.read({ from, to });
    const sha256 = leaves.length === 1 ? { sha256: leaves[0]! } : {};
    const receipt = await target.site.store.writePart(upload, { index, bytes, ...sha256 }, signal);
    const row = { receipt, leaves };
    await shell.records.commit([shell.records.rememberPart(target.site.id, upload.id, index, row)]);
    return row;
  } finally {
    release();
  }
}

async function forgetUpload(
  shell: Shell,
  site: SiteId,
  key: string,
  upload: Upload,
  parts: number,
): Promise<void> {
  const { records } = shell;
  const rows = Array.from({ length: parts }, (_, index) =>
    records.rememberPart(site, upload.id, index, undefined),
  );
  await records.commit([records.rememberUpload(site, key, undefined), ...rows]);
}

/** A crash right after the start left an upload whose id nobody knows: it is the one of this key begun just then. */
async function abortUnrecorded(
  site: Site,
  key: string,
  intendedMs: number,
  signal: AbortSignal,
): Promise<void> {
  const windowMs = 60_000;
  for await (const page of site.store.listUploads(signal)) {
    for (const { upload, startedMs } of page) {
      if (upload.key !== key || Math.abs(startedMs - intendedMs) > windowMs) continue;
      await site.store.abortUpload(upload, signal);
    }
  }
}
