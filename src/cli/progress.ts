import type { Progress } from './api.ts';
import { bytesText, grouped, spanText } from './text.ts';

export interface ProgressSettings {
  readonly write: (text: string) => unknown;
  readonly nowMs: () => number;
  /** On a terminal one line is rewritten; elsewhere a line is printed now and then. */
  readonly terminal: boolean;
  readonly columns: () => number;
}

const terminalEveryMs = 100;
const plainEveryMs = 5_000;
/** Rates are of this last while, so that they follow what happens. */
const windowMs = 5_000;

interface Sample {
  readonly atMs: number;
  readonly keys: number;
  readonly bytes: number;
}

/** Shows how far a long command has got, with rate and time to go. */
export class ProgressLine {
  enabled = true;
  readonly #settings: ProgressSettings;
  #samples: Sample[] = [];
  #phase = '';
  #shownMs = Number.NEGATIVE_INFINITY;
  #onScreen = false;

  constructor(settings: ProgressSettings) {
    this.#settings = settings;
  }

  show(progress: Progress): void {
    if (!this.enabled) return;
    const atMs = this.#settings.nowMs();
    this.#sample(progress, atMs);
    const everyMs = this.#settings.terminal ? terminalEveryMs : plainEveryMs;
    if (this.#shownMs === Number.NEGATIVE_INFINITY && !this.#settings.terminal) this.#shownMs = atMs;
    if (atMs - this.#shownMs < everyMs) return;
    this.#shownMs = atMs;
    const text = describe(progress, this.#samples);
    if (!this.#settings.terminal) {
      this.#settings.write(`${text}\n`);
      return;
    }
    this.#settings.write(`\r${text.slice(0, Math.max(this.#settings.columns() - 1, 20))}\u001b[K`);
    this.#onScreen = true;
  }

  /** Takes the line away so that something else can be printed; the next call of `show` brings it back. */
  clear(): void {
    if (!this.#onScreen) return;
    this.#settings.write('\r\u001b[K');
    this.#onScreen = false;
    this.#shownMs = Number.NEGATIVE_INFINITY;
  }

  end(): void {
    this.clear();
    this.#samples = [];
  }

  #sample({ phase, keys, bytes }: Progress, atMs: number): void {
    const last = this.#samples.at(-1);
    const restarted =
      phase !== this.#phase || (last !== undefined && (keys < last.keys || bytes < last.bytes));
    if (restarted) this.#samples = [];
    this.#phase = phase;
    this.#samples.push({ atMs, keys, bytes });
    while (this.#samples.length > 2 && this.#samples[1]!.atMs < atMs - windowMs) this.#samples.shift();
    // Called for every key, it would otherwise keep one sample for each of a fast second.
    if (this.#samples.length > 256) this.#samples = this.#samples.filter((_, index) => index % 2 === 0);
  }
}

function describe(progress: Progress, samples: readonly Sample[]): string {
  const { phase, keys, totalKeys, bytes, totalBytes, note } = progress;
  const first = samples[0]!;
  const last = samples.at(-1)!;
  const seconds = (last.atMs - first.atMs) / 1000;
  const keysPerSecond = seconds > 0 ? (last.keys - first.keys) / seconds : 0;
  const bytesPerSecond = seconds > 0 ? (last.bytes - first.bytes) / seconds : 0;
  const parts = [
    `${phase}: ${grouped(keys)}${totalKeys === undefined ? '' : ` of ${grouped(totalKeys)}`} keys`,
  ];
  if (bytes > 0 || totalBytes !== undefined) {
    parts.push(`${bytesText(bytes)}${totalBytes === undefined ? '' : ` of ${bytesText(totalBytes)}`}`);
  }
  if (bytesPerSecond > 0) parts.push(`${bytesText(bytesPerSecond)}/s`);
  const toGo = timeToGo(progress, keysPerSecond, bytesPerSecond);
  if (toGo !== undefined) parts.push(`${spanText(toGo)} to go`);
  if (keysPerSecond > 0) parts.push(`${grouped(keysPerSecond)} keys/s`);
  if (note !== undefined) parts.push(note);
  return parts.join(', ');
}

/** By whichever of keys and bytes needs longer: many small objects are bound by the one, few large by the other. */
function timeToGo(progress: Progress, keysPerSecond: number, bytesPerSecond: number): number | undefined {
  const times: number[] = [];
  if (progress.totalKeys !== undefined && keysPerSecond > 0) {
    times.push((progress.totalKeys - progress.keys) / keysPerSecond);
  }
  if (progress.totalBytes !== undefined && bytesPerSecond > 0) {
    times.push((progress.totalBytes - progress.bytes) / bytesPerSecond);
  }
  return times.length === 0 ? undefined : Math.max(0, ...times) * 1000;
}
