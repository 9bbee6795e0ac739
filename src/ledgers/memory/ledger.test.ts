import { ledgerConformance } from '../../testing/ledger-conformance.ts';
import { MemoryLedger, MemoryLedgerBacking } from './ledger.ts';

ledgerConformance('memory', async () => {
  const backing = new MemoryLedgerBacking();
  const ledger = new MemoryLedger(backing);
  return {
    ledger,
    another: async () => new MemoryLedger(backing),
    reopen: async () => {
      backing.crash();
      return new MemoryLedger(backing);
    },
    close: async () => undefined,
  };
});
