import { BodyDigest } from '../model/digest.ts';
import { StoreFailure } from '../model/failure.ts';
import { noMetadata, type ObjectMetadata } from '../model/metadata.ts';
import type { Condition, Conflict, ObjectStore, Written } from '../ports/object-store.ts';
import type { Body } from '../replicate/attempt.ts';
import { type Content, stagedName } from './head.ts';
import { majorityOf } from './judge.ts';
import { gather } from './operation.ts';
import type { StrongShell } from './shell.ts';

/**
 * Puts a large body under its reserved name at all sites, and resolves when a majority has it durably. The others go
 * on. The name is that of the operation: nobody else ever writes it.
 */
export async function stage(
  shell: StrongShell,
  key: string,
  operation: string,
  body: Body,
  metadata: ObjectMetadata,
  signal: AbortSignal,
): Promise<Content> {
  const name = stagedName(key, operation);
  const majority = majorityOf(shell.sites.size);
  const calls = new Set<Promise<unknown>>();
  const staged = await gather(
    { shell, key, calls },
    (_, store) => copyTo(shell, store, name, body, noMetadata, { kind: 'absent' }, signal),
    (answers) => answers.size >= majority,
    signal,
  );
  signal.throwIfAborted();
  const { answers } = staged;
  if (answers.size < majority) {
    const [cause] = staged.failures.values();
    const text = `the body of "${key}" could be staged at ${answers.size} of ${shell.sites.size} sites, which is no majority; nothing was written`;
    throw new StoreFailure('unavailable', text, { cause });
  }
  const digests = new Set([...answers.values()].map(({ digest }) => digest));
  if (digests.size > 1) throw new StoreFailure('corrupt', `the body of "${key}" changed while it was read`);
  const [digest] = digests;
  const sites = [...answers.keys()];
  return { deleted: false, size: body.size, digest: digest!, metadata, staged: { operation, sites } };
}

export interface Copied {
  /** `conflict`: something stands there that `condition` did not name. */
  readonly done: Written | Conflict;
  readonly digest: string;
}

/** One part in memory at a time, so that a slow site holds up no other. */
export async function copyTo(
  shell: StrongShell,
  store: ObjectStore,
  key: string,
  body: Body,
  metadata: ObjectMetadata,
  condition: Condition,
  signal: AbortSignal,
): Promise<Copied> {
  const { limits } = store;
  const partSizeBytes = Math.max(
    Math.min(shell.settings.partSizeBytes, limits.maxPartBytes),
    limits.minPartBytes,
    Math.ceil(body.size / limits.maxParts),
  );
  const digest = new BodyDigest();
  const read = async (from: number, to: number) => {
    const bytes = await body.read({ from, to });
    digest.update(bytes);
    return bytes;
  };
  if (body.size <= Math.min(partSizeBytes, limits.maxWriteBytes)) {
    const bytes = await read(0, body.size);
    const done = await store.write({ key, body: bytes, metadata, condition }, signal);
    return { done, digest: digest.finish() };
  }
  const upload = await store.startUpload({ key, size: body.size, partSizeBytes, metadata }, signal);
  const receipts: string[] = [];
  try {
    for (let from = 0; from < body.size; from += partSizeBytes) {
      const bytes = await read(from, Math.min(from + partSizeBytes, body.size));
      receipts.push(await store.writePart(upload, { index: receipts.length, bytes }, signal));
    }
    const done = await store.completeUpload(upload, receipts, { condition, metadata }, signal);
    return { done, digest: digest.finish() };
  } catch (failure) {
    await store.abortUpload(upload, signal).catch(() => {});
    throw failure;
  }
}
