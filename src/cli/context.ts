import type { Config } from '../config/load.ts';
import type { Isobar, OpenIsobar } from './api.ts';
import { Output, type Sink } from './output.ts';

/** What the process is made of, handed in so that a test can hand in something else. */
export interface Host {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: AsyncIterable<Uint8Array> & { readonly isTTY?: boolean };
  readonly stdout: Sink;
  readonly stderr: Sink;
  /** Aborts with `Interrupted` on the first Ctrl-C or SIGTERM. */
  readonly signal: AbortSignal;
  readonly nowMs: () => number;
  /** Loads engine and drivers: only for commands that need them. */
  readonly open: OpenIsobar;
}

export interface GlobalFlags {
  readonly config: string;
  readonly json: boolean;
  readonly quiet: boolean;
  readonly verbose: boolean;
}

/** What a command works with. */
export interface Context {
  readonly host: Host;
  readonly flags: GlobalFlags;
  readonly output: Output;
  readonly signal: AbortSignal;
  /** Throws `ConfigFailure`. */
  config(): Promise<Config>;
  /** Opened once, closed when the command ends. */
  isobar(): Promise<Isobar>;
}

export class CommandContext implements Context {
  readonly host: Host;
  readonly flags: GlobalFlags;
  readonly output: Output;
  #config: Config | undefined;
  #isobar: Promise<Isobar> | undefined;

  constructor(host: Host, flags: GlobalFlags) {
    this.host = host;
    this.flags = flags;
    this.output = new Output(host.stdout, host.stderr, { ...flags, ...colorsOf(host) }, host.nowMs);
  }

  get signal(): AbortSignal {
    return this.host.signal;
  }

  async config(): Promise<Config> {
    // Loaded late: the schema costs more time than all of `--help` may take.
    const { loadConfig } = await import('../config/load.ts');
    this.#config ??= loadConfig(this.flags.config, this.host.env);
    return this.#config;
  }

  async isobar(): Promise<Isobar> {
    const config = await this.config();
    this.#isobar ??= this.host.open(config, { explain: (line) => this.output.explain(line) });
    return this.#isobar;
  }

  async close(): Promise<void> {
    const isobar = await this.#isobar?.catch(() => undefined);
    await isobar?.close();
  }
}

/** https://no-color.org: any value but the empty one counts. */
function colorsOf({ env, stdout, stderr }: Host): { color: boolean; talkColor: boolean } {
  const wanted = (env.NO_COLOR ?? '') === '' && env.TERM !== 'dumb';
  return { color: wanted && stdout.isTTY === true, talkColor: wanted && stderr.isTTY === true };
}
