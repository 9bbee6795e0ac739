import assert from 'node:assert/strict';
import { type ChildProcess, type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { statFields } from '../servers/linux-proc.ts';
import { main, Place } from './place.ts';

// The first Ctrl-C stops in good order, the second at once; whatever was under way, the next sync converges.

/** In which /proc counts processor time (proc_pid_stat(5)). */
const ticksPerSecond = 100;

/** An `isobar` whose stdout nobody reads until `read` is called. */
class Running {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #ended: Promise<number>;
  #talk = '';

  constructor(t: TestContext, place: Place, ...argv: readonly string[]) {
    this.#child = spawn(process.execPath, [main, ...argv], { cwd: place.folder });
    this.#child.stderr.on('data', (piece: Buffer) => {
      this.#talk += piece.toString('utf8');
    });
    this.#ended = once(this.#child, 'exit').then(([code, signal]) =>
      code === null ? 128 + constants.signals[signal as NodeJS.Signals] : (code as number),
    );
    t.after(() => this.#child.kill('SIGKILL'));
  }

  async says(pattern: RegExp): Promise<void> {
    while (!pattern.test(this.#talk)) {
      assert.equal(this.#child.exitCode, null, this.#talk);
      await Promise.race([once(this.#child.stderr, 'data'), this.#ended]);
    }
  }

  get talk(): string {
    return this.#talk;
  }

  read(): void {
    this.#child.stdout.resume();
  }

  /** Waits until it does next to nothing: for a second at most a tenth of what a processor can. */
  async stuck(): Promise<void> {
    const ticks = () =>
      (statFields(String(this.#child.pid))?.slice(11, 13) ?? []).reduce((a, b) => a + Number(b), 0);
    for (let last = Number.NEGATIVE_INFINITY; ; ) {
      const now = ticks();
      if (now - last <= ticksPerSecond / 10) return;
      last = now;
      await sleep(1_000);
    }
  }

  interrupt(): void {
    this.#child.kill('SIGINT');
  }

  /** The exit code, as a shell tells it. */
  ended(): Promise<number> {
    return this.#ended;
  }
}

function fillFolder(place: Place, count: number, prefix = 'f'): void {
  for (let i = 0; i < count; i++) writeFileSync(join(place.folder, 'a', `${prefix}${i}`), `body ${i}`);
}

const copied = (place: Place) => readdirSync(join(place.folder, 'b')).length;

async function converges(place: Place, keys: number): Promise<void> {
  assert.equal((await place.run('sync', 'd')).code, 0);
  const { code, stdout } = await place.run('verify', 'd', '--deep', '--json');
  assert.deepEqual([code, JSON.parse(stdout).comparedKeys], [0, keys]);
}

test('Ctrl-C in the middle of a sync: 130 in good order', async (t) => {
  const place = new Place(t);
  fillFolder(place, 600);
  const running = new Running(t, place, 'sync', 'd');
  running.read();
  while (copied(place) < 20) await sleep(5);
  running.interrupt();
  assert.equal(await running.ended(), 130);
  assert.match(running.talk, /stopping; Ctrl-C again stops at once\n(.*\n)*isobar: stopped\n/);
  assert.ok(copied(place) < 600);
  await converges(place, 601);
});

test('a second Ctrl-C ends a sync whose output nobody takes', async (t) => {
  const place = new Place(t);
  fillFolder(place, 800, 'long'.repeat(50));
  const running = new Running(t, place, 'sync', 'd', '--dry-run', '--json');
  await running.stuck();
  running.interrupt();
  await running.says(/Ctrl-C again stops at once/);
  running.interrupt();
  assert.equal(await running.ended(), 130);
  await converges(place, 801);
});

test('a second Ctrl-C ends a sync and a run whose ledger is stuck', async (t) => {
  for (const command of [['sync', 'd'], ['run']]) {
    const place = new Place(t);
    fillFolder(place, 1_000);
    const running = new Running(t, place, ...command);
    running.read();
    while (copied(place) < 50) await sleep(5);
    const holder = await holdLedger(t, place);
    await running.stuck();
    running.interrupt();
    await running.says(/Ctrl-C again stops at once/);
    running.interrupt();
    assert.equal(await running.ended(), 130);
    assert.ok(copied(place) < 1_000);
    holder.kill('SIGKILL');
    await converges(place, 1_001);
  }
});

/** As a process does that was stopped in the middle of a commit. */
async function holdLedger(t: TestContext, place: Place): Promise<ChildProcess> {
  const program = join(import.meta.dirname, 'ledger-holder.ts');
  const file = join(place.folder, 'state', 'data.mdb');
  const holder = spawn(process.execPath, [program, file], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => holder.kill('SIGKILL'));
  await once(holder.stdout, 'data');
  return holder;
}
