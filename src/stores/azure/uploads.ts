import { hashOf } from '../../hashing/hash.ts';
import { StoreFailure } from '../../model/failure.ts';
import { reservedPrefix } from '../../model/key.ts';
import type { ListEntry, Upload, UploadEntry } from '../../ports/object-store.ts';
import type { Container } from './container.ts';
import { AzureError } from './failure.ts';
import { base64Of } from './head.ts';
import { listBlobs } from './listing.ts';
import { escapeValue } from './metadata.ts';

/**
 * The service has no upload to begin or abort: blocks just lie uncommitted under the name and expire a week
 * after the last of them. So each upload has a marker, an empty blob of this name with the key in its
 * metadata: made at the start, looked for by every completion, removed by completion and abort.
 *
 * Abort removes the marker only. Uncommitted blocks could be discarded by nothing but a write to the blob
 * itself, which would be seen; they cost their bytes until they expire or the key is written again.
 */
const markersBelow = `${reservedPrefix}uploads/`;

/** What `uniqueId` gives, and nothing that could leave the folder of markers. */
const uploadId = /^[A-Za-z0-9_-]{22}$/;

type UploadName = Pick<Upload, 'id' | 'key'>;

export async function placeMarker(
  container: Container,
  upload: UploadName,
  signal: AbortSignal,
): Promise<void> {
  const request = {
    method: 'PUT',
    name: markerName(container, upload),
    headers: {
      'x-ms-blob-type': 'BlockBlob',
      'if-none-match': '*',
      'x-ms-meta-key': escapeValue(upload.key),
    },
    what: `starting the upload of ${JSON.stringify(upload.key)}`,
  } as const;
  const answer = await container.send(request, signal);
  if (answer instanceof AzureError) throw container.failure(answer, request);
  await answer.body.dump();
}

/** Throws `upload-lost` when the upload was completed or aborted, by whomever. */
export async function demandMarker(
  container: Container,
  upload: UploadName,
  signal: AbortSignal,
): Promise<void> {
  const what = `continuing the upload of ${JSON.stringify(upload.key)}`;
  const request = { method: 'HEAD', name: markerName(container, upload), what } as const;
  const answer = await container.send(request, signal);
  if (!(answer instanceof AzureError)) return void (await answer.body.dump());
  if (answer.code !== 'BlobNotFound') throw container.failure(answer, request);
  throw uploadLost(upload, container.where, 'it was completed or aborted before', answer);
}

/** Idempotent. */
export async function removeMarker(
  container: Container,
  upload: UploadName,
  signal: AbortSignal,
): Promise<void> {
  const what = `ending the upload of ${JSON.stringify(upload.key)}`;
  const request = { method: 'DELETE', name: markerName(container, upload), what } as const;
  const answer = await container.send(request, signal);
  if (!(answer instanceof AzureError)) return void (await answer.body.dump());
  if (answer.code !== 'BlobNotFound') throw container.failure(answer, request);
}

export async function* listMarkers(container: Container, signal: AbortSignal): AsyncGenerator<UploadEntry[]> {
  for await (const page of listBlobs(container, { prefix: markersBelow }, signal)) {
    const uploads = page.flatMap(uploadOf);
    if (uploads.length > 0) yield uploads;
  }
}

function uploadOf(entry: ListEntry): UploadEntry[] {
  const id = entry.key.slice(markersBelow.length);
  const key = entry.metadata?.user.key;
  if (!uploadId.test(id) || key === undefined) return [];
  return [{ upload: { id, key }, startedMs: entry.lastModifiedMs }];
}

export function uploadLost(upload: UploadName, where: string, why: string, cause?: unknown): StoreFailure {
  const what = `the upload of ${JSON.stringify(upload.key)} to ${where} is gone: ${why}`;
  return new StoreFailure('upload-lost', `${what}. It starts again.`, { cause });
}

export function isUploadId(id: string): boolean {
  return uploadId.test(id);
}

function markerName(container: Container, upload: UploadName): string {
  if (!isUploadId(upload.id)) throw uploadLost(upload, container.where, 'its id is not one of this store');
  return container.target.prefix + markersBelow + upload.id;
}

/**
 * 64 characters of base64 for every block: ids under one name must be of equal length, and this is the length
 * that Microsoft's SDKs use too. The upload's id keeps two uploads of one key apart.
 */
export function blockId(upload: Pick<Upload, 'id'>, index: number): string {
  return Buffer.from(`isobar-${upload.id}-${String(index).padStart(18, '0')}`).toString('base64');
}

/** Put Block, with a digest that the service checks. */
export async function sendBlock(
  container: Container,
  block: { readonly name: string; readonly id: string; readonly bytes: Uint8Array; readonly what: string },
  signal: AbortSignal,
): Promise<void> {
  const md5 = await hashOf('md5', block.bytes);
  const request = {
    method: 'PUT',
    name: block.name,
    query: { comp: 'block', blockid: block.id },
    headers: { 'content-md5': base64Of(md5) },
    body: block.bytes,
    what: block.what,
  } as const;
  const answer = await container.send(request, signal);
  if (answer instanceof AzureError) throw container.failure(answer, request);
  await answer.body.dump();
}

/** `Uncommitted` and not `Latest`: blocks that another commit has discarded are to be missed. */
export function blockListXml(ids: readonly string[]): string {
  const blocks = ids.map((id) => `<Uncommitted>${id}</Uncommitted>`).join('');
  return `<?xml version="1.0" encoding="utf-8"?><BlockList>${blocks}</BlockList>`;
}
