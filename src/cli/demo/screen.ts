import type { Output } from '../output.ts';

export interface LiveRows {
  /** Leaves the last state on the screen. */
  stop(): Promise<void>;
}

const terminalEveryMs = 100;
const plainEveryMs = 5_000;

/** What the person sees. On a terminal the rows of a step are rewritten in place; elsewhere they are printed. */
export class Screen {
  readonly #output: Output;
  readonly #columns: () => number;
  readonly #rewrites: boolean;

  constructor(output: Output, settings: { readonly rewrites: boolean; readonly columns: () => number }) {
    this.#output = output;
    this.#rewrites = settings.rewrites;
    this.#columns = settings.columns;
  }

  line(text = ''): Promise<void> {
    return this.#output.line(text);
  }

  title(text: string): Promise<void> {
    return this.line(this.#output.paint('bold', text));
  }

  step(number: number, text: string): Promise<void> {
    return this.line(`\n${this.#output.paint('bold', `${number}. ${text}`)}`);
  }

  /** Something that was checked and found true. */
  claim(text: string): Promise<void> {
    return this.line(`   ${this.#output.paint('green', '✓')} ${text}`);
  }

  /** Shows `rows` again and again until it is stopped; `last` is true for the rows that stay. */
  live(rows: (last: boolean) => Promise<readonly Row[]>): LiveRows {
    const stop = Promise.withResolvers<void>();
    let shown = 0;
    const draw = async (last: boolean): Promise<void> => {
      const lines = (await rows(last)).map((row) => this.#paint(row));
      if (this.#rewrites) await this.#output.rewind(shown);
      await this.line(lines.join('\n'));
      shown = lines.length;
    };
    const everyMs = this.#rewrites ? terminalEveryMs : plainEveryMs;
    const drawing = this.#drawUntil(stop.promise, everyMs, draw);
    // Whoever stops the rows is told what went wrong with them; nobody may be left to hear of it.
    drawing.catch(() => {});
    return {
      stop: async () => {
        stop.resolve();
        await drawing;
      },
    };
  }

  async #drawUntil(
    stopped: Promise<void>,
    everyMs: number,
    draw: (last: boolean) => Promise<void>,
  ): Promise<void> {
    let isStopped = false;
    const stopping = stopped.then(() => {
      isStopped = true;
    });
    if (this.#rewrites) await draw(false);
    while (!isStopped) {
      const pause = Promise.withResolvers<void>();
      const timer = setTimeout(pause.resolve, everyMs);
      await Promise.race([pause.promise, stopping]);
      clearTimeout(timer);
      if (!isStopped) await draw(false);
    }
    await draw(true);
  }

  /** A row that were broken over two lines could not be rewritten. */
  #paint({ text, tone }: Row): string {
    const cut = this.#rewrites ? text.slice(0, Math.max(this.#columns() - 1, 20)) : text;
    return tone === 'plain' ? cut : this.#output.paint(tone, cut);
  }
}

export interface Row {
  readonly text: string;
  readonly tone: 'plain' | 'yellow' | 'dim';
}
