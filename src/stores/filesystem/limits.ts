import { StoreFailure } from '../../model/failure.ts';
import { maxKeyBytes } from '../../model/key.ts';
import type { ObjectMetadata } from '../../model/metadata.ts';
import type { StoreLimits, UploadRequest } from '../../ports/object-store.ts';

export const limits: StoreLimits = {
  maxKeyBytes,
  maxWriteBytes: 64 * 1024 * 1024,
  minPartBytes: 1,
  maxPartBytes: 1024 * 1024 * 1024,
  maxParts: 1_000_000,
  // ext4 with blocks of 4 KiB; others hold more.
  maxObjectBytes: 16 * 1024 ** 4 - 4096,
  maxMetadataBytes: 64 * 1024,
  maxTags: 50,
  listsMetadata: false,
  metadataFixedAtStart: false,
};

export function demandFits(key: string, metadata: ObjectMetadata): void {
  const entries = Object.entries(metadata.user);
  const bytes = entries.reduce(
    (sum, [name, value]) => sum + Buffer.byteLength(name) + Buffer.byteLength(value),
    0,
  );
  if (bytes > limits.maxMetadataBytes) {
    throw new StoreFailure(
      'invalid',
      `the user metadata of ${shown(key)} have ${bytes} bytes; a folder takes ${limits.maxMetadataBytes}`,
    );
  }
  const tags = Object.keys(metadata.tags).length;
  if (tags <= limits.maxTags) return;
  throw new StoreFailure('invalid', `${shown(key)} has ${tags} tags; a folder takes ${limits.maxTags}`);
}

export function demandParts({ key, size, partSizeBytes }: UploadRequest): void {
  const isPossible =
    Number.isSafeInteger(size) &&
    Number.isSafeInteger(partSizeBytes) &&
    size >= 0 &&
    partSizeBytes >= limits.minPartBytes &&
    partSizeBytes <= limits.maxPartBytes &&
    size <= limits.maxObjectBytes &&
    Math.ceil(size / partSizeBytes) <= limits.maxParts;
  if (isPossible) return;
  throw new StoreFailure(
    'invalid',
    `${shown(key)}: ${size} bytes in parts of ${partSizeBytes} is not possible here`,
  );
}

export function demandOneBody(key: string, body: Uint8Array): void {
  if (body.length <= limits.maxWriteBytes) return;
  throw new StoreFailure(
    'invalid',
    `${shown(key)} has ${body.length} bytes; above ${limits.maxWriteBytes} it must be uploaded in parts`,
  );
}

function shown(key: string): string {
  return JSON.stringify(key);
}
