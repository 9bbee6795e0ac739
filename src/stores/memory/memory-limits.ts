import { StoreFailure } from '../../model/failure.ts';
import type { ObjectMetadata } from '../../model/metadata.ts';
import type { Capabilities, StoreLimits, UploadRequest } from '../../ports/object-store.ts';

const mebibyte = 1024 * 1024;
const gibibyte = 1024 * mebibyte;

/** Those of Amazon S3 (FACTS.md, section 1; ten tags per object from its documentation). */
export const s3ShapedLimits: StoreLimits = {
  maxKeyBytes: 1024,
  maxWriteBytes: 5 * gibibyte,
  minPartBytes: 5 * mebibyte,
  maxPartBytes: 5 * gibibyte,
  maxParts: 10_000,
  maxObjectBytes: 50_000 * gibibyte,
  maxMetadataBytes: 2048,
  maxTags: 10,
  listsMetadata: false,
  metadataFixedAtStart: true,
};

export function assertFits(key: string, limits: StoreLimits): void {
  const bytes = Buffer.byteLength(key);
  if (bytes > 0 && bytes <= limits.maxKeyBytes) return;
  throw new StoreFailure(
    'invalid',
    `a key has ${bytes} bytes; the memory store takes 1 to ${limits.maxKeyBytes}`,
  );
}

export function assertMetadataFits(
  key: string,
  metadata: ObjectMetadata,
  limits: StoreLimits,
  capabilities: Capabilities,
): void {
  const tags = Object.keys(metadata.tags).length;
  if (tags > limits.maxTags) {
    throw new StoreFailure('invalid', `"${key}" has ${tags} tags; the memory store takes ${limits.maxTags}`);
  }
  const bytes = entryBytes(metadata.user) + (capabilities.tags ? 0 : entryBytes(metadata.tags));
  if (bytes <= limits.maxMetadataBytes) return;
  throw new StoreFailure(
    'invalid',
    `"${key}" has ${bytes} bytes of user metadata; the memory store takes ${limits.maxMetadataBytes}`,
  );
}

function entryBytes(entries: Readonly<Record<string, string>>): number {
  let bytes = 0;
  for (const [name, value] of Object.entries(entries))
    bytes += Buffer.byteLength(name) + Buffer.byteLength(value);
  return bytes;
}

export function assertUploadFits(request: UploadRequest, limits: StoreLimits): void {
  const { key, size, partSizeBytes } = request;
  const parts = Math.ceil(size / partSizeBytes);
  const problem =
    size > limits.maxObjectBytes
      ? `it has ${size} bytes; the memory store takes ${limits.maxObjectBytes}`
      : partSizeBytes < limits.minPartBytes || partSizeBytes > limits.maxPartBytes
        ? `parts of ${partSizeBytes} bytes; the memory store takes ${limits.minPartBytes} to ${limits.maxPartBytes}`
        : parts > limits.maxParts
          ? `${parts} parts; the memory store takes ${limits.maxParts}`
          : undefined;
  if (problem !== undefined)
    throw new StoreFailure('invalid', `"${key}" cannot be sent in parts: ${problem}`);
}
