import { noMetadata, type ObjectMetadata } from '../../model/metadata.ts';
import type {
  Condition,
  Conflict,
  ObjectStore,
  PartReceipt,
  StoreLimits,
  Upload,
  Written,
} from '../../ports/object-store.ts';

/** Large enough for every store's rule, small enough for a test. */
export function partSizeFor(limits: StoreLimits): number {
  return Math.max(limits.minPartBytes, 256 * 1024);
}

/** The bytes of part `index` of `body`. */
export function partOf(body: Uint8Array, partSizeBytes: number, index: number): Uint8Array {
  return body.subarray(index * partSizeBytes, (index + 1) * partSizeBytes);
}

export function partCount(size: number, partSizeBytes: number): number {
  return Math.ceil(size / partSizeBytes);
}

export interface Sending {
  readonly key: string;
  readonly body: Uint8Array;
  readonly metadata?: ObjectMetadata;
  readonly condition: Condition;
  readonly signal: AbortSignal;
}

/** Begins an upload and sends all its parts, one after the other. */
export async function sendParts(
  store: ObjectStore,
  sending: Omit<Sending, 'condition'>,
): Promise<{ readonly upload: Upload; readonly receipts: readonly PartReceipt[] }> {
  const { key, body, metadata = noMetadata, signal } = sending;
  const partSizeBytes = partSizeFor(store.limits);
  const upload = await store.startUpload({ key, size: body.length, partSizeBytes, metadata }, signal);
  const receipts: PartReceipt[] = [];
  for (let index = 0; index < partCount(body.length, partSizeBytes); index++) {
    receipts.push(
      await store.writePart(upload, { index, bytes: partOf(body, partSizeBytes, index) }, signal),
    );
  }
  return { upload, receipts };
}

/** A whole object by an upload in parts. */
export async function sendInParts(store: ObjectStore, sending: Sending): Promise<Written | Conflict> {
  const { metadata = noMetadata, condition, signal } = sending;
  const { upload, receipts } = await sendParts(store, sending);
  return store.completeUpload(upload, receipts, { condition, metadata }, signal);
}
