/** How figures and keys look to people. Pure. */

const named: Readonly<Record<string, string>> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** Control characters, line separators, and what turns the direction of text: none may act on a terminal. */
const unsafe = /[\\\p{Cc}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]|^ +| +$/gu;

/**
 * A key on one line, harmless to a terminal, and reversible: `\\`, `\n`, `\r`, `\t`, `\xHH` and `\u{H…}`;
 * blanks at either end as `\x20`. Every other character stands for itself.
 */
export function printable(key: string): string {
  return key.replace(unsafe, (found) => [...found].map(escaped).join(''));
}

function escaped(character: string): string {
  const short = named[character];
  if (short !== undefined) return short;
  const code = character.codePointAt(0)!;
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`;
}

/** The key that `printable` printed. */
export function unprintable(text: string): string {
  return text.replace(/\\(?:([\\nrt])|x([0-9a-f]{2})|u\{([0-9a-f]+)\})/g, (_, short, hex, code) =>
    short !== undefined
      ? { '\\': '\\', n: '\n', r: '\r', t: '\t' }[short as 'n']
      : String.fromCodePoint(Number.parseInt(hex ?? code, 16)),
  );
}

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** Three digits that matter: `0 B`, `1.5 KiB`, `300 MiB`. */
export function bytesText(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  const digits = unit === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${units[unit]}`;
}

/** The two largest units: `0.3 s`, `12 s`, `3 min 5 s`, `2 h 10 min`, `4 d 3 h`. */
export function spanText(ms: number): string {
  const seconds = ms / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86_400)} d ${Math.floor((whole % 86_400) / 3600)} h`;
}

export function countText(count: number, noun: string): string {
  return `${grouped(count)} ${noun}${count === 1 ? '' : 's'}`;
}

export function grouped(count: number): string {
  return Math.round(count)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, ',');
}

/** UTC, to the second: `2026-11-21 13:08:05Z`. */
export function timeText(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')}Z`;
}

/** Columns padded to the same width; numbers, which `right` names by index, to the right. */
export function table(rows: readonly (readonly string[])[], right: readonly number[] = []): string[] {
  const widths = rows.reduce<number[]>((max, row) => {
    for (const [index, cell] of row.entries()) max[index] = Math.max(max[index] ?? 0, cell.length);
    return max;
  }, []);
  const pad = (cell: string, index: number): string =>
    right.includes(index) ? cell.padStart(widths[index]!) : cell.padEnd(widths[index]!);
  return rows.map((row) => row.map(pad).join('  ').trimEnd());
}
