import { StoreFailure } from '../../model/failure.ts';

const plainPath = /^[A-Za-z0-9\-._~/]*$/;
const notEscapedByJavaScript = /[!'()*]/g;

/** As Signature Version 4 wants it: everything but `A-Z a-z 0-9 - . _ ~` as upper-case `%XX` of its UTF-8. */
export function encodeValue(text: string): string {
  return encodeURIComponent(text).replace(notEscapedByJavaScript, escapeUnit);
}

/**
 * A key as the path of a request: slashes stay, and nothing is normalised, since `a/../b`, `//` and a leading
 * slash are ordinary parts of an S3 key. `invalid` when the key is not valid Unicode.
 */
export function encodeKey(key: string): string {
  if (plainPath.test(key)) return key;
  if (!key.isWellFormed())
    throw new StoreFailure('invalid', 'the key is not valid Unicode, so S3 cannot hold it');
  return encodeValue(key).replaceAll('%2F', '/');
}

/** Canonical: sorted by name; entries that are undefined are left out. */
export function encodeQuery(parameters: Readonly<Record<string, string | undefined>>): string {
  const pairs: string[] = [];
  for (const name of Object.keys(parameters).sort()) {
    const value = parameters[name];
    if (value !== undefined) pairs.push(`${encodeValue(name)}=${encodeValue(value)}`);
  }
  return pairs.join('&');
}

/** Undoes `encoding-type=url`, which writes a space as `+` and spares some characters. */
export function decodeListed(text: string): string {
  if (!text.includes('%') && !text.includes('+')) return text;
  return decodeURIComponent(text.replaceAll('+', ' '));
}

function escapeUnit(unit: string): string {
  return `%${unit.charCodeAt(0).toString(16).toUpperCase()}`;
}
