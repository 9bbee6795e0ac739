import { createHash } from 'node:crypto';

/** What happened, in order: a hash to compare runs by, and the lines for whoever looks closer. */
export class Trace {
  readonly #hash = createHash('sha256');
  /** Kept only when asked for. */
  lines: string[] | undefined;

  add(line: string): void {
    this.#hash.update(`${line}\n`);
    this.lines?.push(line);
  }

  digest(): string {
    return this.#hash.copy().digest('hex').slice(0, 16);
  }
}
