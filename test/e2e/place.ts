import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

export const main = join(import.meta.dirname, '../../src/cli/main.ts');

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A folder with an `isobar.yaml` over the sites `a` and `b`, which are folders; `a` holds one file. */
export class Place {
  readonly folder = mkdtempSync(join(tmpdir(), 'isobar-place-'));
  /** What no output may hold. */
  readonly secrets: string[] = [];

  constructor(t: TestContext) {
    for (const site of ['a', 'b']) mkdirSync(join(this.folder, site));
    writeFileSync(join(this.folder, 'a', 'kept.txt'), 'precious');
    this.configure();
    t.after(() => rmSync(this.folder, { recursive: true, force: true }));
  }

  /** With `sites` beside `a` and `b`; `dataset` changes fields of `d`, `more` those of the file. */
  configure({
    sites = {},
    dataset = {},
    more = {},
  }: {
    sites?: object;
    dataset?: object;
    more?: object;
  } = {}): void {
    const folders = { a: { kind: 'filesystem', path: 'a' }, b: { kind: 'filesystem', path: 'b' } };
    const all = { ...folders, ...sites };
    const datasets = { d: { sites: Object.keys(all), ...dataset } };
    this.write(JSON.stringify({ sites: all, datasets, state: 'state', listen: '127.0.0.1:0', ...more }));
  }

  write(yaml: string): void {
    writeFileSync(join(this.folder, 'isobar.yaml'), yaml);
  }

  run(...argv: readonly string[]): Promise<Finished> {
    return this.#finish(process.execPath, [main, ...argv]);
  }

  /** No file may grow beyond so many KiB. */
  runWithSmallFiles(kib: number, ...argv: readonly string[]): Promise<Finished> {
    const command = `ulimit -f ${kib}; trap '' XFSZ; exec "$0" "$@"`;
    return this.#finish('bash', ['-c', command, process.execPath, main, ...argv]);
  }

  /** What the users have in the folders. */
  files(): Record<string, string> {
    const found: Record<string, string> = {};
    for (const site of ['a', 'b']) {
      for (const name of readdirSync(join(this.folder, site), { recursive: true, encoding: 'utf8' })) {
        const path = join(this.folder, site, name);
        if (!name.startsWith('.isobar') && statSync(path).isFile())
          found[`${site}/${name}`] = readFileSync(path, 'utf8');
      }
    }
    return found;
  }

  /** Runs what must end so, with a message that a person can act upon. */
  async told(code: number, message: RegExp, ...argv: readonly string[]): Promise<Finished> {
    const finished = await this.run(...argv);
    assertTold(finished, code, message);
    return finished;
  }

  /** Runs what must be refused, and sees that nothing in the folders has changed. */
  async refused(code: number, message: RegExp, ...argv: readonly string[]): Promise<void> {
    const before = this.files();
    await this.told(code, message, ...argv);
    assert.deepEqual(this.files(), before);
  }

  async #finish(program: string, argv: readonly string[]): Promise<Finished> {
    const env = { ...process.env, NO_COLOR: '1', AWS_EC2_METADATA_DISABLED: 'true' };
    const child = spawn(program, argv, { cwd: this.folder, stdio: ['ignore', 'pipe', 'pipe'], env });
    const [stdout, stderr]: [string[], string[]] = [[], []];
    child.stdout.on('data', (piece) => stdout.push(String(piece)));
    child.stderr.on('data', (piece) => stderr.push(String(piece)));
    const [code] = (await once(child, 'close')) as [number | null];
    const finished = { code, stdout: stdout.join(''), stderr: stderr.join('') };
    for (const secret of this.secrets)
      assert.ok(!`${finished.stdout}${finished.stderr}`.includes(secret), `no secret: ${argv.join(' ')}`);
    return finished;
  }
}

export function assertTold({ code, stdout, stderr }: Finished, expected: number, message: RegExp): void {
  assert.match(stderr, message);
  assert.equal(code, expected, stderr);
  assert.doesNotMatch(`${stdout}${stderr}`, /^\s+at .*[(:]\d+/m, 'no stack trace');
  assert.doesNotMatch(`${stdout}${stderr}`, /unexpected failure/);
}
