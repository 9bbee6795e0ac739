import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { redact } from '../config/secret.ts';
import type { Progress } from './api.ts';
import { ProgressLine } from './progress.ts';

export interface Sink extends Pick<Writable, 'write' | 'on' | 'once' | 'off'> {
  readonly isTTY?: boolean;
  readonly columns?: number;
}

export interface OutputSettings {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly verbose: boolean;
  /** On stdout and on stderr: either may be a terminal while the other is not. */
  readonly color: boolean;
  readonly talkColor: boolean;
}

/** The reader of stdout is gone, as with `isobar ls | head`: no failure. */
export class OutputClosed extends Error {
  override readonly name = 'OutputClosed';
}

/** Fields that hold sentences, into which a server's answer may have found its way. A key is never touched. */
const prose = new Set([
  'error',
  'lastError',
  'detail',
  'remedy',
  'because',
  'held',
  'parkedBecause',
  'message',
  'hint',
]);

function withoutSecrets(name: string, value: unknown): unknown {
  return typeof value === 'string' && prose.has(name) ? redact(value) : value;
}

const colors = { red: 31, green: 32, yellow: 33, dim: 2, bold: 1 } as const;

/** Data goes to stdout, everything that is said about it to stderr. Secrets reach neither. */
export class Output {
  readonly settings: OutputSettings;
  /** Aborts when the reader of stdout is gone; what only streams data stops then. */
  readonly gone: AbortSignal;
  readonly #stdout: Sink;
  readonly #stderr: Sink;
  readonly #progress: ProgressLine;

  constructor(stdout: Sink, stderr: Sink, settings: OutputSettings, nowMs: () => number) {
    this.settings = settings;
    this.#stdout = stdout;
    this.#stderr = stderr;
    const gone = new AbortController();
    this.gone = gone.signal;
    stdout.on('error', (error: NodeJS.ErrnoException) => {
      gone.abort(error.code === 'EPIPE' ? new OutputClosed('stdout was closed') : error);
    });
    // A closed stderr leaves nobody to tell.
    stderr.on('error', () => {});
    const shown = !settings.quiet && !settings.json;
    const write = (text: string): unknown => stderr.write(text);
    this.#progress = new ProgressLine({
      write,
      nowMs,
      terminal: shown && stderr.isTTY === true,
      columns: () => stderr.columns ?? 80,
    });
    this.#progress.enabled = shown;
  }

  get isTerminal(): boolean {
    return this.#stdout.isTTY === true;
  }

  /** One line of data for people; nothing with `--json`. Keys stay as they are: redact what is prose. */
  async line(text: string): Promise<void> {
    if (!this.settings.json) await this.#data(`${text}\n`);
  }

  /** One line of JSON, with `--json` only. `type` comes first. */
  async json(type: string, value: object): Promise<void> {
    if (this.settings.json) await this.#data(`${JSON.stringify({ type, ...value }, withoutSecrets)}\n`);
  }

  /** A document that is the answer itself, whatever the flags say. */
  async document(text: string): Promise<void> {
    await this.#data(text);
  }

  /** Bytes of a user's object, untouched. */
  async bytes(bytes: Uint8Array): Promise<void> {
    await this.#data(bytes);
  }

  /** Talk: not with `--quiet`, and not with `--json`, where everything worth knowing is in the data. */
  say(text: string): void {
    if (!this.settings.quiet && !this.settings.json) this.#talk(text);
  }

  /** Talk for those who asked for it, in every format. */
  explain(text: string): void {
    if (this.settings.verbose) this.#talk(this.paintTalk('dim', text));
  }

  /** What must not be missed, even with `--quiet`. */
  warn(text: string): void {
    this.#talk(text);
  }

  /** A failure with `--json`: one line of JSON, on stderr. */
  fail(told: object): void {
    this.#talk(JSON.stringify({ type: 'error', ...told }));
  }

  progress(progress: Progress): void {
    this.#progress.show(progress);
  }

  endProgress(): void {
    this.#progress.end();
  }

  /** For data. Colours are for a terminal, and never with NO_COLOR. */
  paint(color: keyof typeof colors, text: string): string {
    return this.settings.color ? painted(color, text) : text;
  }

  /** For talk. */
  paintTalk(color: keyof typeof colors, text: string): string {
    return this.settings.talkColor ? painted(color, text) : text;
  }

  /** Replaces the `lines` printed before; for `status --watch` on a terminal. */
  async rewind(lines: number): Promise<void> {
    if (lines > 0) await this.#data(`\u001b[${lines}A\u001b[0J`);
  }

  #talk(text: string): void {
    this.#progress.clear();
    this.#stderr.write(`${redact(text)}\n`);
  }

  async #data(data: string | Uint8Array): Promise<void> {
    if (this.gone.aborted) return;
    this.#progress.clear();
    if (this.#stdout.write(data)) return;
    await once(this.#stdout as Writable, 'drain', { signal: this.gone }).catch(() => {});
  }
}

function painted(color: keyof typeof colors, text: string): string {
  return `\u001b[${colors[color]}m${text}\u001b[0m`;
}
