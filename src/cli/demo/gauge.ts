import type { SiteStatus } from '../../replicate/lag.ts';
import type { Events } from '../../replicate/shell.ts';
import { bytesText, countText, spanText } from '../text.ts';
import type { Row } from './screen.ts';

interface Arrival {
  readonly atMs: number;
  readonly bytes: number;
}

const windowMs = 1_000;

/** What reached each site since the step began: counted from the engine's events, for the eye only. */
export class Gauge {
  readonly #nowMs: () => number;
  #begunMs: number;
  #arrivals = new Map<string, Arrival[]>();

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
    this.#begunMs = nowMs();
  }

  begin(): void {
    this.#begunMs = this.#nowMs();
    this.#arrivals = new Map();
  }

  readonly copied: NonNullable<Events['copied']> = ({ site, bytes, outcome }) => {
    if (outcome === 'noted') return;
    const arrivals = this.#arrivals.get(site) ?? [];
    arrivals.push({ atMs: this.#nowMs(), bytes });
    this.#arrivals.set(site, arrivals);
  };

  /** One row per site. `last`: the rate is that of the whole step, not of this moment. */
  rows(statuses: readonly SiteStatus[], last: boolean): Row[] {
    const cells = statuses.map((status) => this.#cells(status, last));
    return cells.map((row, index) => ({
      text: `   ${row
        .map((cell, column) => padded(cell, column))
        .join('  ')
        .trimEnd()}`,
      tone: statuses[index]!.state === 'away' ? 'yellow' : 'plain',
    }));
  }

  #cells(status: SiteStatus, last: boolean): string[] {
    const arrivals = this.#arrivals.get(status.site) ?? [];
    const bytes = sum(arrivals);
    const { lagMs, backlogKeys } = status;
    return [
      status.site,
      status.state === 'unknown' ? 'new' : status.state,
      countText(arrivals.length, 'change'),
      bytesText(bytes),
      `${bytesText(this.#rate(arrivals, last))}/s`,
      `lag ${lagMs === undefined ? 'unknown' : spanText(lagMs)}`,
      backlogKeys === 0 ? '' : `${backlogKeys} to come`,
    ];
  }

  #rate(arrivals: readonly Arrival[], last: boolean): number {
    const nowMs = this.#nowMs();
    if (!last) return sum(arrivals.filter(({ atMs }) => nowMs - atMs <= windowMs)) / (windowMs / 1000);
    const tookMs = (arrivals.at(-1)?.atMs ?? nowMs) - this.#begunMs;
    return sum(arrivals) / (Math.max(tookMs, 1) / 1000);
  }
}

/** The same at every step, or the rows would jump while they are rewritten. */
const widths = [-5, -4, 13, 9, 11, -11, -1];

/** Numbers to the right, words to the left. */
function padded(cell: string, column: number): string {
  const width = widths[column] ?? 0;
  return width < 0 ? cell.padEnd(-width) : cell.padStart(width);
}

function sum(arrivals: readonly Arrival[]): number {
  return arrivals.reduce((bytes, arrival) => bytes + arrival.bytes, 0);
}
