/**
 * How a server keeps keys; found by a probe. Amazon takes any. Others keep them as paths of files, and bend a
 * key that is no such path instead of refusing it (`x//y` becomes `x/y`): it must never reach them.
 *
 * - `paths` (MinIO): no leading slash, no empty, `.` or `..` segment, no segment over 255 bytes
 * - `files` (versitygw): also, a key with a slash at its end holds no body, and no control characters
 */
export type KeyRules = 'any' | 'paths' | 'files';

/** Why the server cannot hold this key, with a body or without one; undefined when it can. */
export function keyRefusal(key: string, rules: KeyRules, hasBody: boolean): string | undefined {
  if (rules === 'any') return undefined;
  const refusal = pathRefusal(key);
  if (refusal !== undefined || rules === 'paths') return refusal;
  if (Array.from(key).some(isUnspeakable)) return 'a control character';
  return hasBody && key.endsWith('/') ? 'a slash at the end and a body' : undefined;
}

/** XML 1.0 has no way to say it, so neither has a listing of such a server. */
function isUnspeakable(character: string): boolean {
  return (
    (character < ' ' && !'\t\n\r'.includes(character)) || character === '\ufffe' || character === '\uffff'
  );
}

function pathRefusal(key: string): string | undefined {
  const segments = (key.endsWith('/') ? key.slice(0, -1) : key).split('/');
  for (const segment of segments) {
    if (segment === '') return 'an empty segment between slashes';
    if (segment === '.' || segment === '..') return `a segment "${segment}"`;
    if (Buffer.byteLength(segment) > 255) return 'a segment of more than 255 bytes';
  }
  return undefined;
}

/** The prefix to ask such a server for: it refuses one that ends in `.` or `..` as a segment. */
export function listablePrefix(prefix: string, rules: KeyRules): string {
  return rules === 'any' ? prefix : prefix.replace(/(^|\/)\.\.?$/, '$1');
}
