import { parseStamp } from '../model/stamp.ts';
import { compareVersions, covers, historyOf, type Version } from '../model/version.ts';

/**
 * Which write a part of a document is from. A removal has the clock of what it removed and comes right after it, so
 * that whatever was written since survives it.
 */
export interface Clock {
  /** Only what orders it: its past is empty. */
  readonly version: Version;
  readonly gone: boolean;
}

export function clockOf({ stamp, dot, operation }: Version): Clock {
  return { version: { stamp, dot, past: {}, operation, deleted: false }, gone: false };
}

export function removalOf(clock: Clock): Clock {
  return { ...clock, gone: true };
}

export function writeOf(clock: Clock): Clock {
  return clock.gone ? { ...clock, gone: false } : clock;
}

export function compareClocks(a: Clock, b: Clock): number {
  return compareVersions(a.version, b.version) || Number(a.gone) - Number(b.gone);
}

/** Undefined is before everything. */
export function isBefore(a: Clock | undefined, b: Clock | undefined): boolean {
  return b !== undefined && (a === undefined || compareClocks(a, b) < 0);
}

export function later(a: Clock | undefined, b: Clock | undefined): Clock | undefined {
  return isBefore(a, b) ? b : a;
}

/** Tells of clocks whether the writer of `version` had that write before them, or is its writer. */
export function seenBy(version: Version): (clock: Clock) => boolean {
  const history = historyOf(version);
  const own = version.dot;
  return ({ version: { dot, operation } }) =>
    own.site === dot.site && own.count === dot.count ? version.operation === operation : covers(history, dot);
}

/** `stamp;site.count;operation`, and `-` before that of a removal. */
export function encodeClock({ version, gone }: Clock): string {
  const { stamp, dot, operation } = version;
  return `${gone ? '-' : ''}${stamp};${dot.site}.${dot.count};${operation}`;
}

/** Undefined when it is none. */
export function decodeClock(text: string): Clock | undefined {
  const match = /^(-?)([0-9a-f]{16});([a-z][a-z0-9-]*)\.(\d{1,15});([^;|]+)$/.exec(text);
  const stamp = parseStamp(match?.[2] ?? '');
  if (!match || !stamp) return undefined;
  const dot = { site: match[3]!, count: Number(match[4]) };
  return {
    version: { stamp, dot, past: {}, operation: match[5]!, deleted: false },
    gone: match[1] === '-',
  };
}
