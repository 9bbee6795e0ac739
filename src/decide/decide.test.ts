import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { test } from 'node:test';
import { encodeEntry, entryName } from '../model/entry.ts';
import { keyHash } from '../model/key.ts';
import { noMetadata } from '../model/metadata.ts';
import { conflictRules, type RuleOf } from '../model/policy.ts';
import { emptyRecord, type KeyRecord, type Replica, withReplica } from '../model/record.ts';
import { stampOf } from '../model/stamp.ts';
import { compareVersions, relate, type Version } from '../model/version.ts';
import type { ListEntry } from '../ports/object-store.ts';
import { type AttributionInput, adoptUnread, attribute, nextVersion, seenBy } from './attribute.ts';
import { decide } from './decide.ts';
import { newestOf } from './resolve.ts';

const key = 'photo';
const nowMs = 1_000_000;
const lastWins = conflictRules('last-writer-wins');

function version(dot: string, ms: number, more: Partial<Version> = {}): Version {
  const [site = '', count = ''] = dot.split('.');
  const past: Record<string, number> = Number(count) > 1 ? { [site]: Number(count) - 1 } : {};
  return {
    stamp: stampOf(ms),
    dot: { site, count: Number(count) },
    past,
    operation: `op ${dot}`,
    deleted: false,
    ...more,
  };
}

function replica(of: Version, token: string, more: Partial<Replica> = {}): Replica {
  return { version: of, token, size: 5, digest: 'd', traits: 'x', ...more };
}

const gone = (of: Version): Replica => ({ version: { ...of, deleted: true }, size: 0 });

function recordOf(replicas: Record<string, Replica>): KeyRecord {
  return { key, replicas };
}

function seen(token: string, more: Partial<ListEntry> = {}): ListEntry {
  return { key, size: 5, token, lastModifiedMs: 500, digests: {}, metadata: noMetadata, ...more };
}

function look(
  record: KeyRecord,
  site: string,
  entry: ListEntry | undefined,
  more: Partial<AttributionInput> = {},
) {
  const sighting = entry ? ({ kind: 'present', entry } as const) : ({ kind: 'absent' } as const);
  return attribute({ site, record, sighting, nowMs, sameWrite: (a, b) => a === b, ...more });
}

function carrying(of: Version, more: { size?: number; digest?: string; key?: string } = {}) {
  const { size = 5, digest = 'd' } = more;
  const entry = encodeEntry({ version: of, size, digest, keyHash: keyHash(more.key ?? key) });
  return { ...noMetadata, user: { [entryName]: entry } };
}

test('the recorded write is known, whatever its metadata says', () => {
  const record = recordOf({ aws: replica(version('aws.1', 10), 't1') });
  assert.equal(look(record, 'aws', seen('t1')).kind, 'known');
  const { metadata: _, ...listed } = seen('t2');
  assert.equal(look(record, 'aws', listed).kind, 'needs-head');
});

test('somebody else’s write is adopted on top of what the site held', () => {
  const held = version('aws.2', 300, { past: { aws: 1, gcp: 4 } });
  const verdict = look(recordOf({ aws: replica(held, 't1', { seen: { azure: 7 } }) }), 'aws', seen('t2'));
  assert.equal(verdict.kind, 'native');
  const adopted = verdict.kind === 'native' ? verdict.replica.version : assert.fail();
  assert.deepEqual(adopted.dot, { site: 'aws', count: 3 });
  assert.deepEqual(adopted.past, { aws: 2, gcp: 4, azure: 7 });
  assert.equal(adopted.stamp, stampOf(500));
  const again = look(recordOf({ aws: replica(held, 't1', { seen: { azure: 7 } }) }), 'aws', seen('t2'));
  assert.deepEqual(again, verdict, 'two workers adopt it alike');
  const other = look(recordOf({ aws: replica(held, 't1') }), 'aws', seen('t3'));
  assert.notEqual(other.kind === 'native' && other.replica.version.operation, adopted.operation);
});

test('native time stamps: never after now, never before what they replaced', () => {
  const future = look(emptyRecord(key), 'aws', seen('t', { lastModifiedMs: nowMs * 50 }));
  assert.equal(future.kind === 'native' && future.replica.version.stamp, stampOf(nowMs));
  const held = replica(version('aws.1', 800), 't1');
  const past = look(recordOf({ aws: held }), 'aws', seen('t2', { lastModifiedMs: 3 }));
  assert.equal(past.kind === 'native' && past.replica.version.stamp, stampOf(800, 1));
});

test('an old version that was restored is a new write, though it carries its old entry', () => {
  const old = version('aws.1', 100);
  const now = version('aws.2', 200);
  const record = recordOf({ aws: replica(now, 't2'), gcp: replica(now, 'g2') });
  const verdict = look(record, 'aws', seen('t3', { metadata: carrying(old) }));
  assert.equal(verdict.kind, 'native');
  assert.equal(verdict.kind === 'native' && relate(verdict.replica.version, now), 'dominates');
  const same = look(record, 'aws', seen('t4', { metadata: carrying(now) }));
  assert.equal(same.kind, 'native', 'nor is the current one believed when its token is not');
});

test('a copy of another key brings that key’s entry along: a native write', () => {
  const verdict = look(
    emptyRecord(key),
    'aws',
    seen('t', { metadata: carrying(version('gcp.9', 90), { key: 'another' }) }),
  );
  assert.equal(verdict.kind === 'native' && verdict.replica.version.dot.site, 'aws');
});

test('our own write whose answer was lost is ours, once its body is proved', () => {
  const won = version('gcp.1', 400);
  const record = recordOf({ gcp: replica(won, 'g1'), aws: replica(version('aws.1', 100), 't1') });
  const entry = seen('t2', { metadata: carrying(won) });
  assert.equal(look(record, 'aws', entry).kind, 'needs-digest');
  const sighting = (digest: string) => ({ sighting: { kind: 'present', entry, digest } as const });
  const ours = look(record, 'aws', entry, sighting('d'));
  assert.deepEqual(ours.kind === 'ours' && ours.replica.version, won);
  const overwritten = look(record, 'aws', entry, sighting('another body'));
  assert.equal(overwritten.kind, 'native', 'metadata that a native overwrite preserved proves nothing');
  const longer = look(record, 'aws', { ...entry, size: 6 });
  assert.equal(longer.kind, 'native', 'nor with another size');
});

test('without a ledger an entry tells the version, and a copy elsewhere that of its original', () => {
  const made = version('gcp.3', 300);
  const copied = look(emptyRecord(key), 'aws', seen('t', { metadata: carrying(made) }));
  assert.deepEqual(copied.kind === 'ours' && copied.replica.version, made);
  const origin = {
    version: made,
    size: 5,
    digest: 'd',
    keyHash: keyHash(key),
    origin: { site: 'gcp', token: 'g1' },
  };
  const original = look(emptyRecord(key), 'gcp', seen('g1'), { origins: [origin] });
  assert.deepEqual(original.kind === 'ours' && original.replica.version, made);
  assert.equal(
    look(emptyRecord(key), 'gcp', seen('g2'), { origins: [origin] }).kind,
    'native',
    'written since',
  );
});

test('an absence is a deletion on top of what was there, and only once', () => {
  const held = version('aws.1', 700);
  const record = recordOf({ aws: replica(held, 't1') });
  const verdict = look(record, 'aws', undefined);
  const deletion = verdict.kind === 'native' ? verdict.replica : assert.fail();
  assert.equal(deletion.version.deleted, true);
  assert.equal(deletion.version.stamp, stampOf(700, 1), 'as early as it can have been');
  assert.equal(relate(deletion.version, held), 'dominates');
  assert.equal(deletion.token, undefined);
  assert.equal(look(withReplica(record, 'aws', deletion), 'aws', undefined).kind, 'known');
  assert.equal(look(emptyRecord(key), 'aws', undefined).kind, 'known', 'what nobody knew was not deleted');
});

test('a listing alone adopts only what nobody knows, and says that it is unread', () => {
  const { metadata: _, ...listed } = seen('t');
  const input = {
    site: 'aws',
    record: emptyRecord(key),
    sighting: { kind: 'present', entry: listed } as const,
    nowMs,
    sameWrite: (a: string, b: string) => a === b,
  };
  assert.equal(adoptUnread(input)?.unread, true);
  assert.equal(
    adoptUnread({ ...input, record: recordOf({ gcp: replica(version('gcp.1', 1), 'g') }) }),
    undefined,
  );
  assert.equal(adoptUnread({ ...input, sighting: { kind: 'absent' } }), undefined);
});

test('decisions for a target', () => {
  const old = version('aws.1', 100);
  const won = version('aws.2', 200);
  const beside = version('gcp.1', 150);
  const at = (gcp: Replica | undefined, aws: Replica = replica(won, 't2')) =>
    decide(recordOf(gcp ? { aws, gcp } : { aws }), 'gcp', lastWins);
  assert.deepEqual(decide(emptyRecord(key), 'gcp', lastWins), { kind: 'skip', because: 'nothing-known' });
  assert.deepEqual(at(replica(won, 'g2')), { kind: 'skip', because: 'current' });
  const create = at(undefined);
  assert.deepEqual(create.kind === 'copy' && [create.from, create.condition, create.loser], [
    ['aws'],
    { kind: 'absent' },
    undefined,
  ]);
  const overwrite = at(replica(old, 'g1'));
  assert.deepEqual(overwrite.kind === 'copy' && [overwrite.condition, overwrite.loser], [
    { kind: 'match', token: 'g1' },
    undefined,
  ]);
  const conflict = at(replica(beside, 'g1', { digest: 'other' }));
  assert.equal(conflict.kind === 'copy' && conflict.loser?.token, 'g1');
  assert.equal(at(replica(beside, 'g1')).kind, 'note', 'the same content is no conflict');
  const unclear = at({ version: beside, token: 'g1', size: 5, traits: 'x' });
  assert.deepEqual(unclear, { kind: 'compare', sites: ['gcp'] });
  assert.deepEqual(at(gone(old)).kind === 'copy' && at(gone(old)), { ...create });
  const deleted = gone(won);
  assert.deepEqual(at(undefined, deleted).kind, 'note');
  const remove = at(replica(old, 'g1'), deleted);
  assert.deepEqual(remove.kind === 'remove' && [remove.token, remove.loser], ['g1', undefined]);
  const bury = at(replica(beside, 'g1'), deleted);
  assert.equal(bury.kind === 'remove' && bury.loser?.token, 'g1', 'what the deletion never saw is kept');
});

test('every target write and delete is conditional', () => {
  for (let i = 0; i < 500; i++) {
    const decision = decide(randomRecord(), 'azure', lastWins);
    if (decision.kind === 'copy') assert.ok(['absent', 'match'].includes(decision.condition.kind));
    if (decision.kind === 'remove') assert.ok(decision.token.length > 0);
  }
});

/** Sites write and see each other at random, as the engine does it. */
function randomRecord(ruleOf: RuleOf = lastWins): KeyRecord {
  const sites = ['aws', 'gcp', 'azure'];
  let record = emptyRecord(key);
  for (let steps = randomInt(1, 12); steps > 0; steps--) {
    const site = sites[randomInt(3)]!;
    const ms = randomInt(1, 20);
    const held = record.replicas[site];
    const act = randomInt(4);
    if (act === 0) {
      const made = nextVersion(record, site, {
        nowMs: ms,
        operation: `${steps} ${ms}`,
        deleted: randomInt(4) === 0,
      });
      const token = { token: `${site} ${steps}` };
      record = withReplica(record, site, { version: made, size: 5, ...(made.deleted ? {} : token) });
    } else if (act === 1) {
      const native = look(record, site, seen(`${site} ${steps} native`, { lastModifiedMs: ms }));
      if (native.kind === 'native') record = withReplica(record, site, native.replica);
    } else if (act === 2 && held) {
      const absent = look(record, site, undefined);
      if (absent.kind === 'native') record = withReplica(record, site, absent.replica);
    } else {
      const newest = newestOf(record, ruleOf)?.replica;
      if (!newest) continue;
      const seenThere = held ? { seen: seenBy(held) } : {};
      const token = newest.version.deleted ? {} : { token: `${site} ${steps} copy` };
      record = withReplica(record, site, {
        version: newest.version,
        size: newest.size,
        ...token,
        ...seenThere,
      });
    }
  }
  return record;
}

test('what dominates has the greater stamp, so the winner is the greatest of all, in whatever order', () => {
  for (let i = 0; i < 3_000; i++) {
    const record = randomRecord();
    const replicas = Object.values(record.replicas);
    for (const a of replicas) {
      for (const b of replicas) {
        if (relate(a.version, b.version) === 'dominates')
          assert.ok(compareVersions(a.version, b.version) > 0, JSON.stringify([a, b]));
      }
    }
    if (replicas.length === 0) continue;
    const greatest = replicas
      .map((one) => one.version)
      .sort(compareVersions)
      .at(-1)!;
    const reversed = Object.fromEntries(Object.entries(record.replicas).reverse());
    for (const one of [record, { key, replicas: reversed }]) {
      assert.equal(
        compareVersions(newestOf(one, lastWins)!.replica.version, greatest),
        0,
        JSON.stringify(record),
      );
    }
  }
});
