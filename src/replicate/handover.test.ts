import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryLedgerBacking } from '../ledgers/memory/ledger.ts';
import type { Ledger, LedgerWrite } from '../ports/ledger.ts';
import { Trial } from '../testing/trial.ts';
import { Records } from './records.ts';

interface Gates {
  /** A debt is about to be written. */
  readonly owing: PromiseWithResolvers<void>;
  readonly mayOwe: PromiseWithResolvers<void>;
  /** A copy was confirmed, and its debt settled with it. */
  readonly settled: PromiseWithResolvers<void>;
  /** Debts may be read, and so be worked off. */
  readonly mayWorkOff: PromiseWithResolvers<void>;
}

/** The handing over of a key to the debts of `site` ends only after the copy was confirmed. */
function gated(ledger: Ledger, site: string, gates: Gates): Ledger {
  const isDebt = ({ table, id }: LedgerWrite) => table === 'debts' && id.includes(site);
  return {
    get: (table, id) => ledger.get(table, id),
    getMany: (table, ids) => ledger.getMany(table, ids),
    async commit(writes) {
      const debt = writes.find(isDebt);
      if (debt?.value !== undefined) {
        gates.owing.resolve();
        await gates.mayOwe.promise;
      }
      const result = await ledger.commit(writes);
      if (debt && debt.value === undefined) gates.settled.resolve();
      return result;
    },
    async *scan(table, range, options) {
      if (table === 'debts') await gates.mayWorkOff.promise;
      yield* ledger.scan(table, range, options);
    },
    count: (table, range) => ledger.count(table, range),
    close: () => ledger.close(),
  };
}

test('a key that arrives while it is handed to the debts leaves no debt behind', async (t) => {
  const gates: Gates = {
    owing: Promise.withResolvers(),
    mayOwe: Promise.withResolvers(),
    settled: Promise.withResolvers(),
    mayWorkOff: Promise.withResolvers(),
  };
  let ledger: Ledger | undefined;
  const trial = new Trial({
    ledger: new MemoryLedgerBacking(),
    settings: { patienceMs: 100 },
    ledgerAround: (inner) => {
      ledger = inner;
      return gated(inner, 'gcp', gates);
    },
  });
  t.after(() => trial.close());
  await trial.watching(async () => {
    const lift = trial.at('gcp').inject({
      verbs: ['write'],
      key: (key) => key === 'k',
      effect: { kind: 'hang' },
    });
    await trial.put('k', 'x');
    await gates.owing.promise;
    lift();
    await gates.settled.promise;
    gates.mayOwe.resolve();
    await trial.dataset.quiet();
    const left = await new Records(ledger!, 'photos').debtOf('gcp', 'k');
    gates.mayWorkOff.resolve();
    assert.equal(await trial.nativeRead('gcp', 'k'), 'x');
    assert.equal(left, undefined);
  });
});
