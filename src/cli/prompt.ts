import { createInterface, type Interface } from 'node:readline/promises';
import type { Context } from './context.ts';
import { CliFailure } from './failure.ts';
import type { Output } from './output.ts';

/** Asks on a terminal, by stderr. Ctrl-C stops the program as anywhere else; Ctrl-D leaves the question unanswered. */
export class Prompt {
  readonly #lines: Interface;
  readonly #output: Output;
  readonly #signal: AbortSignal;
  readonly #closed = new AbortController();

  constructor({ host, output, signal }: Context) {
    this.#output = output;
    this.#signal = signal;
    this.#lines = createInterface({
      input: host.stdin as NodeJS.ReadStream,
      output: host.stderr as NodeJS.WriteStream,
    });
    // Ctrl-C reaches the prompt, not the process, while it reads a terminal in raw mode.
    this.#lines.on('SIGINT', () => process.kill(process.pid, 'SIGINT'));
    this.#lines.on('close', () => this.#closed.abort());
  }

  async ask(question: string): Promise<string> {
    const signal = AbortSignal.any([this.#signal, this.#closed.signal]);
    try {
      return (await this.#lines.question(`${question} `, { signal })).trim();
    } catch (cause) {
      this.#signal.throwIfAborted();
      throw new CliFailure('the question was not answered; nothing was done', { cause });
    }
  }

  /** Why the answer will not do. */
  complain(problem: string): void {
    this.#output.warn(problem);
  }

  close(): void {
    this.#lines.close();
  }
}
