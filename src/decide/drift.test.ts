import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeEntry, entryName } from '../model/entry.ts';
import { StoreFailure } from '../model/failure.ts';
import { keyHash } from '../model/key.ts';
import { noMetadata } from '../model/metadata.ts';
import { emptyRecord, type KeyRecord } from '../model/record.ts';
import { maxAheadMs, stampOf } from '../model/stamp.ts';
import type { Version } from '../model/version.ts';
import { adoptUnread, attribute } from './attribute.ts';

const key = 'k';
const nowMs = Date.UTC(2026, 10, 21);
const yearMs = 365 * 24 * 3_600_000;

function look(record: KeyRecord, entry: { readonly stampMs?: number; readonly lastModifiedMs?: number }) {
  const { stampMs, lastModifiedMs = nowMs } = entry;
  const text = stampMs === undefined ? undefined : encodeEntry({ ...carried(stampMs), size: 1 });
  const metadata = text === undefined ? noMetadata : { ...noMetadata, user: { [entryName]: text } };
  const seen = { key, size: 1, token: 't', lastModifiedMs, digests: {}, metadata };
  return {
    site: 'gcp',
    record,
    sighting: { kind: 'present', entry: seen },
    nowMs,
    sameWrite: (a: string, b: string) => a === b,
  } as const;
}

function versionAt(stampMs: number): Version {
  return {
    stamp: stampOf(stampMs),
    dot: { site: 'aws', count: 1 },
    past: {},
    operation: 'op',
    deleted: false,
  };
}

function carried(stampMs: number) {
  return { version: versionAt(stampMs), digest: 'd', keyHash: keyHash(key) };
}

test('a native write whose store has a clock that is ahead is stamped now', () => {
  const input = look(emptyRecord(key), { lastModifiedMs: nowMs + yearMs });
  const verdict = attribute(input);
  assert.ok(verdict.kind === 'native');
  assert.equal(verdict.replica.version.stamp, stampOf(nowMs));
  assert.equal(adoptUnread(input)?.version.stamp, stampOf(nowMs));
});

test('a version that comes along is trusted up to the bound', () => {
  const at = attribute(look(emptyRecord(key), { stampMs: nowMs + maxAheadMs }));
  assert.ok(at.kind === 'ours' && at.replica.version.stamp === stampOf(nowMs + maxAheadMs));
  for (const aheadMs of [maxAheadMs + 1, yearMs]) {
    assert.throws(
      () => attribute(look(emptyRecord(key), { stampMs: nowMs + aheadMs })),
      (failure) => failure instanceof StoreFailure && failure.remedy === 'park',
    );
  }
});

test('the reason names key, site and time', () => {
  const ahead = look(emptyRecord(key), { stampMs: nowMs + yearMs });
  assert.throws(
    () => attribute(ahead),
    /^StoreFailure: k at gcp carries a version stamped 2027-11-21 00:00:00 UTC/,
  );
});

test('what the ledger knows already is no news: a copy whose confirmation was lost is known as our own', () => {
  const version = versionAt(nowMs + yearMs);
  const record = { key, replicas: { aws: { version, token: 'a', size: 1, digest: 'd', md5: 'm' } } };
  const { sighting, ...input } = look(record, { stampMs: nowMs + yearMs });
  const entry = { ...sighting.entry, digests: { md5: 'm' } };
  assert.equal(attribute({ ...input, sighting: { kind: 'present', entry } }).kind, 'ours');
});
