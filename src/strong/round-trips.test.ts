import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryStore } from '../stores/memory/memory-store.ts';
import { Clock, WorkerWorld } from '../testing/simulation/clock.ts';
import { Random } from '../testing/simulation/random.ts';
import { Link } from '../testing/simulation/strong-link.ts';
import { StrongRegister } from './register.ts';

const { signal } = new AbortController();
const roundTripMs = 20;

/** Sites that are one round trip away, and nothing else takes time. */
async function counted(run: (register: StrongRegister, trips: Count) => Promise<void>, away = 0) {
  const clock = new Clock();
  const random = new Random('round trips');
  const faults = { lostRequests: 0, lostReplies: 0, late: 0, held: 0, refused: 0 };
  const rates = { lost: 0, late: 0, delayMs: [10, 10, 10], patienceMs: 1 } as const;
  const links = Array.from({ length: 3 }, (_, i) => {
    const outage = { untilMs: i < away ? 1e9 : 0, refuses: false };
    return new Link(new MemoryStore(), { process: { dead: false }, outage, clock, random, rates, faults });
  });
  const register = new StrongRegister({
    sites: new Map(links.map((link, i) => [`s${i}`, link])),
    world: new WorkerWorld('w', clock, random),
    writer: 'w',
    projection: 'none',
  });
  const trips: Count = async (expected, call) => {
    const begunMs = clock.elapsedMs;
    const result = await call;
    assert.equal((clock.elapsedMs - begunMs) / roundTripMs, expected);
    await clock.sleep(1_000);
    return result;
  };
  await clock.run(run(register, trips));
}

type Count = <T>(expected: number, call: Promise<T>) => Promise<T>;

for (const away of [0, 1]) {
  test(`a write takes two round trips, an agreeing read one, a conditional write three; ${away} of 3 sites away`, () =>
    counted(async (register, trips) => {
      await trips(1, register.get('k', signal));
      await trips(2, register.put('k', Buffer.from('one'), {}, signal));
      const held = await trips(1, register.get('k', signal));
      const condition = { kind: 'if-match', tag: held!.tag } as const;
      await trips(3, register.put('k', Buffer.from('two'), { condition }, signal));
      await trips(1, register.get('k', signal));
      await trips(1, register.put('k', Buffer.from('x'), { condition }, signal));
      await trips(2, register.put('k', Buffer.alloc(100_000), {}, signal));
      await trips(2, register.remove('k', undefined, signal));
      await trips(1, register.get('k', signal));
    }, away));
}
