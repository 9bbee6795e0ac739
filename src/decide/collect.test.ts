import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeEntry, entryName, longestInFlightMs } from '../model/entry.ts';
import { keyHash } from '../model/key.ts';
import { emptyRecord, type KeyRecord, type Replica, withoutReplica, withReplica } from '../model/record.ts';
import { stampOf } from '../model/stamp.ts';
import { decodeTombstone, encodeTombstone, tombstoneKey, tombstoneOf } from '../model/tombstone.ts';
import type { Version } from '../model/version.ts';
import { attribute, nextCount } from './attribute.ts';
import { collection, countsOf, freshUntilMs } from './collect.ts';
import { isNews, wasAwayTooLong } from './quarantine.ts';
import { withTombstone } from './recall.ts';

const sites = ['aws', 'gcp'];
const hourMs = 3_600_000;

function version(site: string, count: number, past: Record<string, number> = {}, deleted = false): Version {
  return {
    stamp: stampOf(count * 1_000),
    dot: { site, count },
    past,
    operation: `${site} ${count}`,
    deleted,
  };
}

const first = version('aws', 1);
const second = version('aws', 2, { aws: 1 });
const gone = version('aws', 3, { aws: 2 }, true);

function recordOf(replicas: Record<string, Replica>): KeyRecord {
  return { key: 'k', replicas };
}

const deletedAt = (one: Version): Replica => ({ version: one, size: 0 });
const heldAs = (one: Version, token: string): Replica => ({ version: one, size: 1, token });

test('collected is what every site holds deleted, marked, for the whole retention', () => {
  const all = recordOf({ aws: deletedAt(gone), gcp: deletedAt(gone) });
  const at = (record: KeyRecord, nowMs: number) => collection(record, sites, { nowMs, retentionMs: hourMs });
  assert.equal(at(all, 5), 'mark');
  const marked = { ...all, goneMs: 5 };
  assert.equal(at(marked, hourMs + 4), 'keep');
  assert.equal(at(marked, hourMs + 5), 'collect');
  assert.equal(at(marked, 4), 'mark', 'the clock went back: it counts from now');
  const other = version('gcp', 4, {}, true);
  for (const replicas of [
    {},
    { aws: deletedAt(gone) },
    { aws: deletedAt(gone), gcp: heldAs(second, 't') },
    { aws: deletedAt(gone), gcp: deletedAt(other) },
    { aws: heldAs(second, 't'), gcp: heldAs(second, 't') },
  ])
    assert.equal(at({ ...recordOf(replicas), goneMs: 0 }, 10 * hourMs), 'keep');
  assert.equal(withReplica(marked, 'aws', deletedAt(gone)).goneMs, undefined, 'any change starts over');
  assert.ok(freshUntilMs(0, hourMs) + longestInFlightMs <= hourMs);
});

test('no dot is used twice', () => {
  const record = recordOf({ aws: { ...deletedAt(gone), seen: { gcp: 9 } }, gcp: heldAs(second, 't') });
  assert.equal(countsOf(record), 9);
  assert.equal(nextCount(emptyRecord('k', 9), 'azure'), 10);
  const without = withoutReplica(record, 'aws');
  assert.deepEqual([nextCount(without, 'aws'), nextCount(without, 'gcp')], [10, 10]);
  assert.equal(nextCount(withReplica(without, 'aws', heldAs(first, 't')), 'aws'), 10);
});

test('a tombstone is read as it was written, and nothing else is one', () => {
  const record = recordOf({ aws: heldAs(second, 'a2'), gcp: heldAs(version('gcp', 7), 'g7') });
  const tombstone = tombstoneOf(record, gone);
  assert.deepEqual(tombstone.buried, { aws: { token: 'a2', version: second } }, 'what it covers alone');
  const name = tombstoneKey('k');
  assert.deepEqual(decodeTombstone(name, encodeTombstone(tombstone)), tombstone);
  const read = (value: unknown) => decodeTombstone(name, Buffer.from(JSON.stringify(value)));
  assert.deepEqual(read({ key: 'k', version: gone }), { key: 'k', version: gone, buried: {} });
  assert.deepEqual(read({ key: 'k', version: gone, buried: { aws: 1, gcp: { token: 't' } } })?.buried, {});
  for (const forged of [
    { key: 'other', version: gone },
    { key: 'k', version: second },
    { key: 'k', version: { ...gone, stamp: 'x' } },
    { key: 'k', version: { ...gone, dot: { site: 'aws', count: -1 } } },
    { key: 'k', version: { ...gone, past: { aws: 'many' } } },
    { key: 'k', version: gone, format: 3 },
    { key: 'k' },
    [],
    null,
  ])
    assert.equal(read(forged), undefined, JSON.stringify(forged));
  assert.equal(decodeTombstone(name, Buffer.from('{')), undefined);
});

test('what the ledger knows of a site gives way to a tombstone there only when that covers it', () => {
  const tombstone = tombstoneOf(recordOf({}), gone);
  const after = (held: Replica | undefined) =>
    withTombstone(recordOf(held ? { aws: held } : {}), 'aws', tombstone, 1)?.replicas['aws'];
  assert.equal(after(undefined)?.version, gone);
  assert.deepEqual(after(heldAs(second, 'a2'))?.recalled?.buried, { aws: { token: 'a2', version: second } });
  assert.equal(after(heldAs(version('aws', 4, { aws: 3 }), 't')), undefined);
  assert.equal(after(heldAs(version('gcp', 1), 't')), undefined, 'made beside it');
  assert.equal(after(deletedAt(gone)), undefined);
  assert.equal(after(deletedAt(version('gcp', 2, {}, true)))?.version, gone, 'the later of two deletions');
  assert.equal(after(deletedAt(version('gcp', 9, {}, true))), undefined);
});

test('whose write is what stands where a tombstone was read back', () => {
  const writtenMs = 10_000;
  const tombstone = tombstoneOf(recordOf({ gcp: heldAs(second, 'g2') }), gone);
  const record = withTombstone(recordOf({}), 'aws', tombstone, writtenMs)!;
  const look = (site: string, token: string, lastModifiedMs: number, text?: string) => {
    const metadata = { user: text ? { [entryName]: text } : {}, tags: {} };
    const entry = { key: 'k', size: 1, token, lastModifiedMs, digests: {}, metadata };
    const sameWrite = (a: string, b: string) => a === b;
    const nowMs = 1e9;
    const verdict = attribute({ site, record, sighting: { kind: 'present', entry }, nowMs, sameWrite });
    assert.ok(verdict.kind === 'ours' || verdict.kind === 'native');
    return verdict.replica.version;
  };
  assert.deepEqual(look('gcp', 'g2', 1), second, 'the very write that was deleted');
  const before = look('aws', 'other', writtenMs);
  assert.deepEqual([before.past, before.dot.count], [{}, 4], 'beside the deletion');
  assert.deepEqual(look('aws', 'other', writtenMs + 1).past, { aws: 3 }, 'on top of it');
  assert.deepEqual(look('gcp', 'other', 1e8).past, {});
  const carried = encodeEntry({ version: second, size: 1, keyHash: keyHash('k') });
  assert.deepEqual(look('aws', 'late', writtenMs + longestInFlightMs, carried), second, 'a copy in flight');
  const restored = look('aws', 'late', writtenMs + longestInFlightMs + 1, carried);
  assert.deepEqual(restored.past, { aws: 3 }, 'somebody brought it back');
});

test('away too long is measured by the other sites', () => {
  const scans = (aws: number | undefined, gcp: number | undefined) =>
    new Map([
      ['aws', aws],
      ['gcp', gcp],
    ]);
  assert.equal(wasAwayTooLong('gcp', scans(hourMs + 1, 0), hourMs), true);
  assert.equal(wasAwayTooLong('gcp', scans(hourMs, 0), hourMs), false);
  assert.equal(wasAwayTooLong('aws', scans(hourMs + 1, 0), hourMs), false);
  assert.equal(wasAwayTooLong('gcp', scans(hourMs + 1, undefined), hourMs), false, 'a site that is new');
});

test('no news is what the ledger covers', () => {
  const record = recordOf({ aws: heldAs(second, 't') });
  const ours = (one: Version) => ({ kind: 'ours', replica: heldAs(one, 'x') }) as const;
  assert.equal(isNews(record, { kind: 'known' }), false);
  assert.equal(isNews(record, ours(second)), false);
  assert.equal(isNews(record, ours(first)), false);
  assert.equal(isNews(record, ours(version('gcp', 1))), true);
  assert.equal(isNews(record, { kind: 'native', replica: heldAs(version('aws', 3, { aws: 2 }), 'x') }), true);
});
