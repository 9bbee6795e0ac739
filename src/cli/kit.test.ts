import { PassThrough, Readable } from 'node:stream';
import type * as api from './api.ts';
import type { KeptWrite, KeptWrites } from './api-conflicts.ts';
import type { Host } from './context.ts';
import { execute } from './program.ts';

/** For the tests of the command line; no tests of its own. Its name keeps it out of the published package. */

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Every line of stdout as JSON. */
  readonly json: readonly Record<string, unknown>[];
}

export interface RunOptions {
  readonly env?: Record<string, string>;
  readonly stdin?: string | Uint8Array;
  readonly signal?: AbortSignal;
  readonly isobar?: api.Isobar;
  readonly terminal?: boolean;
}

/** One command line against a fake engine, in this process. */
export async function cli(argv: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const stdout = capture(options.terminal === true);
  const stderr = capture(options.terminal === true);
  const host: Host = {
    env: options.env ?? {},
    stdin: Readable.from(options.stdin === undefined ? [] : [Buffer.from(options.stdin)]),
    stdout: stdout.stream,
    stderr: stderr.stream,
    signal: options.signal ?? new AbortController().signal,
    nowMs: () => 0,
    open: async () => {
      if (options.isobar === undefined) throw new Error('this command must not open the engine');
      return options.isobar;
    },
  };
  const code = await execute(argv, host);
  const text = stdout.text();
  const lines = text.split('\n').filter((line) => line.startsWith('{'));
  return { code, stdout: text, stderr: stderr.text(), json: lines.map((line) => JSON.parse(line)) };
}

function capture(isTTY: boolean) {
  const stream = Object.assign(new PassThrough(), { isTTY, columns: 80 });
  const pieces: Buffer[] = [];
  stream.on('data', (piece: Buffer) => pieces.push(piece));
  return { stream, text: () => Buffer.concat(pieces).toString() };
}

export const version: api.VersionInfo = {
  stamp: '0193a0000000000a',
  site: 'a',
  count: 3,
  atMs: 1_700_000_000_000,
  deleted: false,
};

const metadata = {
  contentType: 'text/plain',
  cacheControl: 'no-cache',
  contentEncoding: 'gzip',
  contentDisposition: 'inline',
  contentLanguage: 'en',
  user: { owner: 'ann' },
  tags: { team: 'blue' },
};

export const info: api.ObjectInfo = {
  dataset: 'd',
  key: 'k',
  site: 'a',
  size: 5,
  modifiedMs: 1_700_000_000_000,
  sha256: 'ab'.repeat(32),
  version,
  metadata,
};

export const siteSync: api.SiteSync = {
  site: 'a',
  reached: true,
  copiedKeys: 2,
  copiedBytes: 4096,
  removedKeys: 1,
  adoptedKeys: 1,
  guardedKeys: 0,
  parkedKeys: 0,
  owedKeys: 0,
};

export const syncReport: api.SyncReport = {
  dataset: 'd',
  dryRun: false,
  tookMs: 1500,
  copiedKeys: 2,
  copiedBytes: 4096,
  removedKeys: 1,
  conflicts: 1,
  sites: [siteSync, { ...siteSync, site: 'b', error: 'slow' }],
};

export const verifyReport: api.VerifyReport = {
  dataset: 'd',
  deep: true,
  tookMs: 900,
  comparedKeys: 12_345,
  missing: 0,
  extra: 0,
  differing: 0,
  unreadable: 0,
  repaired: 0,
  sites: [
    { site: 'a', reached: true, keys: 12_345, bytes: 99_999 },
    { site: 'b', reached: true, error: 'slow', keys: 12_345, bytes: 99_999 },
  ],
};

export const parkedChange: api.ParkedChange = {
  dataset: 'd',
  id: 'a/k',
  site: 'a',
  key: 'k',
  reason: 'invalid',
  detail: 'metadata over the limit',
  sinceMs: 1_700_000_000_000,
  keys: 1,
  bytes: 5,
};

const keptWrite: KeptWrite = {
  dataset: 'd',
  id: '0123456789ab',
  key: 'k',
  size: 3,
  stamp: version.stamp,
  atMs: version.atMs,
  sinceMs: 1_700_000_000_500,
  sites: ['a'],
  keptAs: '.isobar/losers/x',
  lostTo: '0193a0000000000b',
  because: 'it is not JSON',
};

/** Of one loser. */
export function fakeKept(changes: Partial<KeptWrites> = {}): KeptWrites {
  return {
    list: async function* () {
      yield keptWrite;
    },
    open: async () => ({ info, because: 'it is kept at a', body: Readable.from([Buffer.from('old')]) }),
    pick: async () => ({
      dataset: 'd',
      key: 'k',
      size: 3,
      version,
      sites: [{ site: 'a', outcome: 'durable' }],
    }),
    release: async (ids) => ({
      dataset: 'd',
      released: ids.filter((id) => id === keptWrite.id),
      unknown: ids.filter((id) => id !== keptWrite.id),
      left: [],
    }),
    ...changes,
  };
}

/** Answers every question with all fields filled in; `changes` replaces methods. */
export function fakeDataset(changes: Partial<api.Dataset> = {}): api.Dataset {
  const outcomes: api.SiteOutcome[] = [
    { site: 'a', outcome: 'durable' },
    { site: 'b', outcome: 'failed', error: 'away' },
  ];
  return {
    put: async (key, body) => ({ dataset: 'd', key, size: body.size, version, sites: outcomes }),
    get: async () => ({
      info,
      because: 'it is the nearest',
      body: Readable.from([Buffer.from('hel'), Buffer.from('lo')]),
    }),
    stat: async () => info,
    remove: async (key) => ({ dataset: 'd', key, removed: true, version, sites: outcomes }),
    list: async function* () {
      for (const key of ['a', 'b\nc'])
        yield { dataset: 'd', key, size: 5, modifiedMs: 1_700_000_000_000, site: 'a' };
    },
    sync: async ({ planned, dryRun }) => {
      const step = {
        dataset: 'd',
        key: 'k',
        site: 'b',
        bytes: 5,
        because: 'it is absent there',
        held: 'no room',
      };
      if (dryRun) planned({ ...step, action: 'copy', from: 'a' });
      return { ...syncReport, dryRun };
    },
    verify: async ({ difference }) => {
      difference({ dataset: 'd', key: 'k', site: 'b', kind: 'missing', detail: 'absent', repaired: false });
      return { ...verifyReport, missing: 1 };
    },
    undo: async ({ told, dryRun, sinceMs }) => {
      const step = { dataset: 'd', key: 'k', bytes: 5, site: 'b', keptAs: '.isobar/losers/x' };
      told({ ...step, outcome: dryRun ? 'restore' : 'restored' });
      if (!dryRun) told({ ...step, key: 'f', outcome: 'failed', error: 'away' });
      told({ dataset: 'd', key: 'l', bytes: 0, outcome: 'lost' });
      const failedKeys = dryRun ? 0 : 1;
      return { dataset: 'd', dryRun, sinceMs, restoredKeys: 1, restoredBytes: 5, failedKeys, lostKeys: 1 };
    },
    rebuild: async ({ dryRun }) => ({
      dataset: 'd',
      dryRun,
      tookMs: 700,
      keys: 2,
      sites: [
        { site: 'a', reached: true, keys: 2, tombstones: 1, losers: 0 },
        { site: 'b', reached: false, error: 'away', keys: 0, tombstones: 0, losers: 0 },
      ],
    }),
    status: async () => ({
      dataset: 'd',
      atMs: 1_700_000_060_000,
      running: true,
      losers: 1,
      sites: [
        {
          site: 'a',
          state: 'healthy',
          lagMs: 1234,
          backlogKeys: 7,
          backlogBytes: 8192,
          bytesPerSecond: 100,
          keysPerSecond: 2,
          parked: 1,
          lastError: 'away',
          lastErrorMs: 1_700_000_000_000,
          asOfMs: 1_700_000_030_000,
        },
        { site: 'b', state: 'unknown', backlogKeys: 0, backlogBytes: 0, parked: 0 },
      ],
    }),
    explain: async (key) => ({
      dataset: 'd',
      key,
      newest: version,
      sites: [
        {
          site: 'a',
          state: 'current',
          size: 5,
          sha256: 'ab',
          version,
          because: 'it holds the newest version',
        },
        {
          site: 'b',
          state: 'absent',
          because: 'the last copy failed',
          pendingSinceMs: 1_700_000_000_000,
          attempts: 2,
          dueMs: 1_700_000_090_000,
          lastError: 'away',
          parkedId: 'b/k',
          parkedBecause: 'too large',
        },
      ],
      losers: [
        { site: 'a', keptAs: '.isobar/losers/x', size: 3, stamp: version.stamp, sinceMs: 1_700_000_000_000 },
      ],
    }),
    kept: fakeKept(),
    parked: async function* () {
      yield parkedChange;
    },
    retryParked: async (ids) => ({ dataset: 'd', done: ids ?? ['a/k'], unknown: [] }),
    dropParked: async (ids) => ({ dataset: 'd', done: ids, unknown: [] }),
    ...changes,
  };
}

export function fakeIsobar(
  dataset: Partial<api.Dataset> = {},
  changes: Partial<api.Isobar> = {},
): api.Isobar {
  return {
    dataset: async () => fakeDataset(dataset),
    doctor: async (_, report) => {
      report({ site: 'a', check: 'reachable', status: 'ok', detail: 'answers in 3 ms' });
      report({ site: 'b', check: 'write', status: 'warning', detail: 'slow', remedy: 'nothing to do' });
    },
    run: async ({ ready }) =>
      ready({ datasets: ['d'], url: 'http://127.0.0.1:1', sources: ['http://127.0.0.1:2/'] }),
    close: async () => {},
    ...changes,
  };
}
