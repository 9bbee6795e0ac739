import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { idsWith } from '../ports/ledger.ts';
import { type Embedded, openEmbedded } from './open.ts';

const rowsPerBatch = 20;
const changesPerBatch = 5;
const dataset = 'photos';
const kills = 20;

const [, , childFolder, childName] = process.argv;
if (childFolder !== undefined && childName !== undefined) await work(childFolder, childName);
else tests();

/** One worker: commits batches, publishes, consumes, and says what was acknowledged, until it is killed. */
async function work(folder: string, name: string): Promise<void> {
  const state = await openEmbedded({ folder });
  say(`open ${state.role}`);
  const producers = [0, 1, 2].map((stream) => produce(state, `${name}.${stream}`));
  await Promise.all([...producers, consume(state)]);
}

/** A line is written whole or not at all, and while the reader is busy not at all. */
function say(line: string): void {
  for (;;) {
    try {
      writeSync(1, `${line}\n`);
      return;
    } catch (failure) {
      if ((failure as NodeJS.ErrnoException).code !== 'EAGAIN') throw failure;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
  }
}

async function produce({ ledger, bus }: Embedded, stream: string): Promise<void> {
  for (let n = 0; ; n++) {
    const batch = `${stream}.${String(n).padStart(6, '0')}`;
    const rows = Array.from({ length: rowsPerBatch }, (_, i) => ({
      table: 'keys' as const,
      id: `${batch}/${i}`,
      value: batch,
    }));
    const first = n % 2 === 0 ? { expect: 'absent' as const } : {};
    const { kind } = await ledger.commit([{ ...rows[0]!, ...first }, ...rows.slice(1)]);
    // An answer that was lost with its owner: asked again, it meets its own write.
    if (kind === 'committed') say(`rows ${batch}`);
    const changes = Array.from({ length: changesPerBatch }, (_, i) => ({
      id: `${batch}/${i}`,
      dataset,
      key: `${stream}/${i % 2}`,
      site: 'aws',
      atMs: n,
    }));
    await bus.publish(changes);
    for (const { id } of changes) say(`published ${id}`);
  }
}

async function consume({ bus }: Embedded): Promise<void> {
  const underWay = new Set<string>();
  for await (const { change, ack, release } of bus.subscribe(
    { dataset, maxInFlight: 8 },
    new AbortController().signal,
  )) {
    if (underWay.has(change.key)) say(`twice ${change.key}`);
    underWay.add(change.key);
    void (async () => {
      await sleep(Math.random() * 3);
      underWay.delete(change.key);
      if (Math.random() < 0.1) return release();
      say(`acknowledging ${change.id}`);
      await ack();
      say(`acknowledged ${change.id}`);
    })();
  }
}

/** What the workers said, over all their lives. */
class Record {
  readonly rows = new Set<string>();
  readonly published = new Set<string>();
  /** May be gone, and may come again. */
  readonly acknowledging = new Set<string>();
  readonly acknowledged = new Set<string>();
  readonly oddities: string[] = [];
  readonly mayDouble: boolean;

  constructor(mayDouble = false) {
    this.mayDouble = mayDouble;
  }

  hear(line: string): void {
    const [what, which] = line.split(' ') as [string, string];
    if (what === 'rows') this.rows.add(which);
    else if (what === 'published') this.published.add(which);
    else if (what === 'acknowledged') this.acknowledged.add(which);
    else if (what === 'acknowledging') this.acknowledging.add(which);
    else if (what !== 'open') this.oddities.push(line);
  }
}

const living = new Set<Worker>();

class Worker {
  readonly process: ChildProcess;
  readonly opened: Promise<void>;
  readonly #ended: Promise<void>;
  stderr = '';

  constructor(folder: string, name: string, record: Record) {
    living.add(this);
    const script = fileURLToPath(import.meta.url);
    this.process = spawn(process.execPath, [script, folder, name], { stdio: ['ignore', 'pipe', 'pipe'] });
    const lines = createInterface({ input: this.process.stdout! });
    this.opened = new Promise((resolve) => {
      lines.once('line', () => resolve());
      this.process.once('close', () => resolve());
    });
    lines.on('line', (line) => record.hear(line));
    this.process.stderr!.on('data', (data) => {
      this.stderr += data;
    });
    const exited = new Promise<void>((resolve) => this.process.once('close', () => resolve()));
    const read = new Promise<void>((resolve) => lines.once('close', () => resolve()));
    this.#ended = Promise.all([exited, read]).then(() => undefined);
  }

  async kill(): Promise<void> {
    this.process.kill('SIGKILL');
    living.delete(this);
    await this.#ended;
  }

  /** Whatever it had to complain about before. */
  async killQuiet(): Promise<void> {
    await this.kill();
    assert.equal(this.stderr, '');
  }
}

function tests(): void {
  describe('embedded state under kill -9', { timeout: 180_000 }, () => {
    it(`one process, killed ${kills} times: acknowledged is durable, batches are whole, order holds`, async () => {
      await inFolder(async (folder) => {
        for (let round = 0; round < kills; round++) {
          const record = new Record();
          const worker = new Worker(folder, `w${round}`, record);
          await worker.opened;
          await sleep(Math.random() * 150);
          await worker.killQuiet();
          const seen = await check(folder, record);
          for (const id of record.acknowledged) assert.ok(!seen.has(id), `${id} came again`);
        }
      });
    });

    it('the owner killed under the load of three guests, five times: guests take over, nothing is lost', async () => {
      await inFolder(async (folder) => {
        const record = new Record(true);
        const workers = new Map<number, Worker>();
        let born = 0;
        const start = async () => {
          const worker = new Worker(folder, `w${born++}`, record);
          workers.set(worker.process.pid!, worker);
          await worker.opened;
        };
        for (let i = 0; i < 4; i++) await start();
        for (let kill = 0; kill < 5; kill++) {
          await sleep(150 + Math.random() * 150);
          const owner = (JSON.parse(readFileSync(join(folder, 'owner.json'), 'utf8')) as { pid: number }).pid;
          const before = record.rows.size;
          await workers.get(owner)!.killQuiet();
          workers.delete(owner);
          // The three that are left go on by themselves.
          for (let i = 0; i < 500 && record.rows.size < before + 10; i++) await sleep(20);
          assert.ok(record.rows.size >= before + 10, 'the guests did not go on');
          await start();
        }
        await Promise.all([...workers.values()].map((worker) => worker.killQuiet()));
        await check(folder, record);
      });
    });

    it('eight processes that start at once have one owner', async () => {
      await inFolder(async (folder) => {
        const record = new Record();
        const workers = Array.from({ length: 8 }, (_, i) => new Worker(folder, `w${i}`, record));
        const roles: string[] = [];
        for (const worker of workers) {
          worker.process.stdout!.on('data', (data) => {
            for (const [, role] of String(data).matchAll(/open (\w+)/g)) roles.push(role!);
          });
        }
        await Promise.all(workers.map((worker) => worker.opened));
        await Promise.all(workers.map((worker) => worker.killQuiet()));
        assert.deepEqual(roles.sort(), [
          'guest',
          'guest',
          'guest',
          'guest',
          'guest',
          'guest',
          'guest',
          'owner',
        ]);
        await check(folder, record);
      });
    });
  });
}

async function inFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'isobar-crash-test-'));
  try {
    await use(folder);
  } finally {
    for (const worker of living) await worker.kill();
    rmSync(folder, { recursive: true });
  }
}

/** Opens what the dead left behind, and empties the bus. */
async function check(folder: string, record: Record): Promise<ReadonlySet<string>> {
  assert.deepEqual(record.oddities, []);
  const state = await openEmbedded({ folder });
  try {
    assert.equal(state.role, 'owner');
    await checkRows(state, record);
    return await checkBus(state, record);
  } finally {
    await state.close();
  }
}

async function checkRows({ ledger }: Embedded, record: Record): Promise<void> {
  const rowsOf = new Map<string, number>();
  for await (const rows of ledger.scan('keys', idsWith(''))) {
    for (const { id, value } of rows) {
      assert.equal(id.split('/')[0], value);
      rowsOf.set(value as string, (rowsOf.get(value as string) ?? 0) + 1);
    }
  }
  for (const [batch, rows] of rowsOf) assert.equal(rows, rowsPerBatch, `batch ${batch} is torn`);
  for (const batch of record.rows)
    assert.ok(rowsOf.has(batch), `batch ${batch} was acknowledged and is gone`);
}

async function checkBus({ bus }: Embedded, record: Record): Promise<ReadonlySet<string>> {
  const { changes } = await bus.backlog(dataset);
  const seen = new Set<string>();
  const lastOf = new Map<string, string>();
  const abort = new AbortController();
  let left = changes;
  if (left === 0) abort.abort();
  for await (const { change, ack } of bus.subscribe({ dataset, maxInFlight: 1000 }, abort.signal)) {
    // A guest whose owner died before it answered publishes the batch once more, as a whole.
    const place = record.mayDouble ? change.id.split('/')[0]! : change.id;
    assert.ok(place >= (lastOf.get(change.key) ?? ''), `${place} came after ${lastOf.get(change.key)}`);
    lastOf.set(change.key, place);
    seen.add(change.id);
    void ack();
    if (--left === 0) abort.abort();
  }
  for (const id of record.published) {
    assert.ok(seen.has(id) || record.acknowledging.has(id), `${id} was published and is gone`);
  }
  while ((await bus.backlog(dataset)).changes > 0) await sleep(1);
  return seen;
}
