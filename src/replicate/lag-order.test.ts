import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { memoryBus } from '../buses/memory/bus.ts';
import { MemoryLedger, MemoryLedgerBacking } from '../ledgers/memory/ledger.ts';
import type { SiteId } from '../model/version.ts';
import type { Bus } from '../ports/bus.ts';
import type { Ledger, LedgerWrite } from '../ports/ledger.ts';
import { fastWorld, Trial } from '../testing/trial.ts';
import { type SiteStatus, statusOf } from './lag.ts';
import { type Debt, type Parked, Records } from './records.ts';
import type { Replicator } from './replicator.ts';
import type { Shell } from './shell.ts';

const site = 'azure';
const nowMs = 1_800_000_000_000;
const madeMs = nowMs - 5_000;
const debt: Debt = { key: 'k', site, sinceMs: madeMs, bytes: 3, attempts: 0, dueMs: 0 };
const parked: Parked = {
  id: 'azure/k',
  site,
  key: 'k',
  reason: 'invalid',
  detail: '',
  sinceMs: madeMs,
  keys: 1,
  bytes: 3,
};

type Place = 'bus' | 'hand' | 'debts' | 'parked';

/** One write that azure lacks, and a step that it takes right before the n-th time that something is read. */
class OnItsWay {
  readonly #inner = new MemoryLedger();
  readonly records: Records;
  reads = 0;
  #onBus: boolean;
  #inHand: boolean;
  readonly #moment: number;
  readonly #step: (way: OnItsWay) => Promise<void>;

  constructor(from: Place, moment: number, step: (way: OnItsWay) => Promise<void>) {
    this.#moment = moment;
    this.#step = step;
    this.#onBus = from === 'bus';
    this.#inHand = from === 'hand';
    this.records = new Records(this.#inner, 'photos');
  }

  async status(): Promise<SiteStatus> {
    const world = { ...fastWorld(1), nowMs: () => nowMs };
    const shell = {
      records: new Records(this.#ledger(), 'photos'),
      policy: { dataset: 'photos', sites: [site] },
      bus: this.#bus(),
      sites: new Map([[site, { breaker: { closed: true } }]]),
      world,
    } as unknown as Shell;
    const inHand = () => ({
      keys: this.#inHand ? 1 : 0,
      bytes: this.#inHand ? 3 : 0,
      oldestMs: this.#inHand ? madeMs : undefined,
    });
    const replicator = { lanes: new Map([[site, { inHand }]]) } as unknown as Replicator;
    return (await statusOf(shell, replicator))[0]!;
  }

  leaveBus(): void {
    this.#onBus = false;
  }

  leaveHand(): void {
    this.#inHand = false;
  }

  async #read(): Promise<void> {
    this.reads += 1;
    if (this.reads === this.#moment) await this.#step(this);
  }

  #ledger(): Ledger {
    const inner = this.#inner;
    const read = () => this.#read();
    return {
      get: async (table, id) => read().then(() => inner.get(table, id)),
      getMany: async (table, ids) => read().then(() => inner.getMany(table, ids)),
      count: async (table, range) => read().then(() => inner.count(table, range)),
      async *scan(table, range, options) {
        await read();
        yield* inner.scan(table, range, options);
        await read();
      },
      commit: (writes) => inner.commit(writes),
      close: () => inner.close(),
    };
  }

  #bus(): Bus {
    return {
      ...memoryBus(),
      backlog: async () => {
        await this.#read();
        return this.#onBus ? { changes: 1, oldestMs: madeMs } : { changes: 0, oldestMs: undefined };
      },
    };
  }
}

const steps: Record<string, { from: Place; step: (way: OnItsWay) => Promise<void> }> = {
  'from the bus to the debts': {
    from: 'bus',
    async step(way) {
      await way.records.commit([way.records.owe(debt)]);
      way.leaveBus();
    },
  },
  'from a hand to the debts': {
    from: 'hand',
    async step(way) {
      await way.records.commit([way.records.owe(debt)]);
      way.leaveHand();
    },
  },
  'from a hand to the parked': {
    from: 'hand',
    async step(way) {
      await way.records.commit([way.records.park(parked)]);
      way.leaveHand();
    },
  },
  'from the debts to the parked': {
    from: 'debts',
    async step({ records }) {
      await records.commit([records.park(parked), records.settle(site, 'k')]);
    },
  },
};

describe('a write that moves while status is asked is seen', () => {
  for (const [name, { from, step }] of Object.entries(steps)) {
    test(name, async () => {
      for (let moment = 1, reads = moment; moment <= reads; moment++) {
        const way = new OnItsWay(from, moment, step);
        await way.records.updateSite(site, { scannedMs: madeMs });
        if (from === 'debts') await way.records.commit([way.records.owe(debt)]);
        const { lagMs } = await way.status();
        assert.equal(lagMs, nowMs - madeMs, `it moved before read ${moment}`);
        reads = way.reads;
      }
    });
  }
});

test('a scan that ends while status is asked is claimed only with all that it found', async () => {
  for (let moment = 1, reads = moment; moment <= reads; moment++) {
    const way = new OnItsWay('bus', moment, async ({ records }) => {
      await records.commit([records.owe(debt)]);
      await records.updateSite(site, { scannedMs: nowMs - 1 });
    });
    way.leaveBus();
    await way.records.updateSite(site, { scannedMs: madeMs - 1 });
    const { lagMs, scannedMs } = await way.status();
    if (scannedMs! > madeMs) assert.equal(lagMs, nowMs - madeMs, `it ended before read ${moment}`);
    reads = way.reads;
  }
});

interface Gates {
  /** The key may be handed over; until then its debt is not written. */
  readonly mayOwe: PromiseWithResolvers<void>;
  /** Its first copy was confirmed. */
  readonly confirmed: PromiseWithResolvers<void>;
  readonly mayOweAgain: PromiseWithResolvers<void>;
}

function gated(ledger: Ledger, gates: Gates): Ledger {
  let confirmed = false;
  const tellsOfCopy = ({ table, value }: LedgerWrite) =>
    table === 'keys' && 'gcp' in (value as { replicas: object }).replicas;
  return {
    get: (table, id) => ledger.get(table, id),
    getMany: (table, ids) => ledger.getMany(table, ids),
    count: (table, range) => ledger.count(table, range),
    scan: (table, range, options) => ledger.scan(table, range, options),
    close: () => ledger.close(),
    async commit(writes) {
      const owes = writes.some(({ table, value }) => table === 'debts' && value !== undefined);
      if (owes) await (confirmed ? gates.mayOweAgain : gates.mayOwe).promise;
      const result = await ledger.commit(writes);
      if (writes.some(tellsOfCopy)) {
        confirmed = true;
        gates.confirmed.resolve();
      }
      return result;
    },
  };
}

async function statusAt(trial: Trial, site: SiteId): Promise<SiteStatus> {
  return (await trial.dataset.status()).find((one) => one.site === site)!;
}

function writesAsked(trial: Trial, site: SiteId, key: string): number {
  return trial.at(site).asked.filter((one) => one.verb === 'write' && one.key === key).length;
}

function hangOnce(trial: Trial, site: SiteId, key: string): () => void {
  const effect = { kind: 'hang' } as const;
  return trial.at(site).inject({ verbs: ['write'], key: (one) => one === key, times: 1, effect });
}

test('a debt stands for two writes: the copy of the first settles it, and the second stays in the backlog', async (t) => {
  const gates: Gates = {
    mayOwe: Promise.withResolvers(),
    confirmed: Promise.withResolvers(),
    mayOweAgain: Promise.withResolvers(),
  };
  let ledger: Ledger | undefined;
  const trial = new Trial({
    sites: ['aws', 'gcp'],
    settings: { patienceMs: 100 },
    ledgerAround: (inner) => {
      ledger = inner;
      return gated(inner, gates);
    },
  });
  t.after(() => {
    for (const gate of Object.values(gates)) gate.resolve();
    return trial.close();
  });
  const arrives = hangOnce(trial, 'gcp', 'k');
  await trial.nativePut('aws', 'k', 'one');
  await trial.watching(async () => {
    // The scan offers the first write, and the bus the second, before the key is handed over.
    await trial.until(() => writesAsked(trial, 'gcp', 'k') === 1);
    await trial.put('k', 'two');
    for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
    gates.mayOwe.resolve();
    await trial.until(async () => (await trial.bus.backlog('photos')).changes === 0);
    const arrivesToo = hangOnce(trial, 'gcp', 'k');
    arrives();
    await gates.confirmed.promise;
    assert.ok((await statusAt(trial, 'gcp')).lagMs! > 0);
    gates.mayOweAgain.resolve();
    await trial.until(() => writesAsked(trial, 'gcp', 'k') === 2);
    assert.ok(await new Records(ledger!, 'photos').debtOf('gcp', 'k'), 'nothing durable tells of the write');
    assert.equal((await statusAt(trial, 'gcp')).backlogKeys, 1);
    arrivesToo();
    await trial.dataset.quiet();
    assert.equal(await trial.nativeRead('gcp', 'k'), 'two');
    assert.equal((await statusAt(trial, 'gcp')).backlogKeys, 0);
  });
});

test('a stamp ahead of the clock makes no lag smaller than the time since the write was found', async (t) => {
  let clockMs = nowMs + 400;
  const world = { ...fastWorld(20), nowMs: () => clockMs };
  const ledger = new MemoryLedgerBacking();
  const trial = new Trial({ sites: ['aws', 'gcp'], world, ledger });
  t.after(() => trial.close());
  await trial.put('k', 'one');
  await trial.restart(ledger);
  clockMs = nowMs;
  const arrives = hangOnce(trial, 'gcp', 'k');
  await trial.watching(async () => {
    await trial.until(() => writesAsked(trial, 'gcp', 'k') === 1);
    clockMs += 100;
    assert.equal((await statusAt(trial, 'gcp')).lagMs, 100);
    arrives();
    await trial.dataset.quiet();
  });
});
