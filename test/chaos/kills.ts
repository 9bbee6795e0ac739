import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openConfigured, openState } from '../../src/assembly/open.ts';
import { type Config, loadConfig } from '../../src/config/index.ts';
import { noMetadata } from '../../src/model/metadata.ts';
import { digestOf } from '../../src/replicate/observe.ts';
import { Records } from '../../src/replicate/records.ts';
import { systemWorld } from '../../src/system-world.ts';
import { type LiveSystem, nativePut, nativeRemove } from '../e2e/sites.ts';
import { PartsProxy } from './parts-proxy.ts';

const root = join(import.meta.dirname, '..', '..');

export interface KillsResult {
  readonly kills: number;
  readonly tried: number;
  readonly acknowledged: number;
  readonly native: number;
  readonly partsSent: number;
  readonly partsRemembered: number;
  readonly seconds: number;
}

/** Six parts: a kill often finds some of them finished. */
const largeBytes = 47 * 1024 * 1024;

interface Attempt {
  readonly id: string;
  readonly digest: string | undefined;
  acknowledged: boolean;
}

/**
 * Kills the daemon and the writer beside it with `kill -9` at random moments under load, `kills` times, and then
 * checks from outside: everything converges, nothing acknowledged is missing, no part whose receipt was durable is
 * sent again, no upload is left behind.
 */
export async function killRepeatedly(
  system: LiveSystem,
  kills: number,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<KillsResult> {
  const begunMs = Date.now();
  const first = system.sites[0]!;
  const proxy = await PartsProxy.before(first.server.endpoint);
  try {
    const config = await throughProxy(system, first.name, proxy);
    const attempts = new Map<string, Attempt[]>();
    const native = new Map<string, string | undefined>();
    const remembered: { id: string; index: number; times: number }[] = [];
    for (let round = 0; round < kills; round++) {
      remembered.push(...(await oneRound(system, config, round, attempts, native, proxy, signal)));
      const counts = [...attempts.values()].flat();
      say(
        `kill ${round + 1}: ${counts.filter((one) => one.acknowledged).length} of ${counts.length} writes acknowledged`,
      );
    }
    await settle(config, system, signal);
    await assertPromises(system, attempts, native, signal);
    for (const { id, index, times } of remembered) {
      assert.equal(proxy.timesSent(id, index), times, `part ${index} of ${id} was finished and sent again`);
    }
    const all = [...attempts.values()].flat();
    return {
      kills,
      tried: all.length,
      acknowledged: all.filter((one) => one.acknowledged).length,
      native: native.size,
      partsSent: proxy.parts,
      partsRemembered: remembered.length,
      seconds: (Date.now() - begunMs) / 1000,
    };
  } finally {
    await proxy.stop();
  }
}

async function throughProxy(system: LiveSystem, site: string, proxy: PartsProxy): Promise<Config> {
  const { readFile } = await import('node:fs/promises');
  const document = JSON.parse(await readFile(system.configFile, 'utf8')) as { sites: Record<string, object> };
  document.sites[site] = { ...document.sites[site], endpoint: proxy.endpoint };
  const file = join(system.folder, 'isobar-proxied.yaml');
  await writeFile(file, JSON.stringify(document, null, 2));
  return loadConfig(file, {});
}

async function oneRound(
  system: LiveSystem,
  config: Config,
  round: number,
  attempts: Map<string, Attempt[]>,
  native: Map<string, string | undefined>,
  proxy: PartsProxy,
  signal: AbortSignal,
): Promise<{ id: string; index: number; times: number }[]> {
  const daemon = start(system, 'src/cli/main.ts', ['run', '--config', config.file], undefined);
  const writer = start(system, 'test/chaos/writer.ts', [config.file, String(round)], (line) =>
    note(line, attempts),
  );
  const lifeMs = 2_500 + Math.random() * 3_000;
  const endMs = Date.now() + lifeMs;
  while (Date.now() < endMs) {
    await nativeChange(system, round, native, signal);
    await systemWorld.sleep(60, signal);
  }
  assert.equal(daemon.exitCode, null, `the daemon ended by itself: see ${system.folder}/processes.log`);
  daemon.kill('SIGKILL');
  writer.kill('SIGKILL');
  await Promise.all([ended(daemon), ended(writer)]);
  return rememberedParts(config, system, proxy);
}

/** Parts whose receipt is durable, as the next owner of the state finds them. */
async function rememberedParts(
  config: Config,
  system: LiveSystem,
  proxy: PartsProxy,
): Promise<{ id: string; index: number; times: number }[]> {
  const state = await openState(config);
  try {
    const records = new Records(state.ledger, 'photos');
    const found: { id: string; index: number; times: number }[] = [];
    for await (const page of records.uploads(system.sites[0]!.name)) {
      for (const row of page) {
        if (!row.upload) continue;
        const { id } = row.upload;
        const parts = await records.partsOf(system.sites[0]!.name, id);
        for (const index of parts.keys()) found.push({ id, index, times: proxy.timesSent(id, index) });
      }
    }
    return found;
  } finally {
    await state.close();
  }
}

function start(
  system: LiveSystem,
  script: string,
  args: readonly string[],
  line: ((line: string) => void) | undefined,
): ChildProcess {
  const child = spawn(process.execPath, [join(root, script), ...args], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let rest = '';
  child.stdout!.on('data', (piece: Buffer) => {
    const lines = (rest + piece.toString()).split('\n');
    rest = lines.pop()!;
    for (const one of lines) line?.(one);
  });
  child.stderr!.on('data', (piece: Buffer) => appendFileSync(join(system.folder, 'processes.log'), piece));
  return child;
}

function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => child.once('close', () => resolve()));
}

function note(line: string, attempts: Map<string, Attempt[]>): void {
  const [verb, id = '', key = '', digest = ''] = line.split(' ');
  if (verb === 'try') {
    const list = attempts.get(key) ?? [];
    list.push({ id, digest: digest === '-' ? undefined : digest, acknowledged: false });
    attempts.set(key, list);
  } else if (verb === 'ack') {
    for (const list of attempts.values()) for (const one of list) if (one.id === id) one.acknowledged = true;
  }
}

/** Somebody's own client, straight into a site: each site has keys of its own here, so that the last write is known. */
async function nativeChange(
  system: LiveSystem,
  round: number,
  native: Map<string, string | undefined>,
  signal: AbortSignal,
): Promise<void> {
  const site = system.sites[Math.floor(Math.random() * system.sites.length)]!;
  const key = `native/${site.name}/${Math.floor(Math.random() * 15)}`;
  if (Math.random() < 0.25) {
    await nativeRemove(site.native, key, signal);
    if (native.has(key)) native.set(key, undefined);
  } else {
    const text = `native ${round} ${Math.random()}`.padEnd(Math.random() < 0.15 ? largeBytes : 0, '.');
    await nativePut(site.native, key, Buffer.from(text), noMetadata, signal);
    native.set(key, text);
  }
}

/** Every site agrees; nobody helped. */
async function settle(config: Config, system: LiveSystem, signal: AbortSignal): Promise<void> {
  const state = await openState(config);
  const opened = await openConfigured(config, 'photos', state, systemWorld);
  try {
    const result = await opened.dataset.sync({}, signal);
    assert.deepEqual(result.away, {});
    assert.equal(result.parked + result.guarded, 0, 'something is parked');
    await opened.dataset.sync({}, signal);
    await opened.dataset.verify(
      { deep: true },
      (difference) => assert.fail(JSON.stringify(difference)),
      signal,
    );
    for (const { name, native } of system.sites) {
      for await (const page of native.listUploads(signal)) {
        assert.deepEqual(
          page.map((one) => one.upload),
          [],
          `${name} has uploads left behind`,
        );
      }
    }
  } finally {
    await opened.close();
    await state.close();
  }
}

/** For each key the last acknowledged write stands, or one that was tried beside or after it. */
async function assertPromises(
  system: LiveSystem,
  attempts: Map<string, Attempt[]>,
  native: Map<string, string | undefined>,
  signal: AbortSignal,
): Promise<void> {
  const { native: store, name } = system.sites.at(-1)!;
  for (const [key, list] of attempts) {
    const lastAck = list.findLastIndex((one) => one.acknowledged);
    const head = await store.head(key, signal);
    const digest = head && (await digestOf(store, key, head.token, signal));
    // Three lanes write at once: what was tried up to three writes before the last acknowledgement may be ordered after it.
    const allowed = list.slice(Math.max(0, lastAck - 3)).map((one) => one.digest);
    if (lastAck < 0) allowed.push(undefined);
    assert.ok(
      allowed.includes(digest),
      `${name} ${key}: ${digest} is none of ${allowed.length} writes since ${list[lastAck]?.id}`,
    );
  }
  for (const [key, text] of native) {
    const read = await store.read(key, {}, signal);
    const body = read && Buffer.from(await read.bytes()).toString();
    assert.ok(body === text, `${name} ${key}: ${body?.slice(0, 60)} instead of ${text?.slice(0, 60)}`);
  }
}
