import type { Capabilities, Token } from '../../ports/object-store.ts';
import type { StoredObject } from './memory-bucket.ts';

/*
 * Two shapes of token, as clouds have them:
 *   `17`           a generation, always new (GCS, Azure)
 *   `etag`         a digest of the content, all that the answer to a write tells (S3)
 *   `etag@seconds` the same with the time of the write, as head, read and list tell it (S3)
 */

/** What the answer to a write tells. */
export function writtenToken(object: StoredObject, capabilities: Capabilities): Token {
  return capabilities.tokenIsContentDigest ? `"${object.etag}"` : String(object.generation);
}

/** What head, read and list tell. */
export function seenToken(object: StoredObject, capabilities: Capabilities): Token {
  const written = writtenToken(object, capabilities);
  return capabilities.tokenIsContentDigest
    ? `${written}@${Math.floor(object.lastModifiedMs / 1_000)}`
    : written;
}

/** Whether a condition with `token` holds: a digest says nothing of the time, as with S3's If-Match. */
export function isWriteOf(token: Token, object: StoredObject, capabilities: Capabilities): boolean {
  return nameOf(token) === writtenToken(object, capabilities);
}

/** Equal names, and equal times where both tell one. */
export function namesSameWrite(recorded: Token, seen: Token): boolean {
  if (nameOf(recorded) !== nameOf(seen)) return false;
  const [before, now] = [timeOf(recorded), timeOf(seen)];
  return before === undefined || now === undefined || before === now;
}

function nameOf(token: Token): string {
  return token.split('@')[0]!;
}

function timeOf(token: Token): string | undefined {
  return token.split('@')[1];
}
