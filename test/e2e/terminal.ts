import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { main } from './place.ts';

/** Why there can be no terminal here; false when there can. */
export function noTerminal(): string | false {
  const { stdout } = spawnSync('script', ['--version'], { encoding: 'utf8' });
  return /util-linux/.test(stdout ?? '') ? false : 'no `script` of util-linux, which makes terminals';
}

export const keys = { enter: '\r', ctrlC: '\u0003', ctrlD: '\u0004' } as const;

/** `isobar` on a terminal of its own. */
export class Terminal {
  readonly #script: ChildProcessWithoutNullStreams;
  readonly #ended: Promise<number | null>;
  #over = false;
  #shown = '';
  #answered = 0;

  constructor(folder: string, ...argv: readonly string[]) {
    const command = [process.execPath, main, ...argv].map((word) => `'${word}'`).join(' ');
    const env = { ...process.env, SHELL: '/bin/sh', TERM: 'xterm', NO_COLOR: '1' };
    this.#script = spawn('script', ['-qec', `exec ${command}`, '/dev/null'], { cwd: folder, env });
    for (const stream of [this.#script.stdout, this.#script.stderr]) {
      stream.on('data', (piece: Buffer) => {
        this.#shown += piece.toString('utf8');
      });
    }
    this.#ended = once(this.#script, 'close').then(([code]) => {
      this.#over = true;
      return code as number | null;
    });
  }

  /** All that was ever shown, control sequences included. */
  get shown(): string {
    return this.#shown;
  }

  /** What has been shown since the last answer. */
  get latest(): string {
    return this.#shown.slice(this.#answered);
  }

  /** Waits for a question and types. */
  async answer(question: RegExp, typed: string): Promise<void> {
    while (!question.test(this.latest)) {
      if (this.#over) throw new Error(`it ended before it asked ${question}:\n${this.#shown}`);
      await Promise.race([once(this.#script.stdout, 'data'), this.#ended]);
    }
    this.#answered = this.#shown.length;
    this.#script.stdin.write(typed);
  }

  /** The exit code, as a shell tells it. */
  ended(): Promise<number | null> {
    return this.#ended;
  }

  kill(): void {
    this.#script.kill('SIGKILL');
  }
}
