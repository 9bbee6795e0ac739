import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MemoryBusBacking, memoryBus } from '../buses/memory/bus.ts';
import { MemoryLedger, MemoryLedgerBacking } from '../ledgers/memory/ledger.ts';
import type { Change } from '../model/change.ts';
import { StateFailure } from '../model/failure.ts';
import { idsWith, type LedgerWrite } from '../ports/ledger.ts';

const batch = (names: string): LedgerWrite[] =>
  [...names].map((name) => ({ table: 'keys', id: name, value: name }));

const changes = (names: string): Change[] =>
  [...names].map((name) => ({ id: name, dataset: 'd', key: name, site: 'aws', atMs: 0 }));

async function idsIn(backing: MemoryLedgerBacking): Promise<string> {
  let ids = '';
  for await (const rows of new MemoryLedger(backing).scan('keys', idsWith(''))) {
    ids += rows.map((row) => row.id).join('');
  }
  return ids;
}

const isUnavailable = (failure: unknown) => failure instanceof StateFailure && failure.code === 'unavailable';

describe('memory ledger and bus in a crash', () => {
  it('keeps what was acknowledged and fails what was under way', async () => {
    const backing = new MemoryLedgerBacking();
    const ledger = new MemoryLedger(backing);
    await ledger.commit(batch('abc'));
    const underWay = ledger.commit(batch('def'));
    backing.crash();
    await assert.rejects(underWay, isUnavailable);
    assert.equal(await idsIn(backing), 'abc');
    assert.deepEqual(await ledger.commit(batch('g')), { kind: 'committed' });
    assert.equal(await idsIn(backing), 'abcg');
  });

  it('shows nothing to others before it is durable', async () => {
    let flush = () => {};
    const sync = () => new Promise<void>((resolve) => (flush = resolve));
    const backing = new MemoryLedgerBacking({ sync });
    const done = new MemoryLedger(backing).commit(batch('a'));
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(await idsIn(backing), '');
    flush();
    await done;
    assert.equal(await idsIn(backing), 'a');
  });

  it('may keep any subset of a batch that was being flushed', async () => {
    const outcomes = [0.9, 0.1, 0.9, 0.1];
    const backing = new MemoryLedgerBacking({
      sync: () => new Promise(() => {}),
      random: () => outcomes.shift()!,
    });
    const underWay = new MemoryLedger(backing).commit(batch('abcd'));
    await new Promise((resolve) => setImmediate(resolve));
    backing.crash();
    await assert.rejects(underWay, isUnavailable);
    assert.equal(await idsIn(backing), 'bd');
  });

  it('loses acknowledged writes where the device lies about its flush', async () => {
    let lies = true;
    const backing = new MemoryLedgerBacking({ skipSync: () => lies });
    const ledger = new MemoryLedger(backing);
    await ledger.commit(batch('ab'));
    backing.crash();
    assert.equal(await idsIn(backing), '');
    await ledger.commit(batch('cd'));
    lies = false;
    await ledger.commit(batch('e'));
    backing.crash();
    assert.equal(await idsIn(backing), 'cde', 'an honest flush takes along what was written before');
  });

  it('ends subscriptions and delivers again what was not acknowledged', async () => {
    const backing = new MemoryBusBacking();
    const bus = memoryBus(backing);
    await bus.publish(changes('ab'));
    const options = { dataset: 'd', maxInFlight: 10 };
    const { signal } = new AbortController();
    const first = bus.subscribe(options, signal)[Symbol.asyncIterator]();
    const a = (await first.next()).value;
    await a.ack();
    const unheard = bus.publish(changes('c'));
    backing.crash();
    await assert.rejects(unheard, isUnavailable);
    await assert.rejects(async () => {
      while (!(await first.next()).done);
    }, isUnavailable);
    assert.equal((await bus.backlog('d')).changes, 1);
    for await (const { change } of memoryBus(backing).subscribe(options, signal)) {
      assert.equal(change.id, 'b');
      break;
    }
  });
});
