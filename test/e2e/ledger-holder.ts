import { writeSync } from 'node:fs';
import { open } from 'lmdb';

// A process that was stopped in the middle of a commit: it holds the write lock of a ledger until it is killed.

const root = open({ path: process.argv[2]!, maxDbs: 8 });
root.transactionSync(() => {
  writeSync(1, 'held');
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
});
