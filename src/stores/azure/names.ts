import { StoreFailure } from '../../model/failure.ts';

/** Blob names: at most 1,024 UTF-16 units in at most 254 segments (Azure's naming rules). */
export const maxNameLength = 1024;
const maxSegments = 254;

/**
 * Why Azure cannot hold a blob of this name as it is, or undefined when it can. The service turns `\` into
 * `/` and takes dots from the end of a segment, so that two names would become one; control characters are
 * not allowed in names at all. A slash at the end or two in a row are kept.
 */
export function nameProblem(name: string): string | undefined {
  if (name.length === 0) return 'the name is empty';
  if (!name.isWellFormed()) return 'it holds half of a surrogate pair';
  if (name.length > maxNameLength) {
    return `it has ${name.length} characters with the site's prefix, and ${maxNameLength} are the limit`;
  }
  if (name.includes('\\')) return 'the service would turn its backslash into a slash';
  const control = /\p{Cc}/u.exec(name);
  if (control !== null) {
    const point = control[0].charCodeAt(0).toString(16).toUpperCase().padStart(4, '0');
    return `control characters (here U+${point}) are not allowed in blob names`;
  }
  const segments = name.split('/');
  if (segments.length > maxSegments)
    return `it has ${segments.length} path segments, and ${maxSegments} are the limit`;
  if (segments.some((segment) => segment.endsWith('.'))) {
    return 'a path segment ends with a dot, which the service would take away';
  }
  return undefined;
}

/** Throws `invalid`, before anything is sent. */
export function checkName(key: string, name: string): void {
  const problem = nameProblem(name);
  if (problem === undefined) return;
  const shown = JSON.stringify(key.length > 100 ? `${key.slice(0, 100)}…` : key);
  throw new StoreFailure(
    'invalid',
    `Azure cannot hold the key ${shown}: ${problem}. Rename the object, or keep it out of this site by placement.`,
  );
}

/** For a path: slashes stay, all else but the unreserved characters of RFC 3986 is percent-encoded. */
export function encodePath(name: string): string {
  return encodeText(name).replaceAll('%2F', '/');
}

/** Percent-encodes everything but the unreserved characters of RFC 3986. */
export function encodeText(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
