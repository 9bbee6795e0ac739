import { isUtf8 } from 'node:buffer';

/** What the disk demands of names; the names themselves are the same everywhere. */
export interface NameRules {
  /** Windows: reserved characters and device names, no trailing dots and spaces. */
  readonly windows: boolean;
  /** The disk takes `A` for `a`, or two Unicode forms of one name for the same. */
  readonly folds: boolean;
}

/** Where a body stands: directory names below the root, and the name in the last of them. */
export interface Place {
  readonly folder: readonly string[];
  readonly name: string;
}

export const reservedFolder = '.isobar';
/** The driver's own bookkeeping, below the reserved folder. */
export const storeFolder = 'store';
/** Bodies whose key cannot be an ordinary path, below the reserved folder. */
export const oddFolder = 'odd';

const maxNameBytes = 255;
/** Raw bytes per name in the odd tree: three times as many characters, and a suffix, stay below 255. */
const chunkBytes = 60;

const windowsCharacters = /[<>:"|?*\\\p{Cc}]/u;
const windowsEnding = /[. ]$/;
const deviceName = /^(con|prn|aux|nul|com\d|lpt\d|conin\$|conout\$)(\.|$)/i;

/** The path that is the key itself, or undefined when no disk of this kind can hold it as it is. */
export function plainPlace(key: string, rules: NameRules): Place | undefined {
  const segments = key.split('/');
  if (!segments.every((segment) => isOrdinary(segment, rules))) return undefined;
  if (isOwn(segments, rules)) return undefined;
  return { folder: segments.slice(0, -1), name: segments.at(-1)! };
}

function isOrdinary(segment: string, rules: NameRules): boolean {
  if (segment === '' || segment === '.' || segment === '..' || segment.includes('\0')) return false;
  if (Buffer.byteLength(segment) > maxNameBytes) return false;
  if (!rules.windows) return true;
  return !windowsCharacters.test(segment) && !windowsEnding.test(segment) && !deviceName.test(segment);
}

/** Keys below `.isobar/` are ordinary paths too, except where the driver keeps its own things. */
function isOwn(segments: readonly string[], rules: NameRules): boolean {
  const [first, second] = rules.folds ? segments.map((segment) => segment.toLowerCase()) : segments;
  return first === reservedFolder && (second === undefined || second === storeFolder || second === oddFolder);
}

/**
 * The path for a key that cannot have, or cannot get, its plain one. Defined for every key, different for every
 * key, and the same on every disk: lower-case ASCII only, and a directory never has the name of a file.
 */
export function oddPlace(key: string): Place {
  const names = [reservedFolder, oddFolder];
  const segments = key.split('/');
  for (const [index, segment] of segments.entries()) {
    let bytes = Buffer.from(segment);
    // A segment of 60 bytes is continued too, by an empty rest: so all keys that share the 60 bytes stand in one
    // directory, and a walk in the order of names is a walk in the order of keys.
    for (; bytes.length >= chunkBytes; bytes = bytes.subarray(chunkBytes)) {
      names.push(`${escapeBytes(bytes.subarray(0, chunkBytes))}%c`);
    }
    const rest = escapeBytes(bytes);
    const isLast = index === segments.length - 1;
    names.push(isLast ? rest || '%f' : `${rest}%d`);
  }
  return { folder: names.slice(0, -1), name: names.at(-1)! };
}

/** One key as names below a directory of the driver's own: every name but the last is a directory. */
export function keyAsNames(key: string): string[] {
  const bytes = Buffer.from(key);
  const names: string[] = [];
  for (let from = 0; from < bytes.length; from += chunkBytes) {
    const chunk = escapeBytes(bytes.subarray(from, from + chunkBytes));
    names.push(from + chunkBytes < bytes.length ? `${chunk}%c` : chunk);
  }
  return names;
}

/** Undoes `keyAsNames`; undefined when the names are not its work. */
export function namesAsKey(names: readonly string[]): string | undefined {
  const bytes = Buffer.from(names.map((name) => unescapeBytes(name.replace(/%c$/, ''))).join(''), 'latin1');
  if (!isUtf8(bytes)) return undefined;
  const key = bytes.toString('utf8');
  return keyAsNames(key).join('/') === names.join('/') ? key : undefined;
}

function escapeBytes(bytes: Uint8Array): string {
  let name = '';
  for (const byte of bytes) name += isSafe(byte) ? String.fromCharCode(byte) : percent(byte);
  if (deviceName.test(name)) name = percent(name.charCodeAt(0)) + name.slice(1);
  return name.endsWith('.') ? `${name.slice(0, -1)}%2E` : name;
}

/** a-z 0-9 - . _ : no capitals, because a disk that folds case would take two keys for one. */
function isSafe(byte: number): boolean {
  const isLetter = byte >= 0x61 && byte <= 0x7a;
  const isDigit = byte >= 0x30 && byte <= 0x39;
  return isLetter || isDigit || byte === 0x2d || byte === 0x2e || byte === 0x5f;
}

function percent(byte: number): string {
  return `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
}

/** The bytes as a Latin-1 string. */
function unescapeBytes(name: string): string {
  return name.replace(/%([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

/**
 * What a name in the odd tree adds to the key, as a Latin-1 string of its bytes: `seg` for a file, `seg/` for a
 * folder, a piece of a segment for a continued one. Undefined when `oddPlace` never makes this name.
 */
export function oddNameBytes(name: string, isFolder: boolean): string | undefined {
  const continued = name.endsWith('%c');
  const ending = isFolder ? name.slice(-2) : '';
  if (isFolder && ending !== '%c' && ending !== '%d') return undefined;
  const escaped = isFolder ? name.slice(0, -2) : name;
  if (escaped === '%f' && !isFolder) return '';
  const bytes = unescapeBytes(escaped);
  const rightLength = isFolder && continued ? bytes.length === chunkBytes : bytes.length < chunkBytes;
  const isCanonical = escapeBytes(Buffer.from(bytes, 'latin1')) === escaped && !bytes.includes('/');
  if (!rightLength || !isCanonical || (!isFolder && bytes === '')) return undefined;
  return isFolder && !continued ? `${bytes}/` : bytes;
}

/** A key as the Latin-1 string of its UTF-8 bytes: `<` on these is `compareKeys`. */
export function bytesOfKey(key: string): string {
  return Buffer.from(key).toString('latin1');
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: the whole of ASCII is meant.
const asciiOnly = /^[\x00-\x7f]*$/;

/** Undefined when the bytes are no UTF-8, and therefore no key. */
export function keyOfBytes(bytes: string): string | undefined {
  if (asciiOnly.test(bytes)) return bytes;
  const buffer = Buffer.from(bytes, 'latin1');
  return isUtf8(buffer) ? buffer.toString('utf8') : undefined;
}
