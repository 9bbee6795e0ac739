import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { compareKeys } from '../model/key.ts';
import { type IdRange, idsWith, type Json, type Ledger, type Row, type Table } from '../ports/ledger.ts';

export interface OpenedLedger {
  readonly ledger: Ledger;
  /** Another worker's ledger on the same rows. */
  another(): Promise<Ledger>;
  /** Everybody leaves, and the same rows are opened again. The old ledgers are of no use after it. */
  reopen(): Promise<Ledger>;
  close(): Promise<void>;
}

/** The whole contract of `Ledger` as one suite of node:test. `open` is called once. */
export function ledgerConformance(name: string, open: () => Promise<OpenedLedger>): void {
  describe(`ledger: ${name}`, () => {
    let opened: OpenedLedger | undefined;
    let current: Ledger | undefined;
    const ledger = () => current!;
    before(async () => {
      opened = await open();
      current = opened.ledger;
    });
    after(() => opened?.close());
    describe('rows', () => rowTests(ledger));
    describe('compare-and-set', () => expectTests(ledger, () => opened!.another()));
    describe('scan and count', () => scanTests(ledger));
    describe('opened again', () => {
      it('keeps every row, value and revision', async () => {
        const prefix = newPrefix();
        await fill(ledger(), prefix, 50);
        const rows = await all(ledger(), idsWith(prefix));
        current = await opened!.reopen();
        assert.deepEqual(await all(ledger(), idsWith(prefix)), rows);
        const [row] = rows;
        await set(ledger(), row!.id, 'again');
        assert.notEqual((await ledger().get('keys', row!.id))?.revision, row!.revision);
      });
    });
  });
}

const tables: readonly Table[] = ['keys', 'debts', 'parked', 'losers', 'uploads', 'suspects', 'sites'];

function newPrefix(): string {
  return `${randomBytes(6).toString('hex')}/`;
}

async function set(ledger: Ledger, id: string, value: Json | undefined): Promise<void> {
  assert.deepEqual(await ledger.commit([{ table: 'keys', id, value }]), { kind: 'committed' });
}

async function fill(ledger: Ledger, prefix: string, rows: number): Promise<string[]> {
  const ids = Array.from({ length: rows }, (_, i) => `${prefix}${String(i).padStart(6, '0')}`);
  await ledger.commit(ids.map((id, i) => ({ table: 'keys', id, value: { i } })));
  return ids;
}

async function all(ledger: Ledger, range: IdRange, pageSize?: number): Promise<Row[]> {
  const rows: Row[] = [];
  const options = pageSize === undefined ? {} : { pageSize };
  for await (const page of ledger.scan('keys', range, options)) rows.push(...page);
  return rows;
}

function rowTests(ledger: () => Ledger): void {
  it('answers undefined for an absent row', async () => {
    assert.equal(await ledger().get('keys', newPrefix()), undefined);
  });

  it('gives back what was written, under the same id in each table', async () => {
    const id = newPrefix();
    await ledger().commit(tables.map((table) => ({ table, id, value: { table } })));
    for (const table of tables) assert.deepEqual((await ledger().get(table, id))?.value, { table });
  });

  it('keeps every kind of JSON', async () => {
    const prefix = newPrefix();
    const values: Json[] = [null, true, false, 0, -1, 1.5, 2 ** 53 - 1, '', 'ä\0\u{1f600}"\\', [], {}];
    values.push([1, [2, [null]]], { a: { b: [{ __proto__x: 1 }] }, '': 'empty name', ключ: 'value' });
    await ledger().commit(values.map((value, i) => ({ table: 'keys', id: `${prefix}${i}`, value })));
    for (const [i, value] of values.entries()) {
      assert.deepEqual((await ledger().get('keys', `${prefix}${i}`))?.value, value);
    }
  });

  it('keeps odd ids apart, and ids of 1,200 bytes', async () => {
    const prefix = newPrefix();
    const ids = [
      '',
      ' ',
      '/',
      '//',
      '\0',
      '\n',
      '\u{1f600}',
      '\uffff',
      'é',
      'e\u0301',
      'A',
      'a',
      'x'.repeat(1200),
    ];
    ids.push(`${'ж'.repeat(599)}a`, `${'ж'.repeat(599)}b`);
    await ledger().commit(ids.map((id) => ({ table: 'keys', id: prefix + id, value: id })));
    const rows = await ledger().getMany(
      'keys',
      ids.map((id) => prefix + id),
    );
    assert.deepEqual(
      rows.map((row) => row?.value),
      ids,
    );
    assert.equal(await ledger().count('keys', idsWith(prefix)), ids.length);
  });

  it('keeps values of 64 KiB', async () => {
    const id = newPrefix();
    const value = randomBytes(48 * 1024).toString('base64');
    await set(ledger(), id, { value });
    assert.deepEqual((await ledger().get('keys', id))?.value, { value });
  });

  it('answers getMany in order, with gaps and repetitions', async () => {
    const ids = await fill(ledger(), newPrefix(), 600);
    const wanted = [ids[599]!, 'absent', ids[0]!, ids[0]!, ...ids];
    const rows = await ledger().getMany('keys', wanted);
    assert.deepEqual(
      rows.map((row) => row?.id),
      wanted.map((id) => (id === 'absent' ? undefined : id)),
    );
    assert.deepEqual(await ledger().getMany('keys', []), []);
  });

  it('changes the revision with every write, of the same value too', async () => {
    const id = newPrefix();
    const seen = new Set<string>();
    for (let i = 0; i < 5; i++) {
      await set(ledger(), id, 'same');
      seen.add((await ledger().get('keys', id))!.revision);
    }
    assert.equal(seen.size, 5);
  });

  it('removes rows; removing an absent one is no error', async () => {
    const id = newPrefix();
    await set(ledger(), id, 1);
    await set(ledger(), id, undefined);
    await set(ledger(), id, undefined);
    assert.equal(await ledger().get('keys', id), undefined);
  });

  it('lets the last write of a row in a batch win', async () => {
    const id = newPrefix();
    const writes = [1, 2, undefined, 3].map((value) => ({ table: 'keys' as const, id, value }));
    await ledger().commit(writes);
    assert.equal((await ledger().get('keys', id))?.value, 3);
  });

  it('accepts an empty batch', async () => {
    assert.deepEqual(await ledger().commit([]), { kind: 'committed' });
  });
}

function expectTests(ledger: () => Ledger, another: () => Promise<Ledger>): void {
  it('creates only where absent', async () => {
    const id = newPrefix();
    const create = { table: 'keys', id, value: 1, expect: 'absent' } as const;
    assert.deepEqual(await ledger().commit([create]), { kind: 'committed' });
    assert.deepEqual(await ledger().commit([create]), { kind: 'conflict', index: 0 });
  });

  it('writes and removes only at the revision that was read', async () => {
    const id = newPrefix();
    await set(ledger(), id, 1);
    const { revision } = (await ledger().get('keys', id))!;
    await set(ledger(), id, 2);
    const stale = await ledger().commit([{ table: 'keys', id, value: 3, expect: revision }]);
    assert.deepEqual(stale, { kind: 'conflict', index: 0 });
    const removal = await ledger().commit([{ table: 'keys', id, value: undefined, expect: revision }]);
    assert.deepEqual(removal, { kind: 'conflict', index: 0 });
    const now = (await ledger().get('keys', id))!;
    assert.equal(now.value, 2);
    const right = await ledger().commit([{ table: 'keys', id, value: undefined, expect: now.revision }]);
    assert.deepEqual(right, { kind: 'committed' });
    assert.equal(await ledger().get('keys', id), undefined);
    const gone = await ledger().commit([{ table: 'keys', id, value: 4, expect: now.revision }]);
    assert.deepEqual(gone, { kind: 'conflict', index: 0 });
  });

  it('does not take a row that was made anew for the old one', async () => {
    const id = newPrefix();
    await set(ledger(), id, 1);
    const { revision } = (await ledger().get('keys', id))!;
    await set(ledger(), id, undefined);
    await set(ledger(), id, 1);
    const answer = await ledger().commit([{ table: 'keys', id, value: 2, expect: revision }]);
    assert.equal(answer.kind, 'conflict');
  });

  it('writes nothing of a batch whose condition does not hold, and says which it was', async () => {
    const prefix = newPrefix();
    await set(ledger(), `${prefix}taken`, 1);
    const answer = await ledger().commit([
      { table: 'keys', id: `${prefix}a`, value: 1 },
      { table: 'debts', id: `${prefix}b`, value: 1 },
      { table: 'keys', id: `${prefix}taken`, value: 2, expect: 'absent' },
      { table: 'keys', id: `${prefix}c`, value: 1 },
    ]);
    assert.deepEqual(answer, { kind: 'conflict', index: 2 });
    assert.deepEqual(
      (await all(ledger(), idsWith(prefix))).map((row) => row.value),
      [1],
    );
    assert.equal(await ledger().get('debts', `${prefix}b`), undefined);
  });

  it('has exactly one winner among 32 racers for one row, over two workers', async () => {
    const other = await another();
    for (const first of [true, false]) {
      const id = newPrefix();
      if (!first) await set(ledger(), id, 'before');
      const expect = first ? 'absent' : (await ledger().get('keys', id))!.revision;
      const racers = Array.from({ length: 32 }, (_, racer) =>
        (racer % 2 === 0 ? ledger() : other).commit([
          { table: 'debts', id: `${id}${racer}`, value: racer },
          { table: 'keys', id, value: racer, expect },
        ]),
      );
      const winners = (await Promise.all(racers)).flatMap((answer, i) =>
        answer.kind === 'committed' ? [i] : [],
      );
      assert.equal(winners.length, 1);
      assert.equal((await ledger().get('keys', id))?.value, winners[0]);
      assert.equal(await ledger().count('debts', idsWith(id)), 1);
    }
    await other.close();
  });

  it('loses no increment of 16 writers that retry on conflict', async () => {
    const id = newPrefix();
    await set(ledger(), id, 0);
    const increment = async (): Promise<void> => {
      const row = (await ledger().get('keys', id))!;
      const write = { table: 'keys', id, value: (row.value as number) + 1, expect: row.revision } as const;
      if ((await ledger().commit([write])).kind === 'conflict') await increment();
    };
    await Promise.all(Array.from({ length: 16 }, increment));
    assert.equal((await ledger().get('keys', id))?.value, 16);
  });

  it('refuses a batch with two conditions', async () => {
    const write = { table: 'keys', value: 1, expect: 'absent' } as const;
    const batch = [newPrefix(), newPrefix()].map((id) => ({ ...write, id }));
    await assert.rejects(ledger().commit(batch), TypeError);
    assert.equal(await ledger().get('keys', batch[0]!.id), undefined);
  });
}

function scanTests(ledger: () => Ledger): void {
  it('goes in the order of UTF-8 bytes, not of UTF-16 units', async () => {
    const prefix = newPrefix();
    const ids = [
      '\u{10000}',
      '\ue000',
      '\uffff',
      '\u{1f600}',
      'a',
      'a\0',
      'a/b',
      'aa',
      'z',
      'é',
      '',
      '\u{10fffe}',
    ];
    await ledger().commit(ids.map((id) => ({ table: 'keys', id: prefix + id, value: 0 })));
    const expected = ids.map((id) => prefix + id).sort(compareKeys);
    assert.deepEqual(
      expected,
      [...expected].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
    );
    assert.deepEqual(
      (await all(ledger(), idsWith(prefix))).map((row) => row.id),
      expected,
    );
  });

  it('takes the start and leaves out the end', async () => {
    const ids = await fill(ledger(), newPrefix(), 10);
    const rows = await all(ledger(), { from: ids[2]!, to: ids[5]! });
    assert.deepEqual(
      rows.map((row) => row.id),
      ids.slice(2, 5),
    );
    assert.deepEqual(await all(ledger(), { from: ids[5]!, to: ids[2]! }), []);
    assert.deepEqual(await all(ledger(), { from: ids[5]!, to: ids[5]! }), []);
  });

  it('reads no other table and no neighbour', async () => {
    const prefix = newPrefix();
    await ledger().commit([
      { table: 'keys', id: `${prefix}a`, value: 1 },
      { table: 'debts', id: `${prefix}b`, value: 2 },
      { table: 'keys', id: `${prefix.slice(0, -1)}0`, value: 3 },
    ]);
    assert.deepEqual(
      (await all(ledger(), idsWith(prefix))).map((row) => row.value),
      [1],
    );
  });

  for (const pageSize of [1, 7, 20, 1000]) {
    it(`pages of ${pageSize} have every row once, and no page is empty or too large`, async () => {
      const ids = await fill(ledger(), newPrefix(), 20);
      const seen: string[] = [];
      for await (const page of ledger().scan('keys', idsWith(ids[0]!.slice(0, -6)), { pageSize })) {
        assert.ok(page.length > 0 && page.length <= pageSize);
        seen.push(...page.map((row) => row.id));
      }
      assert.deepEqual(seen, ids);
    });
  }

  it('pages of large rows have every row once', async () => {
    const prefix = newPrefix();
    const value = 'x'.repeat(64 * 1024);
    for (let i = 0; i < 100; i++) await set(ledger(), `${prefix}${String(i).padStart(3, '0')}`, value);
    assert.equal((await all(ledger(), idsWith(prefix))).length, 100);
  });

  it('meets every row that stays, while others come and go between the pages', async () => {
    const prefix = newPrefix();
    const ids = await fill(ledger(), prefix, 200);
    const staying = new Set(ids.filter((_, i) => i % 2 === 0));
    const seen: string[] = [];
    let step = 0;
    for await (const page of ledger().scan('keys', idsWith(prefix), { pageSize: 10 })) {
      seen.push(...page.map((row) => row.id));
      await set(ledger(), ids[(step * 14 + 1) % 200]!, undefined);
      await set(ledger(), `${ids[(step * 31) % 200]}x`, 'new');
      step++;
    }
    assert.deepEqual(
      seen.filter((id) => staying.has(id)),
      [...staying],
    );
    assert.deepEqual(seen, [...new Set(seen)].sort(compareKeys));
  });

  it('lets a consumer stop early', async () => {
    const ids = await fill(ledger(), newPrefix(), 30);
    for await (const page of ledger().scan('keys', idsWith(ids[0]!.slice(0, -6)), { pageSize: 5 })) {
      assert.equal(page.length, 5);
      break;
    }
  });

  it('counts ranges', async () => {
    const prefix = newPrefix();
    const ids = await fill(ledger(), prefix, 1234);
    assert.equal(await ledger().count('keys', idsWith(prefix)), 1234);
    assert.equal(await ledger().count('keys', { from: ids[10]!, to: ids[20]! }), 10);
    assert.equal(await ledger().count('keys', { from: ids[20]!, to: ids[10]! }), 0);
    assert.equal(await ledger().count('debts', idsWith(prefix)), 0);
  });
}
