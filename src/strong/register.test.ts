import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { noMetadata } from '../model/metadata.ts';
import type { Capabilities, ObjectStore } from '../ports/object-store.ts';
import { MemoryStore } from '../stores/memory/memory-store.ts';
import { systemWorld } from '../system-world.ts';
import { FaultyStore } from '../testing/faulty-store.ts';
import { projectionEntry } from './body.ts';
import { headName, stagedPrefix } from './head.ts';
import { OutcomeUnknown } from './outcome-unknown.ts';
import { type StrongParts, StrongRegister } from './register.ts';

const { signal } = new AbortController();

interface Trial {
  readonly register: StrongRegister;
  readonly stores: readonly MemoryStore[];
  readonly faulty: readonly FaultyStore[];
  readonly breaches: { readonly site: string; readonly key: string; readonly tag: string }[];
  /** Another process over the same sites. */
  open(writer: string, parts?: Partial<StrongParts>): StrongRegister;
}

function trial(parts: Partial<StrongParts> = {}, count = 3): Trial {
  const stores = Array.from(
    { length: count },
    (_, i) =>
      new MemoryStore({
        world: systemWorld,
        capabilities: { tokenIsContentDigest: i === 0 },
        limits: { minPartBytes: 1 },
      }),
  );
  const faulty = stores.map((store) => new FaultyStore(store));
  const breaches: Trial['breaches'] = [];
  const open = (writer: string, more: Partial<StrongParts> = {}) =>
    new StrongRegister({
      sites: new Map(faulty.map((store, i) => [`s${i}`, store])),
      world: systemWorld,
      writer,
      events: { breach: (event) => breaches.push(event) },
      ...parts,
      ...more,
      settings: { timeoutMs: 300, pauseMs: 1, ...parts.settings, ...more.settings },
    });
  return { register: open('w'), stores, faulty, breaches, open };
}

async function textOf(register: StrongRegister, key: string): Promise<string | undefined> {
  const held = await register.get(key, signal);
  return held && Buffer.from(await held.read({ from: 0, to: held.size })).toString();
}

async function putText(register: StrongRegister, key: string, text: string): Promise<string> {
  const done = await register.put(key, Buffer.from(text), {}, signal);
  assert.equal(done.kind, 'written');
  return done.tag!;
}

function nativeText(store: MemoryStore, key: string): string | undefined {
  const native = store.bucket.object(key);
  return native && Buffer.from(native.body).toString();
}

describe('a key', () => {
  test('is put, read with its metadata, removed and put again', async () => {
    const { register } = trial();
    assert.equal(await register.get('k', signal), undefined);
    const metadata = { ...noMetadata, contentType: 'text/plain', user: { colour: 'red' } };
    const done = await register.put('k', Buffer.from('one'), { metadata }, signal);
    const held = await register.get('k', signal);
    assert.deepEqual([held?.tag, held?.metadata], [done.tag, metadata]);
    assert.equal((await register.remove('k', undefined, signal)).kind, 'written');
    assert.equal(await textOf(register, 'k'), undefined);
    const again = await putText(register, 'k', 'one');
    assert.notEqual(again, done.tag);
  });

  test('is put under a condition, and the answer to one that fails says what it holds', async () => {
    const { register } = trial();
    const ifAbsent = { condition: { kind: 'if-absent' } } as const;
    const first = await register.put('k', Buffer.from('one'), ifAbsent, signal);
    assert.equal(first.kind, 'written');
    assert.deepEqual(await register.put('k', Buffer.from('two'), ifAbsent, signal), {
      kind: 'conflict',
      tag: first.tag,
    });
    const condition = { kind: 'if-match', tag: first.tag! } as const;
    const second = await register.put('k', Buffer.from('two'), { condition }, signal);
    assert.equal(second.kind, 'written');
    assert.equal((await register.remove('k', condition, signal)).tag, second.tag);
    const last = { kind: 'if-match', tag: second.tag! } as const;
    assert.equal((await register.remove('k', last, signal)).kind, 'written');
    assert.deepEqual(await register.put('k', Buffer.from('x'), { condition: last }, signal), {
      kind: 'conflict',
    });
  });

  test('of which twenty processes count up loses no step', async () => {
    const { open } = trial({ projection: 'none', settings: { timeoutMs: 20_000, rounds: 200 } });
    await open('first').put('n', Buffer.from('0'), {}, signal);
    const count = async (register: StrongRegister) => {
      for (;;) {
        const held = await register.get('n', signal);
        const next = Number(Buffer.from(await held!.read({ from: 0, to: held!.size }))) + 1;
        const condition = { kind: 'if-match', tag: held!.tag } as const;
        const done = await register.put('n', Buffer.from(String(next)), { condition }, signal);
        if (done.kind === 'written') return;
      }
    };
    await Promise.all(Array.from({ length: 20 }, (_, i) => count(open(`w${i}`))));
    assert.equal(await textOf(open('last'), 'n'), '20');
  });
});

describe('with a site gone', () => {
  for (const effect of [{ kind: 'hang' }, { kind: 'fail', code: 'unavailable' }] as const) {
    test(`that is ${effect.kind === 'hang' ? 'silent' : 'failing'}, everything goes on, and repair brings it up`, async () => {
      const { register, faulty, stores } = trial();
      await putText(register, 'k', 'before');
      await register.settled();
      const lift = faulty[1]!.inject({ effect });
      await putText(register, 'k', 'during');
      assert.equal(await textOf(register, 'k'), 'during');
      const created = await register.put(
        'n',
        Buffer.from('new'),
        { condition: { kind: 'if-absent' } },
        signal,
      );
      assert.equal(created.kind, 'written');
      lift();
      faulty[1]!.heal();
      await register.settled();
      for (const key of ['k', 'n']) await register.repair(key, signal);
      const [first, second] = stores.map((store) => store.bucket.object(headName('k'))?.body);
      assert.deepEqual(second, first);
      assert.deepEqual([nativeText(stores[1]!, 'k'), nativeText(stores[1]!, 'n')], ['during', 'new']);
    });
  }

  test('two of three: a read fails, a write that was sent is of unknown outcome, one that was not is not', async () => {
    const { register, faulty, open } = trial({ projection: 'none' });
    await putText(register, 'k', 'before');
    const lifts = [0, 1].map((i) => faulty[i]!.break('unavailable'));
    await assert.rejects(register.get('k', signal), { code: 'unavailable' });
    await assert.rejects(register.put('k', Buffer.from('x'), {}, signal), { code: 'unavailable' });
    for (const lift of lifts) lift();
    assert.equal(await textOf(open('reader'), 'k'), 'before');
    const writes = [0, 1].map((i) => faulty[i]!.break('unavailable', 'write'));
    const unknown = await register.put('k', Buffer.from('maybe'), {}, signal).catch((error) => error);
    assert.ok(unknown instanceof OutcomeUnknown);
    assert.match(unknown.message, /unknown.*Read the key/s);
    for (const lift of writes) lift();
    const held = await open('reader').get('k', signal);
    assert.ok(held!.tag === unknown.tag || (await textOf(register, 'k')) === 'before');
  });
});

describe('a large body', () => {
  const large = Buffer.alloc(200_000, 'isobar ');

  test('is staged at a majority, projected, read in ranges, and its stage cleared after the next', async () => {
    const settings = { graceMs: -1, partSizeBytes: 64 * 1024 };
    const { register, stores } = trial({ settings });
    await register.put('k', large, {}, signal);
    const held = await register.get('k', signal);
    assert.ok(Buffer.from(await held!.read({ from: 0, to: large.length })).equals(large));
    assert.deepEqual(await held!.read({ from: 5, to: 9 }), new Uint8Array(large.subarray(5, 9)));
    await register.settled();
    assert.ok(stores.every((store) => store.bucket.object('k')?.body.length === large.length));
    await register.repair('k', signal);
    const staged = () =>
      stores.map((store) => [...store.bucket.objects(stagedPrefix('k'))].filter(isStaged).length);
    assert.deepEqual(staged(), [1, 1, 1]);
    await putText(register, 'k', 'small');
    await register.settled();
    assert.equal((await register.repair('k', signal)).cleared, 3);
    assert.deepEqual(staged(), [0, 0, 0]);
  });

  test('that could not be staged at a majority is not written', async () => {
    const { register, faulty } = trial();
    for (const i of [0, 1]) {
      faulty[i]!.inject({
        key: (key) => key.startsWith(stagedPrefix('k')),
        effect: { kind: 'fail', code: 'full' },
      });
    }
    await assert.rejects(register.put('k', large, {}, signal), /staged at 1 of 3 sites/);
    assert.equal(await register.get('k', signal), undefined);
  });

  test('whose stage is gone from a site is read from another, and repaired', async () => {
    const { register, stores } = trial({ projection: 'none' });
    await register.put('k', large, {}, signal);
    await register.settled();
    const [first] = stores;
    const [staged] = [...first!.bucket.objects(stagedPrefix('k'))];
    first!.bucket.setObject(staged!.key, undefined);
    const held = await register.get('k', signal);
    assert.equal((await held!.read({ from: 0, to: large.length })).length, large.length);
    assert.equal((await register.repair('k', signal)).sites.get('s0')?.staged, true);
    assert.equal(first!.bucket.object(staged!.key)?.body.length, large.length);
  });
});

function isStaged({ key }: { readonly key: string }): boolean {
  return key.startsWith(stagedPrefix('k'));
}

describe('native keys', () => {
  test('follow, with the metadata of the user and the tag', async () => {
    const { register, stores } = trial();
    const metadata = { ...noMetadata, contentType: 'text/plain', user: { colour: 'red' } };
    const { tag } = await register.put('k', Buffer.from('one'), { metadata }, signal);
    await register.settled();
    for (const store of stores) {
      const native = store.bucket.object('k')!;
      assert.equal(native.metadata.contentType, 'text/plain');
      assert.equal(native.metadata.user.colour, 'red');
      assert.ok(native.metadata.user[projectionEntry]?.startsWith(`${tag};`));
    }
    await register.remove('k', undefined, signal);
    await register.settled();
    assert.ok(stores.every((store) => store.bucket.object('k') === undefined));
  });

  test('that somebody else wrote are reported as a breach and adopted as one new write', async () => {
    const { register, stores, breaches, open } = trial();
    await putText(register, 'k', 'ours');
    await register.settled();
    await overwrite(stores[1]!, 'k', 'theirs');
    await Promise.all([register.project('k', signal), open('other').project('k', signal)]);
    assert.equal(breaches.length, 1);
    assert.deepEqual([breaches[0]!.site, breaches[0]!.key], ['s1', 'k']);
    assert.equal(await textOf(register, 'k'), 'theirs');
    await register.repair('k', signal);
    assert.deepEqual(
      stores.map((store) => nativeText(store, 'k')),
      ['theirs', 'theirs', 'theirs'],
    );
  });

  test('that were there before the first write are adopted, not overwritten', async () => {
    const { register, stores, breaches } = trial();
    await stores[2]!.write(
      { key: 'k', body: Buffer.from('old'), metadata: noMetadata, condition: { kind: 'absent' } },
      signal,
    );
    await register.project('k', signal);
    assert.equal(await textOf(register, 'k'), 'old');
    assert.equal(breaches.length, 1);
  });

  // X, Y, X: with S3's token the late If-Match of the first projection holds again.
  test('mend themselves when a late projection met a token that came back', async () => {
    const { register, stores, faulty, open } = trial();
    await putText(register, 'k', 'X');
    await register.settled();
    const late = open('late');
    const [met, reached] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    faulty[0]!.inject({
      verbs: ['write'],
      key: (key) => key === 'k',
      times: 1,
      effect: {
        kind: 'before',
        run: () => {
          reached.resolve();
          return met.promise;
        },
      },
    });
    await putText(late, 'k', 'Y');
    await reached.promise;
    for (const text of ['Z', 'X']) {
      await putText(register, 'k', text);
      await register.settled();
    }
    met.resolve();
    await late.settled();
    assert.equal(nativeText(stores[0]!, 'k'), 'X');
  });
});

async function overwrite(store: ObjectStore, key: string, text: string): Promise<void> {
  const { token } = (await store.head(key, signal))!;
  const condition = { kind: 'match', token } as const;
  await store.write({ key, body: Buffer.from(text), metadata: noMetadata, condition }, signal);
}

describe('what is removed', () => {
  test('is forgotten at all sites once it is old enough everywhere, and can begin anew', async () => {
    const { register, stores } = trial({ settings: { graceMs: -1, fenceMs: 1 } });
    await putText(register, 'k', 'one');
    await register.remove('k', undefined, signal);
    await register.settled();
    assert.equal(await register.collect('k', signal), 'collected');
    assert.ok(stores.every((store) => store.bucket.object(headName('k')) === undefined));
    assert.equal(await register.get('k', signal), undefined);
    await putText(register, 'k', 'two');
    assert.equal(await register.collect('k', signal), 'kept');
    assert.equal(await textOf(register, 'k'), 'two');
  });

  test('is kept while it is young, or while a site is away', async () => {
    const young = trial();
    await young.register.remove('k', undefined, signal);
    assert.equal(await young.register.collect('k', signal), 'kept');
    const { register, faulty } = trial({ settings: { graceMs: -1, fenceMs: 1 } });
    await register.remove('k', undefined, signal);
    faulty[2]!.break('unavailable');
    assert.equal(await register.collect('k', signal), 'kept');
  });

  test('is not brought back by what saw it before it was collected', async () => {
    const { register, stores, open } = trial({ settings: { graceMs: -1, fenceMs: 700 } });
    await putText(register, 'k', 'one');
    await register.remove('k', undefined, signal);
    await register.settled();
    const go = Promise.withResolvers<void>();
    const slow = stores.map((store) => new FaultyStore(store));
    let waiting = 0;
    const run = () => {
      waiting += 1;
      return go.promise;
    };
    const hold = { kind: 'before', run } as const;
    for (const store of slow) store.inject({ verbs: ['write'], effect: hold });
    const late = open('late', { sites: new Map(slow.map((store, i) => [`s${i}`, store])) });
    const condition = { kind: 'if-absent' } as const;
    const put = late.put('k', Buffer.from('late'), { condition }, signal).catch((error) => error);
    while (waiting < 3) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(await register.collect('k', signal), 'collected');
    await putText(register, 'k', 'two');
    go.resolve();
    assert.equal((await put).code, 'unavailable');
    await late.settled();
    assert.equal(await textOf(register, 'k'), 'two');
  });

  test('can be written while it is being collected; a creation under a condition waits for the end', async () => {
    const { register, open } = trial({ settings: { graceMs: -1, fenceMs: 50 } });
    await register.remove('k', undefined, signal);
    const collecting = register.collect('k', signal);
    const other = open('other');
    const condition = { kind: 'if-absent' } as const;
    await new Promise((resolve) => setTimeout(resolve, 20));
    await assert.rejects(other.put('k', Buffer.from('x'), { condition }, signal), /being collected/);
    await putText(other, 'k', 'now');
    assert.equal(await collecting, 'kept');
    assert.equal(await textOf(register, 'k'), 'now');
  });
});

describe('refused by name', () => {
  const weak: Partial<Capabilities>[] = [{ create: 'none' }, { replace: 'recoverable' }];
  for (const capabilities of weak) {
    test(`a store with ${JSON.stringify(capabilities)}`, () => {
      const sites = new Map<string, ObjectStore>(['a', 'b', 'c'].map((site) => [site, new MemoryStore()]));
      sites.set('b', new MemoryStore({ capabilities }));
      assert.throws(() => new StrongRegister({ sites, world: systemWorld, writer: 'w' }), {
        code: 'unsupported',
        message: /^b cannot promise compare-and-set .*put another store in its place/,
      });
    });
  }

  test('two sites, four sites, an unreadable writer', () => {
    for (const count of [2, 4]) assert.throws(() => trial({}, count), /three or five sites/);
    assert.throws(() => trial({ writer: 'a/b' }), /letters, digits/);
  });

  test('several keys at once, keys of its own, a tag that is none', async () => {
    const { register } = trial();
    const keys = ['a', 'b'] as unknown as string;
    await assert.rejects(register.put(keys, Buffer.from('x'), {}, signal), /one key.*none over several/);
    await assert.rejects(register.get('.isobar/heads/x', signal), { code: 'invalid' });
    const condition = { kind: 'if-match', tag: '"etag"' } as const;
    await assert.rejects(register.put('k', Buffer.from('x'), { condition }, signal), /is no tag/);
  });

  test('a head that is none', async () => {
    const { register, stores } = trial();
    await putText(register, 'k', 'one');
    await register.settled();
    await overwrite(stores[0]!, headName('k'), '{}');
    assert.equal(await textOf(register, 'k'), 'one');
    await overwrite(stores[1]!, headName('k'), '{}');
    await assert.rejects(register.get('k', signal), (error: Error) => /no head/.test(String(error.cause)));
  });
});
