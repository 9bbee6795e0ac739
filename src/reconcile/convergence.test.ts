import assert from 'node:assert/strict';
import { test } from 'node:test';
import { collect, Trial } from '../testing/trial.ts';

// Random histories: whatever happened in whatever order, all sites end up equal, and what lost is kept.

const keys = ['a', 'b', 'c'];
const seeds = Number(process.env['ISOBAR_SEEDS'] ?? 25);
const firstSeed = Number(process.env['ISOBAR_SEED'] ?? 1);

function randomFrom(seed: number): (below: number) => number {
  let state = seed * 2_654_435_761;
  return (below) => {
    // mulberry32
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

interface History {
  readonly trial: Trial;
  readonly random: (below: number) => number;
  /** Bodies written since the last complete sync, by site and key. */
  readonly fresh: Map<string, string>;
  writes: number;
}

async function step(history: History): Promise<void> {
  const { trial, random, fresh } = history;
  const site = trial.names[random(3)]!;
  const key = keys[random(keys.length)]!;
  const body = `write ${history.writes++} of ${key} at ${site}${'.'.repeat(random(3))}`;
  const act = random(10);
  if (act < 5) {
    await trial.nativePut(site, key, body);
    fresh.set(`${site} ${key}`, body);
  } else if (act < 7) {
    await trial.nativeRemove(site, key);
    fresh.delete(`${site} ${key}`);
  } else if (act < 9) {
    // Through Isobar it lands on top of whatever the first site holds.
    await trial.put(key, body);
    fresh.set(`aws ${key}`, body);
  } else {
    await trial.dataset.remove(key, trial.signal);
    for (const name of trial.names) {
      if ((await trial.nativeRead(name, key)) === undefined) fresh.delete(`${name} ${key}`);
    }
  }
}

/** One site is away. What came to another site may be overwritten there by somebody who has seen it. */
async function syncedPartly({ trial, random, fresh }: History): Promise<void> {
  const lift = trial.at(trial.names[random(3)]!).break('misplaced');
  await trial.sync({ yes: true });
  lift();
  for (const [place, body] of fresh) {
    const key = place.split(' ')[1]!;
    const bodies = await Promise.all(trial.names.map((site) => trial.nativeRead(site, key)));
    if (bodies.filter((one) => one === body).length > 1) fresh.delete(place);
  }
}

async function keptBodies(trial: Trial): Promise<Set<string>> {
  const bodies = new Set<string>();
  for (const site of trial.names) {
    for (const body of Object.values(await trial.contents(site, '.isobar/losers/'))) bodies.add(body);
  }
  return bodies;
}

async function assertConverged({ trial, fresh }: History, seed: string): Promise<void> {
  const [first, ...others] = await Promise.all(trial.names.map((site) => trial.contents(site)));
  for (const other of others) assert.deepEqual(other, first, seed);
  const kept = await keptBodies(trial);
  for (const [place, body] of fresh) {
    const key = place.split(' ')[1]!;
    assert.ok(first![key] === body || kept.has(body), `${seed}: "${body}" is neither current nor kept`);
  }
  const losers = await trial.losers();
  for (const { site, keptAs } of losers) {
    assert.ok(
      (await trial.nativeRead(site, keptAs)) !== undefined,
      `${seed}: ${keptAs} is listed and absent`,
    );
  }
  const differences: unknown[] = [];
  await trial.dataset.verify({ deep: true }, (one) => void differences.push(one), trial.signal);
  assert.deepEqual(differences, [], seed);
  fresh.clear();
}

for (const tokenIsContentDigest of [false, true]) {
  test(`random histories converge (${tokenIsContentDigest ? 'S3-like' : 'generation'} tokens)`, async (t) => {
    for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
      const name = `ISOBAR_SEED=${seed} ISOBAR_SEEDS=1`;
      const random = randomFrom(seed);
      const trial = new Trial({ capabilities: { tokenIsContentDigest } });
      t.after(() => trial.close());
      const history: History = { trial, random, fresh: new Map(), writes: 0 };
      for (let round = 0; round < 4; round++) {
        for (let steps = 1 + random(6); steps > 0; steps--) await step(history);
        if (random(3) === 0) {
          await syncedPartly(history);
          for (let steps = random(3); steps > 0; steps--) await step(history);
        }
        await trial.syncAll({ yes: true });
        const again = await trial.sync({ yes: true });
        assert.deepEqual([again.away, again.owed], [{}, { aws: 0, gcp: 0, azure: 0 }], name);
        await assertConverged(history, name);
      }
      assert.deepEqual(await collect(trial.dataset.parked()), [], name);
    }
  });
}
