import { isUtf8 } from 'node:buffer';

/**
 * Header values in printable ASCII, as S3 itself shows others: RFC 2047's encoded words, always UTF-8
 * (`=?UTF-8?Q?Viele_Gr=C3=BC=C3=9Fe_aus_Ulm?=`, or in base64 where that is shorter). Also for what HTTP would
 * bend (nothing at all, outer and double spaces) and for what only looks like an encoded word, so that every
 * value comes back as it was.
 */
export function encodeText(value: string): string {
  if (plain.test(value) && !value.includes('=?') && !value.includes('  ')) return value;
  const bytes = Buffer.from(value);
  const base64 = bytes.toString('base64');
  const readable = readableOf(bytes);
  return readable.length <= base64.length ? `=?UTF-8?Q?${readable}?=` : `=?UTF-8?B?${base64}?=`;
}

/** Also takes what native clients and other servers make: several words, Latin-1, raw UTF-8 bytes. */
export function decodeText(header: string): string {
  const value = rawUtf8(header);
  if (!value.includes('=?')) return value;
  // Spaces between two words belong to the encoding, not to the text.
  return value.replaceAll(/(\?=)\s+(?==\?)/g, '$1').replaceAll(encodedWord, decodeWord);
}

const plain = /^[!-~](?:[ -~]*[!-~])?$/;
const encodedWord = /=\?([\w-]+)\?([bq])\?([^?]*)\?=/gi;
const unchanged = /[A-Za-z0-9!*+/.,;:-]/;

function readableOf(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) {
    const unit = String.fromCharCode(byte);
    if (byte === 0x20) text += '_';
    else text += unchanged.test(unit) ? unit : `=${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return text;
}

function decodeWord(all: string, charset: string, kind: string, text: string): string {
  const name = charset.toLowerCase();
  const encoding =
    name === 'utf-8' || name === 'us-ascii' ? 'utf8' : name === 'iso-8859-1' ? 'latin1' : undefined;
  if (encoding === undefined) return all;
  if (kind.toLowerCase() === 'b') return Buffer.from(text, 'base64').toString(encoding);
  const units = text
    .replaceAll('_', ' ')
    .replaceAll(/=([0-9A-F]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return Buffer.from(units, 'latin1').toString(encoding);
}

/** HTTP hands bytes over as Latin-1; some servers send UTF-8 as it is. */
function rawUtf8(header: string): string {
  if (/^[\0-\x7f]*$/.test(header)) return header;
  const bytes = Buffer.from(header, 'latin1');
  return isUtf8(bytes) ? bytes.toString('utf8') : header;
}
