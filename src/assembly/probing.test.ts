import assert from 'node:assert/strict';
import { test } from 'node:test';
import { noMetadata } from '../model/metadata.ts';
import type { Capabilities, DriverStore } from '../ports/object-store.ts';
import { AdaptiveLimit, defaultAdaptiveSettings } from '../replicate/adaptive-limit.ts';
import { Breaker } from '../replicate/breaker.ts';
import { GuardedStore } from '../replicate/guarded-store.ts';
import { markerKey } from '../replicate/marker.ts';
import { MemoryStore } from '../stores/memory/memory-store.ts';
import { systemWorld } from '../system-world.ts';
import { FaultyStore } from '../testing/faulty-store.ts';
import { Probing } from './probing.ts';

const never = new AbortController().signal;
const absent = { kind: 'absent' } as const;
const isProbe = (key: string) => key.startsWith('.isobar/probe/');

/** A site whose promises are unknown, and what became known of them. The clock stands until it is moved. */
class NewSite {
  nowMs = 0;
  readonly known: { found: Capabilities; isComplete: boolean }[] = [];
  readonly faulty = new FaultyStore(new MemoryStore());
  readonly probing: Probing;
  readonly store: GuardedStore;

  constructor() {
    const world = { ...systemWorld, monotonicMs: () => this.nowMs };
    const driver: DriverStore = Object.assign(this.faulty, { settle: () => {} });
    this.probing = new Probing(driver, world, async (found, isComplete) => {
      this.known.push({ found, isComplete });
    });
    this.store = new GuardedStore({
      store: driver,
      ready: (need, signal) => this.probing.ready(need, signal),
      world,
      breaker: new Breaker('a', world),
      limit: new AdaptiveLimit(defaultAdaptiveSettings),
      settings: { tries: 1, firstPauseMs: 0, longestPauseMs: 0 },
    });
  }

  write(key: string) {
    return this.store.write({ key, body: Buffer.from(key), metadata: noMetadata, condition: absent }, never);
  }

  asked(verb: string, key: string): number {
    return this.faulty.asked.filter((one) => one.verb === verb && one.key === key).length;
  }
}

async function listed(store: GuardedStore): Promise<number> {
  let keys = 0;
  for await (const page of store.list({}, never)) keys += page.length;
  return keys;
}

test('a site is recognised, listed, and read as listed, while it is probed; all else waits', async () => {
  const site = new NewSite();
  const lift = site.faulty.inject({ verbs: ['write'], key: isProbe, effect: { kind: 'hang' } });
  const written = site.write('a');
  const read = site.store.read('b', {}, never);
  assert.equal(await listed(site.store), 0);
  assert.equal(await site.store.read(markerKey, {}, never), undefined);
  assert.equal((await site.write(markerKey)).kind, 'written');
  await site.store.read('c', { token: 'listed' }, never);
  assert.equal(site.asked('read', 'c'), 1);
  assert.deepEqual([site.asked('write', 'a'), site.asked('read', 'b')], [0, 0]);
  lift();
  assert.equal((await written).kind, 'written');
  assert.equal(await read, undefined);
  assert.equal(site.known.length, 1);
  assert.ok(site.known[0]?.isComplete);
  await site.probing.close();
});

test('a site that cannot be probed takes no write, can be read, and is probed again later', async () => {
  const site = new NewSite();
  const lift = site.faulty.inject({
    verbs: ['write'],
    key: isProbe,
    effect: { kind: 'fail', code: 'denied' },
  });
  await assert.rejects(site.write('a'), { code: 'denied' });
  assert.equal(await site.store.read('a', {}, never), undefined);
  lift();
  const asked = site.faulty.asked.length;
  await assert.rejects(site.write('a'), { code: 'denied' }, 'so soon it is not asked again');
  assert.equal(site.faulty.asked.length, asked);
  assert.deepEqual([site.asked('write', 'a'), site.known.length], [0, 0]);
  site.nowMs += 10_000;
  assert.equal((await site.write('a')).kind, 'written');
  assert.equal(site.known.length, 1);
  await site.probing.close();
});

test('where nothing may be removed the rest is known, and removals are tried again', async () => {
  const site = new NewSite();
  const lift = site.faulty.break('denied', 'remove');
  const written = await site.write('a');
  assert.ok(written.kind === 'written' && site.known[0]?.isComplete === false);
  await assert.rejects(site.store.remove('a', written.token, never), { code: 'denied' });
  assert.equal(site.asked('remove', 'a'), 1, 'the store itself refuses');
  const left = () => site.faulty.asked.filter(({ verb, key }) => verb === 'write' && isProbe(key)).length;
  const before = left();
  site.nowMs += 10_000;
  await assert.rejects(site.store.remove('a', written.token, never), { code: 'denied' });
  assert.equal(left(), before, 'what cannot be removed does not pile up');
  lift();
  site.nowMs += 10_000;
  assert.equal((await site.write('b')).kind, 'written');
  assert.equal(site.known.length, 1, 'what a write rests on is known');
  assert.equal((await site.store.remove('a', written.token, never)).kind, 'removed');
  assert.deepEqual(
    site.known.map(({ isComplete }) => isComplete),
    [false, true],
  );
  await site.probing.close();
});

test('who stops waiting does not end the probe; its close does, and leaves nothing', async () => {
  const site = new NewSite();
  const lift = site.faulty.inject({ verbs: ['write'], key: isProbe, effect: { kind: 'hang' } });
  const leaving = new AbortController();
  const waiting = site.probing.ready('write', leaving.signal);
  leaving.abort(new Error('gone'));
  await assert.rejects(async () => waiting, { message: 'gone' });
  lift();
  await site.probing.close();
  assert.equal(site.known.length, 1);
  for await (const page of site.faulty.store.list({ prefix: '.isobar/' }, never)) assert.deepEqual(page, []);
  for await (const page of site.faulty.store.listUploads(never)) assert.deepEqual(page, []);
});

test('a site that hangs does not hold the end up', async () => {
  const site = new NewSite();
  site.faulty.inject({ effect: { kind: 'hang' } });
  const waiting = site.probing.ready('write', never)!;
  waiting.catch(() => {});
  await site.probing.close();
  await assert.rejects(waiting);
});
