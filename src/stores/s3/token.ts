import type { Token } from '../../ports/object-store.ts';

/**
 * What names one write at S3. The ETag alone does not: equal bodies share it. So the time goes with it, in
 * whole seconds since 1970 as headers give it: exact where it was seen, a window where only the server's
 * clock around the write is known.
 */
export interface WriteName {
  /** Without quotes. */
  readonly etag: string;
  /** First and last second in which the write may have happened. Absent: not bounded. */
  readonly from?: number | undefined;
  readonly to?: number | undefined;
  /** Only in versioned buckets, and never from a listing. */
  readonly version?: string | undefined;
}

/** `ETAG WINDOW VERSION`, with `-` for what is unknown; a window is `SECOND` or `FROM..TO`, either end open. */
export function formatToken(name: WriteName): Token {
  return `${escapeField(name.etag)} ${formatWindow(name)} ${name.version === undefined ? '-' : escapeField(name.version)}`;
}

export function parseToken(token: Token): WriteName {
  // Two for every key of a pass: no lists are made.
  const first = endOfField(token, 0);
  const second = endOfField(token, first + 1);
  const version = token.slice(second + 1, endOfField(token, second + 1));
  const dots = token.indexOf('..', first);
  const hasRange = dots >= 0 && dots < second;
  return {
    etag: unescapeField(token.slice(0, first)),
    from: parseSecond(token.slice(first + 1, hasRange ? dots : second)),
    to: parseSecond(token.slice(hasRange ? dots + 2 : first + 1, second)),
    version: version === '' || version === '-' ? undefined : unescapeField(version),
  };
}

function endOfField(token: Token, from: number): number {
  const end = token.indexOf(' ', from);
  return end < 0 ? token.length : end;
}

/** Equal ETags, equal versions where both are known, and times that can be the same. */
export function sameWrite(recorded: Token, seen: Token): boolean {
  if (recorded === seen) return true;
  const a = parseToken(recorded);
  const b = parseToken(seen);
  if (a.etag !== b.etag) return false;
  if (a.version !== undefined && b.version !== undefined) return a.version === b.version;
  return !endsBefore(a, b) && !endsBefore(b, a);
}

/** `"abc"` and `abc` are the same; a weak mark is kept, since a weak ETag fits no condition. */
export function unquoted(etag: string): string {
  return etag.length >= 2 && etag.startsWith('"') && etag.endsWith('"') ? etag.slice(1, -1) : etag;
}

/** As a condition sends it. */
export function quoted(etag: string): string {
  return etag.startsWith('W/') ? etag : `"${etag}"`;
}

/** `null` is what a bucket with suspended versioning calls every write: it names none. */
export function versionOf(header: string | undefined): string | undefined {
  return header === undefined || header === '' || header === 'null' ? undefined : header;
}

const clockSlackMs = 1_000;

/**
 * The seconds in which a write happened whose answer tells no time of its own: the server's clock at the
 * answer, back by the length of the request; a large answer may also have begun before the write ended.
 * One second more on each side, since the machine that answers is not the one that stores.
 */
export function windowOf(
  dateHeader: string | undefined,
  elapsedMs: number,
): { readonly from?: number; readonly to?: number } {
  const serverMs = Date.parse(dateHeader ?? '');
  if (Number.isNaN(serverMs)) return {};
  return {
    from: Math.floor((serverMs - elapsedMs - clockSlackMs) / 1000),
    to: Math.ceil((serverMs + elapsedMs + clockSlackMs) / 1000),
  };
}

function endsBefore(a: WriteName, b: WriteName): boolean {
  return a.to !== undefined && b.from !== undefined && a.to < b.from;
}

function formatWindow({ from, to }: WriteName): string {
  if (from === undefined && to === undefined) return '-';
  return from === to ? String(from) : `${from ?? ''}..${to ?? ''}`;
}

function parseSecond(text: string | undefined): number | undefined {
  return text === undefined || text === '' || text === '-' ? undefined : Number(text);
}

const special = /[%\s]/;

function escapeField(text: string): string {
  if (!special.test(text)) return text;
  return text.replaceAll(/[%\s]/g, encodeURIComponent);
}

function unescapeField(text: string): string {
  return text.includes('%') ? decodeURIComponent(text) : text;
}
