import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import type { Change } from '../model/change.ts';
import type { Bus, Delivery } from '../ports/bus.ts';

export interface OpenedBus {
  readonly bus: Bus;
  /** Another worker's bus on the same changes. */
  another(): Promise<Bus>;
  /** Everybody leaves, and the same changes are opened again. The old buses are of no use after it. */
  reopen(): Promise<Bus>;
  close(): Promise<void>;
}

/** The whole contract of `Bus` as one suite of node:test. `open` is called once. */
export function busConformance(name: string, open: () => Promise<OpenedBus>): void {
  describe(`bus: ${name}`, { timeout: 60_000 }, () => {
    const subject: Subject = { opened: undefined, bus: undefined };
    before(async () => {
      subject.opened = await open();
      subject.bus = subject.opened.bus;
    });
    after(() => subject.opened?.close());
    describe('order', () => orderTests(() => subject.bus!));
    describe('redelivery', () => redeliveryTests(subject));
    describe('subscription', () => subscriptionTests(subject));
    describe('backlog', () => backlogTests(() => subject.bus!));
  });
}

interface Subject {
  opened: OpenedBus | undefined;
  bus: Bus | undefined;
}

const newDataset = () => `d${randomBytes(6).toString('hex')}`;

function changeOf(dataset: string, key: string, n: number): Change {
  return { id: `${key}#${n}`, dataset, key, site: 'aws', atMs: 1_700_000_000_000 + n };
}

/** `a1` is the first change of key `a`. */
function changesOf(dataset: string, names: string): Change[] {
  return names.split(' ').map((name) => changeOf(dataset, name[0]!, Number(name.slice(1))));
}

/** Takes deliveries one by one; what is not there yet can be told from what never comes. */
class Consumer {
  readonly #abort = new AbortController();
  readonly #iterator: AsyncIterator<Delivery>;
  #next: Promise<IteratorResult<Delivery>> | undefined;

  constructor(bus: Bus, dataset: string, maxInFlight = 100) {
    this.#iterator = bus.subscribe({ dataset, maxInFlight }, this.#abort.signal)[Symbol.asyncIterator]();
  }

  async take(): Promise<Delivery> {
    this.#next ??= this.#iterator.next();
    const { value, done } = await this.#next;
    this.#next = undefined;
    assert.ok(done !== true, 'the subscription ended');
    return value;
  }

  async takeMany(count: number): Promise<Delivery[]> {
    const taken: Delivery[] = [];
    while (taken.length < count) taken.push(await this.take());
    return taken;
  }

  /** Nothing comes: shown by a change of another key, published after, that does come. */
  async assertNothingBefore(bus: Bus, dataset: string): Promise<void> {
    const marker = changeOf(dataset, `marker${randomBytes(4).toString('hex')}`, 0);
    await bus.publish([marker]);
    const next = await this.take();
    assert.equal(next.change.id, marker.id);
    await next.ack();
  }

  async stop(): Promise<void> {
    this.#next ??= this.#iterator.next();
    this.#abort.abort();
    let result = await this.#next;
    while (result.done !== true) result = await this.#iterator.next();
  }
}

const idsOf = (deliveries: readonly Delivery[]) => deliveries.map(({ change }) => change.id);

function orderTests(bus: () => Bus): void {
  it('delivers what was published, whole', async () => {
    const dataset = newDataset();
    const change: Change = {
      id: 'odd \u{1f600}\0',
      dataset,
      key: 'ä/\u{1f600}\n',
      site: 'aws',
      atMs: 1.5,
      version: {
        stamp: '000001' as never,
        dot: { site: 'aws', count: 3 },
        past: { gcp: 2 },
        operation: 'o'.repeat(22),
        deleted: false,
      },
    };
    await bus().publish([change]);
    const consumer = new Consumer(bus(), dataset);
    const delivery = await consumer.take();
    assert.deepEqual(delivery.change, change);
    assert.equal(delivery.attempt, 1);
    await delivery.ack();
    await consumer.stop();
  });

  it('delivers different keys side by side, and holds back the second change of a key', async () => {
    const dataset = newDataset();
    await bus().publish(changesOf(dataset, 'a1 a2 b1 c1 b2'));
    const consumer = new Consumer(bus(), dataset);
    const first = await consumer.takeMany(3);
    assert.deepEqual(idsOf(first), ['a#1', 'b#1', 'c#1']);
    await consumer.assertNothingBefore(bus(), dataset);
    await first[1]!.ack();
    const next = await consumer.take();
    assert.equal(next.change.id, 'b#2');
    await first[0]!.ack();
    const last = await consumer.take();
    assert.equal(last.change.id, 'a#2');
    for (const delivery of [first[2]!, next, last]) await delivery.ack();
    await consumer.stop();
    assert.deepEqual(await bus().backlog(dataset), { changes: 0, oldestMs: undefined });
  });

  it('keeps the order of each key over many keys, acknowledged in any order', async () => {
    const dataset = newDataset();
    const perKey = 12;
    const keys = Array.from({ length: 30 }, (_, i) => `key-${i}`);
    for (let n = 0; n < perKey; n++) await bus().publish(keys.map((key) => changeOf(dataset, key, n)));
    const consumer = new Consumer(bus(), dataset, 8);
    const seen = new Map<string, number>();
    const underWay: Delivery[] = [];
    for (let i = 0; i < keys.length * perKey; i++) {
      const delivery = await consumer.take();
      const n = Number(delivery.change.id.split('#')[1]);
      assert.equal(n, seen.get(delivery.change.key) ?? 0, `order of ${delivery.change.key}`);
      seen.set(delivery.change.key, n + 1);
      underWay.push(delivery);
      assert.ok(underWay.length <= 8, 'more in flight than allowed');
      if (underWay.length === 8) await underWay.splice((i * 5) % 8, 1)[0]!.ack();
    }
    for (const delivery of underWay) await delivery.ack();
    await consumer.stop();
    assert.equal((await bus().backlog(dataset)).changes, 0);
  });

  it('one key with a long queue does not hold up the others', async () => {
    const dataset = newDataset();
    await bus().publish(Array.from({ length: 5000 }, (_, n) => changeOf(dataset, 'hot', n)));
    await bus().publish([changeOf(dataset, 'cold', 0)]);
    const consumer = new Consumer(bus(), dataset, 4);
    assert.deepEqual(idsOf(await consumer.takeMany(2)), ['hot#0', 'cold#0']);
    await consumer.stop();
  });

  it('delivers a change that was published twice twice, one after the other', async () => {
    const dataset = newDataset();
    await bus().publish(changesOf(dataset, 'a1 a1'));
    const consumer = new Consumer(bus(), dataset);
    const first = await consumer.take();
    await consumer.assertNothingBefore(bus(), dataset);
    await first.ack();
    const second = await consumer.take();
    assert.equal(second.change.id, 'a#1');
    await second.ack();
    await consumer.stop();
  });

  it('keeps datasets apart, and accepts nothing at all', async () => {
    const [one, other] = [newDataset(), newDataset()];
    await bus().publish([]);
    await bus().publish([changeOf(one, 'a', 1), changeOf(other, 'b', 1), changeOf(`${one}x`, 'c', 1)]);
    const consumer = new Consumer(bus(), one);
    assert.equal((await consumer.take()).change.id, 'a#1');
    await consumer.assertNothingBefore(bus(), one);
    await consumer.stop();
    assert.equal((await bus().backlog(other)).changes, 1);
  });
}

function redeliveryTests(subject: Subject): void {
  const bus = () => subject.bus!;

  it('delivers a released change again, before later ones of its key, and counts the attempts', async () => {
    const dataset = newDataset();
    await bus().publish(changesOf(dataset, 'a1 a2'));
    const consumer = new Consumer(bus(), dataset);
    for (const attempt of [1, 2, 3]) {
      const delivery = await consumer.take();
      assert.deepEqual([delivery.change.id, delivery.attempt], ['a#1', attempt]);
      if (attempt < 3) await delivery.release();
      else await delivery.ack();
    }
    const next = await consumer.take();
    assert.deepEqual([next.change.id, next.attempt], ['a#2', 1]);
    await next.ack();
    await consumer.stop();
  });

  it('delivers what a subscription left behind to the next one, in order', async () => {
    const dataset = newDataset();
    await bus().publish(changesOf(dataset, 'a1 b1 a2 c1'));
    const first = new Consumer(bus(), dataset);
    const taken = await first.takeMany(3);
    await taken[1]!.ack();
    await first.stop();
    assert.equal((await bus().backlog(dataset)).changes, 3);
    const second = new Consumer(bus(), dataset);
    const again = await second.takeMany(2);
    assert.deepEqual(idsOf(again), ['a#1', 'c#1']);
    assert.ok(again.every(({ attempt }) => attempt >= 1));
    await again[0]!.ack();
    assert.equal((await second.take()).change.id, 'a#2');
    await second.stop();
  });

  it('honours an acknowledgement that comes after the subscription ended', async () => {
    const dataset = newDataset();
    await bus().publish(changesOf(dataset, 'a1 a2'));
    const first = new Consumer(bus(), dataset);
    const late = await first.take();
    await first.stop();
    await late.ack();
    const second = new Consumer(bus(), dataset);
    assert.equal((await second.take()).change.id, 'a#2');
    await second.stop();
  });

  it('takes a second acknowledgement, and a release after one, for nothing', async () => {
    const dataset = newDataset();
    await bus().publish(changesOf(dataset, 'a1 a2 a3'));
    const consumer = new Consumer(bus(), dataset);
    const first = await consumer.take();
    await first.ack();
    const second = await consumer.take();
    await first.ack();
    await first.release();
    await consumer.assertNothingBefore(bus(), dataset);
    assert.equal((await bus().backlog(dataset)).changes, 2);
    await second.ack();
    assert.equal((await consumer.take()).change.id, 'a#3');
    await consumer.stop();
  });

  it('opened again, delivers everything that was not acknowledged, in order', async () => {
    const dataset = newDataset();
    await bus().publish(changesOf(dataset, 'a1 b1 a2 b2 c1'));
    const before = new Consumer(bus(), dataset);
    const [a1] = await before.takeMany(3);
    await a1!.ack();
    await before.stop();
    subject.bus = await subject.opened!.reopen();
    assert.deepEqual(await bus().backlog(dataset), { changes: 4, oldestMs: 1_700_000_000_001 });
    const consumer = new Consumer(bus(), dataset);
    const taken = await consumer.takeMany(3);
    assert.deepEqual(idsOf(taken).sort(), ['a#2', 'b#1', 'c#1']);
    for (const delivery of taken) await delivery.ack();
    assert.equal((await consumer.take()).change.id, 'b#2');
    await consumer.stop();
  });
}

function subscriptionTests(subject: Subject): void {
  const bus = () => subject.bus!;

  it('never has more than maxInFlight under way', async () => {
    const dataset = newDataset();
    await bus().publish(Array.from({ length: 20 }, (_, i) => changeOf(dataset, `k${i}`, i)));
    const consumer = new Consumer(bus(), dataset, 3);
    const taken = await consumer.takeMany(3);
    const fourth = consumer.take();
    const early = await Promise.race([fourth, settled()]);
    assert.equal(early, undefined);
    await taken[2]!.ack();
    assert.equal((await fourth).change.key, 'k3');
    await consumer.stop();
  });

  it('wakes a waiting subscriber', async () => {
    const dataset = newDataset();
    const consumer = new Consumer(bus(), dataset);
    const waiting = consumer.take();
    await settled();
    await bus().publish([changeOf(dataset, 'a', 1)]);
    await (await waiting).ack();
    await consumer.stop();
  });

  it('wakes a subscriber when another worker publishes', async () => {
    const dataset = newDataset();
    const other = await subject.opened!.another();
    const consumer = new Consumer(bus(), dataset);
    const waiting = consumer.take();
    await other.publish([changeOf(dataset, 'a', 1)]);
    await (await waiting).ack();
    assert.equal((await other.backlog(dataset)).changes, 0);
    await consumer.stop();
    await other.close();
  });

  it('ends quietly when the signal aborts, waiting or not, and at once when it has aborted before', async () => {
    const dataset = newDataset();
    const waiting = new Consumer(bus(), dataset);
    const ended = waiting.stop();
    await ended;
    await bus().publish([changeOf(dataset, 'a', 1)]);
    for await (const _ of bus().subscribe({ dataset, maxInFlight: 1 }, AbortSignal.abort())) assert.fail();
    assert.equal((await bus().backlog(dataset)).changes, 1);
  });

  it('a consumer that leaves its loop ends the subscription', async () => {
    const dataset = newDataset();
    await bus().publish([changeOf(dataset, 'a', 1)]);
    const { signal } = new AbortController();
    for await (const _ of bus().subscribe({ dataset, maxInFlight: 1 }, signal)) break;
    const consumer = new Consumer(bus(), dataset);
    assert.equal((await consumer.take()).change.id, 'a#1');
    await consumer.stop();
  });

  it('subscribers of two workers share the changes, and a key is never under way at both', async () => {
    const dataset = newDataset();
    const other = await subject.opened!.another();
    const perKey = 20;
    const keys = ['a', 'b', 'c', 'd', 'e'];
    for (let n = 0; n < perKey; n++) await bus().publish(keys.map((key) => changeOf(dataset, key, n)));
    const underWay = new Set<string>();
    const seen = new Map<string, number>();
    let left = keys.length * perKey;
    const abort = new AbortController();
    const consume = async (from: Bus): Promise<void> => {
      for await (const { change, ack } of from.subscribe({ dataset, maxInFlight: 2 }, abort.signal)) {
        assert.ok(!underWay.has(change.key), `${change.key} is under way twice`);
        underWay.add(change.key);
        const n = seen.get(change.key) ?? 0;
        assert.equal(change.id, `${change.key}#${n}`);
        seen.set(change.key, n + 1);
        await settled(1);
        underWay.delete(change.key);
        await ack();
        if (--left === 0) abort.abort();
      }
    };
    await Promise.all([consume(bus()), consume(other)]);
    assert.equal((await bus().backlog(dataset)).changes, 0);
    await other.close();
  });
}

function backlogTests(bus: () => Bus): void {
  it('says how many changes wait and how old the oldest is, in flight ones included', async () => {
    const dataset = newDataset();
    assert.deepEqual(await bus().backlog(dataset), { changes: 0, oldestMs: undefined });
    const times = [50, 10, -5, 0.5, 99];
    await bus().publish(times.map((atMs, i) => ({ ...changeOf(dataset, `k${i}`, i), atMs })));
    assert.deepEqual(await bus().backlog(dataset), { changes: 5, oldestMs: -5 });
    const consumer = new Consumer(bus(), dataset);
    const taken = await consumer.takeMany(5);
    assert.deepEqual(await bus().backlog(dataset), { changes: 5, oldestMs: -5 });
    const oldest = [0.5, 10, 50, 99, undefined];
    for (const [i, at] of [2, 3, 1, 0, 4].entries()) {
      await taken[at]!.ack();
      assert.deepEqual(await bus().backlog(dataset), { changes: 4 - i, oldestMs: oldest[i] });
    }
    await consumer.stop();
  });
}

/** Long enough for whatever would come; a test may not fail because it was too short. */
function settled(ms = 20): Promise<undefined> {
  return new Promise((resolve) => setTimeout(resolve, ms, undefined));
}
