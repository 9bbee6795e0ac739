import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openEmbedded } from '../../embedded/open.ts';
import { idsWith } from '../../ports/ledger.ts';

test('others get a turn between the pages of a scan', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'isobar-ledger-'));
  const { ledger, close } = await openEmbedded({ folder });
  t.after(async () => {
    await close();
    await rm(folder, { recursive: true });
  });
  const ids = Array.from({ length: 50 }, (_, i) => `d\0azure\0${i}`);
  await ledger.commit(ids.map((id) => ({ table: 'debts', id, value: 1 })));
  let turns = 0;
  let ended = false;
  const turn = () => {
    turns += 1;
    if (!ended) setImmediate(turn);
  };
  setImmediate(turn);
  let pages = 0;
  for await (const _ of ledger.scan('debts', idsWith('d\0'), { pageSize: 10 })) pages += 1;
  ended = true;
  assert.equal(pages, 5);
  assert.ok(turns >= pages - 1, `${turns} turns in ${pages} pages`);
});
