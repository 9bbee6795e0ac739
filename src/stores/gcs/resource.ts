import { StoreFailure } from '../../model/failure.ts';
import type { ObjectHead, StoreDigests } from '../../ports/object-store.ts';
import { metadataOf, type ResourceMetadata } from './metadata.ts';
import { type Generation, tokenOf } from './token.ts';

/** An object as the JSON API describes it; 64 bit numbers are texts there. */
export interface ObjectResource extends ResourceMetadata, Generation {
  readonly name: string;
  readonly size: string;
  /** RFC 3339; changes with the metadata too, as the token does. */
  readonly updated: string;
  /** Base64. Absent for composed objects. */
  readonly md5Hash?: string;
  /** Base64. */
  readonly crc32c?: string;
}

const written = 'name,size,generation,metageneration,updated,md5Hash,crc32c';
const described = 'contentType,cacheControl,contentEncoding,contentDisposition,contentLanguage,metadata';

/** For `fields`: the service computes and sends nothing else (owners and access lists are large). */
export const fieldsOfWritten = written;
export const fieldsOfHead = `${written},${described}`;

export function asResource(value: unknown): ObjectResource {
  const resource = value as Partial<ObjectResource> | null;
  const complete =
    typeof resource === 'object' &&
    typeof resource?.name === 'string' &&
    typeof resource.generation === 'string' &&
    typeof resource.metageneration === 'string';
  if (complete) return resource as ObjectResource;
  throw new StoreFailure('misplaced', 'the answer describes no object: the endpoint is not a GCS endpoint');
}

/** `key` without the site's prefix. */
export function headOf(key: string, resource: ObjectResource): ObjectHead {
  return {
    key,
    // Some servers leave out a field whose value is zero.
    size: Number(resource.size ?? 0),
    token: tokenOf(resource),
    lastModifiedMs: Date.parse(resource.updated),
    digests: digestsOf(resource),
    // Taken apart when somebody asks: of an object that has not changed nobody does.
    get metadata() {
      return metadataOf(resource);
    },
  };
}

export function digestsOf(resource: ObjectResource): StoreDigests {
  return {
    ...(resource.md5Hash === undefined ? {} : { md5: hexOf(resource.md5Hash) }),
    ...(resource.crc32c === undefined ? {} : { crc32c: hexOf(resource.crc32c) }),
  };
}

function hexOf(base64: string): string {
  return Buffer.from(base64, 'base64').toString('hex');
}
