import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { simulateStrong } from '../testing/simulation/strong.ts';
import { type Naive, openNaive } from '../testing/simulation/strong-naive.ts';
import { strongTotals } from '../testing/simulation/strong-totals.ts';

// `node src/testing/simulation/strong-main.ts` runs as many as one likes.
const histories = 600;

test(`${histories} histories over faulty sites are linearizable, and native keys end as the register says`, async () => {
  const { failed, idle } = await strongTotals(1, histories);
  assert.deepEqual(failed, []);
  assert.deepEqual(idle, [], 'a fault that never took effect shows nothing');
});

test('200 histories in which removals are collected while clients write', async () => {
  const { failed, collected } = await strongTotals(1, 200, { collections: true });
  assert.deepEqual(failed, []);
  assert.ok(collected > 50, `${collected} collections`);
});

test('a hundred histories with bodies that repeat, where every token is a digest', async () => {
  const { failed } = await strongTotals(1, 100, { conditions: false, bodies: 2, contentTokens: 1 });
  assert.deepEqual(failed, []);
});

test('the same seed gives the same history', async () => {
  for (const seed of [3, 11, 12]) assert.deepEqual(await simulateStrong(seed), await simulateStrong(seed));
});

describe('a naive register is caught', () => {
  const plain = { conditions: false, collections: false };
  const lossy = { ...plain, lost: 0.2 };
  const repeating = { ...plain, bodies: 2, contentTokens: 1 };
  const variants = {
    'the tag in metadata, guarded by an ETag of the body': [{ tagInMetadata: true }, repeating, 1_000],
    'a write that lost is sent again under a new tag': [{ retriesUnderNewTag: true }, plain, 100],
    'a tag is used again after an abort': [{ reusesTags: true }, lossy, 4_000],
    'a read takes at least, and an overtaken write says failed': [
      { readsAtLeast: true, overtakenFails: true },
      plain,
      4_000,
    ],
    'a conditional write looks and puts': [{ looksThenPuts: true }, { collections: false }, 100],
  } as const;
  for (const [name, [naive, plan, count]] of Object.entries(variants)) {
    test(name, async () => {
      assert.ok((await firstViolation(naive, plan, count)) !== undefined, `not in ${count} histories`);
    });
  }

  test('and with the rules of docs/strong.md the same register, put and get alone, is not', async () => {
    for (const plan of [plain, lossy, repeating]) {
      assert.equal(await firstViolation({}, plan, 1_000), undefined);
    }
  });
});

async function firstViolation(
  naive: Naive,
  plan: Parameters<typeof simulateStrong>[1],
  count: number,
): Promise<number | undefined> {
  for (let seed = 0; seed < count; seed++) {
    const { verdict } = await simulateStrong(seed, { ...plan, open: openNaive(naive) });
    if (verdict.kind === 'violation') return seed;
  }
  return undefined;
}
